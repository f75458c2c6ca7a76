//! OpenAI's routes: lists of models, and calls that find their model and say what it takes.

use std::time::{SystemTime, UNIX_EPOCH};

use http::Method;
use serde_json::{Value, json};
use weirgate_tests::http::{get, post, request, with};
use weirgate_tests::{Http1, Raw, Reply, Server, Service, within};

const TASKS: [&str; 5] = ["chat/completions", "completions", "embeddings", "rerank", "responses"];

/// The error object of a refusal.
fn error(reply: &Reply) -> Value {
    let mut body = reply.json();
    let error = body["error"].take();
    for field in ["message", "type", "code"] {
        assert!(error[field].is_string(), "{reply:?}");
    }
    assert!(error.get("param").is_some(), "{reply:?}");
    error
}

fn message(reply: &Reply) -> String {
    error(reply)["message"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_listed_for_both_protocols_where_they_can_be_asked() {
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let services = [
        Service::sum(1),
        Service::sum(2).in_namespace("blue"),
        Service::new("identity"),
        Service::new("fixed").in_namespace("blue"),
        Service::new("broken"),
    ];
    let server = Server::start(services).await;
    let mut client = Http1::connect(server.data).await;
    let named = async |client: &mut Http1, path: &str, host: &str| {
        let reply = client.send(with(get(path), "host", host)).await;
        assert_eq!(reply.status, 200, "{path} {host}: {reply:?}");
        reply.json()["models"].clone()
    };
    let all = json!(["broken", "fixed", "identity", "sum"]);
    for path in ["/v1/models", "/openai/v1/models"] {
        assert_eq!(named(&mut client, path, "weirgate.test").await, all);
        assert_eq!(named(&mut client, path, "identity.default.example.com").await, json!(["identity"]));
        assert_eq!(named(&mut client, path, "weirgate.blue.svc").await, json!(["fixed", "sum"]));
        assert_eq!(named(&mut client, &format!("/blue/sum{path}"), "weirgate.test").await, json!(["sum"]));
    }
    let list = client.get("/v1/models").await.json();
    assert_eq!(list["object"], "list");
    for (model, owner) in [("identity", "default"), ("fixed", "blue")] {
        let listed = list["data"].as_array().unwrap().iter().find(|listed| listed["id"] == model).unwrap();
        assert_eq!((&listed["object"], &listed["owned_by"]), (&json!("model"), &json!(owner)));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert!((before..=now).contains(&listed["created"].as_u64().unwrap()), "{listed}");
        for path in ["/v1/models/", "/openai/v1/models/"] {
            let one = client.get(&format!("{path}{model}")).await.json();
            assert_eq!((&one["name"], &one["ready"]), (&json!(model), &json!(true)), "{one}");
            for field in ["id", "object", "created", "owned_by"] {
                assert_eq!(one[field], listed[field], "{one}");
            }
        }
    }
    let reply = client.get("/blue/nobody/openai/v1/models").await;
    assert_eq!(reply.status, 404);
    assert!(message(&reply).contains("'nobody'"), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn models_that_are_not_ready_or_not_there_say_so_as_the_path_speaks() {
    let server = Server::start([Service::new("broken")]).await;
    let mut client = Http1::connect(server.data).await;
    for (model, status, code) in [("broken", 503, "unavailable"), ("nobody", 404, "model_not_found")] {
        let reply = client.get(&format!("/v1/models/{model}")).await;
        assert_eq!(reply.status, status, "{reply:?}");
        assert!(reply.error().contains(model), "{reply:?}");
        let reply = client.get(&format!("/openai/v1/models/{model}")).await;
        assert_eq!(reply.status, status, "{reply:?}");
        assert_eq!((&error(&reply)["code"], &error(&reply)["param"]), (&json!(code), &json!("model")), "{reply:?}");
    }
    for (method, path, status) in [
        (Method::GET, "/v1/nothing", 404),
        (Method::GET, "/openai/v1/nothing", 404),
        (Method::GET, "/default/broken/v1/nothing", 404),
        (Method::GET, "/v1/chat/completions", 405),
        (Method::GET, "/openai/v1/embeddings", 405),
        (Method::POST, "/openai/v1/models", 405),
    ] {
        let reply = client.send(request(method, path)).await;
        assert_eq!(reply.status, status, "{path}: {reply:?}");
        assert!(message(&reply).contains(path.strip_prefix("/default/broken").unwrap_or(path)), "{reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_takes_tensors_says_where_to_send_them() {
    let server = Server::start([Service::new("identity"), Service::new("fixed")]).await;
    let mut client = Http1::connect(server.data).await;
    for prefix in ["", "/openai", "/default/identity", "/default/identity/openai"] {
        for task in TASKS {
            let path = format!("{prefix}/v1/{task}");
            let reply = client.send(post(&path, r#"{"messages":[],"model":"identity"}"#)).await;
            assert_eq!(reply.status, 400, "{path}: {reply:?}");
            let error = error(&reply);
            assert_eq!((&error["param"], &error["type"]), (&json!("model"), &json!("invalid_request_error")));
            let text = error["message"].as_str().unwrap();
            assert!(
                text.contains("/v2/models/identity/infer") && text.contains("/v1/models/identity:predict"),
                "{text}"
            );
        }
    }
    let refused = [("protocol", "openai"), ("code", "invalid_request")];
    assert_eq!(server.metrics().await.sum("weirgate_requests_total", &refused), 20.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_is_asked_for_wherever_one_of_several_could_be_meant() {
    let server = Server::start([Service::new("identity"), Service::new("fixed")]).await;
    let mut client = Http1::connect(server.data).await;
    for (path, body, status, code, text) in [
        ("/v1/completions", r#"{"model":"nobody"}"#, 404, "model_not_found", "'nobody'"),
        ("/v1/completions", r#"{"prompt":"x"}"#, 400, "invalid_request", "give one of 'fixed', 'identity'"),
        ("/default/fixed/v1/completions", r#"{"prompt":"x"}"#, 400, "invalid_request", "model 'fixed' takes tensors"),
        ("/default/fixed/v1/completions", r#"{"model":"identity"}"#, 404, "model_not_found", "'fixed'"),
        ("/v1/completions", r#"{"model":3}"#, 400, "invalid_request", "model: expected a string, found 3"),
        ("/v1/completions", r#"{"prompt":"#, 400, "invalid_request", "found the end of the body"),
        ("/v1/completions", "", 400, "invalid_request", "found the end of the body"),
    ] {
        let reply = client.send(post(path, body)).await;
        assert_eq!(reply.status, status, "{body}: {reply:?}");
        let error = error(&reply);
        assert_eq!(error["code"], code, "{body}: {reply:?}");
        assert!(error["message"].as_str().unwrap().contains(text), "{body}: {reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_behind_a_large_prompt_is_found_within_the_limits() {
    let server =
        Server::with([Service::new("identity"), Service::new("fixed")]).flag("--max-body", "1MiB").start().await;
    let mut client = Http1::connect(server.data).await;
    let body = |prompt: usize| format!(r#"{{"prompt":"{}","model":"fixed"}}"#, "\\\"{".repeat(prompt / 3));
    let reply = client.send(post("/v1/completions", body(900 << 10))).await;
    assert!(message(&reply).contains("model 'fixed' takes tensors"), "{reply:?}");
    let reply = client.send(post("/v1/completions", body(2 << 20))).await;
    assert_eq!(reply.status, 413, "{reply:?}");
    assert!(message(&reply).contains("--max-body"), "{reply:?}");
    let tight = Server::with([Service::new("identity")]).flag("--max-queued-bytes", "128KiB").start().await;
    let reply = Http1::connect(tight.data).await.send(post("/v1/completions", body(900 << 10))).await;
    assert_eq!(reply.status, 429, "{reply:?}");
    assert!(message(&reply).contains("--max-queued-bytes"), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_at_the_begin_is_answered_before_the_rest_has_come() {
    let server = Server::start([Service::new("identity")]).await;
    let mut raw = Raw::connect(server.data).await;
    raw.write(
        "POST /v1/completions HTTP/1.1\r\nhost: a.test\r\ncontent-length: 60000000\r\nexpect: 100-continue\r\n\r\n",
    )
    .await;
    let continues = |bytes: &[u8]| bytes.windows(4).any(|window| window == b"\r\n\r\n").then_some(());
    raw.read_until(continues).await.expect("the server asks for the body");
    raw.write(r#"{"model":"nobody","prompt":""#).await;
    let answered = |bytes: &[u8]| bytes.windows(15).any(|window| window == b"model_not_found").then_some(());
    within("the answer", raw.read_until(answered)).await.expect("an answer");
}
