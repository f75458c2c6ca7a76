//! The repository API over HTTP: listing models, and loading and unloading them by name.

use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};
use weirgate_tests::http::{Body, Reply, get, with};
use weirgate_tests::process::Folder;
use weirgate_tests::{Http1, Raw, Server, Service, eventually, row};

use super::versions::{add_version, answer, versioned};

fn post(server: &Server, path: &str, token: Option<&str>, body: &str) -> Request<Body> {
    let mut builder = Request::builder().method(Method::POST).uri(path).header("host", server.data.to_string());
    if let Some(token) = token {
        builder = builder.header("authorization", format!("Bearer {token}"));
    }
    builder.body(Full::from(body.to_owned())).unwrap()
}

async fn change(server: &Server, client: &mut Http1, model: &str, action: &str) -> Reply {
    let token = server.token();
    client.send(post(server, &format!("/v2/repository/models/{model}/{action}"), Some(&token), "")).await
}

async fn index(server: &Server, client: &mut Http1, body: &str) -> Value {
    let reply = client.send(post(server, "/v2/repository/index", None, body)).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    serde_json::from_slice(&reply.body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_and_the_list_show_every_model_and_why_one_is_not_ready() {
    let folder = Folder::new();
    let sum = versioned(&folder, &[1, 2], Some("{ all {} }"));
    let services = [Service::new("identity"), Service::new("broken"), Service::at("sum", sum)];
    let server = Server::start(services).await;
    let mut client = Http1::connect(server.data).await;
    let all = index(&server, &mut client, "").await;
    let named = |entry: &Value| (entry["name"].clone(), entry["version"].clone(), entry["state"].clone());
    let found: Vec<_> = all.as_array().unwrap().iter().map(named).collect();
    let expected =
        [("broken", "", "UNAVAILABLE"), ("identity", "", "READY"), ("sum", "1", "READY"), ("sum", "2", "READY")];
    assert_eq!(found, expected.map(|(name, version, state)| (json!(name), json!(version), json!(state))));
    assert!(all[0]["reason"].as_str().unwrap().contains("can't be loaded"), "{all}");
    let ready = index(&server, &mut client, r#"{"ready":true}"#).await;
    assert_eq!(ready.as_array().unwrap().len(), 3, "{ready}");
    let list: Value = serde_json::from_slice(&client.get("/v2/models").await.body).unwrap();
    assert_eq!(list, json!({"models": ["broken", "identity", "sum"]}));
    let one: Value = serde_json::from_slice(&client.get("/default/identity/v2/models").await.body).unwrap();
    assert_eq!(one, json!({"models": ["identity"]}));
    for body in [r#"{"ready":"yes"}"#, "[]", "[true]", "null"] {
        let wrong = client.send(post(&server, "/v2/repository/index", None, body)).await;
        assert_eq!(wrong.status, 400, "{body}: {wrong:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_show_what_can_be_asked_for_where_they_are_asked() {
    let sums = ["red", "blue"].map(|namespace| Service::sum(1).in_namespace(namespace));
    let [red, blue] = sums;
    let server = Server::start([red, blue, Service::new("identity").in_namespace("red")]).await;
    let mut client = Http1::connect(server.data).await;
    let all = index(&server, &mut client, "").await;
    let names: Vec<_> = all.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["identity", "sum"], "one entry for a name that two claim");
    assert_eq!(all[1]["state"], "UNAVAILABLE");
    let reason = all[1]["reason"].as_str().unwrap();
    assert!(reason.contains("red/sum") && reason.contains("blue/sum"), "{reason}");
    let counted = client.get("/v2/models/stats").await.json();
    assert_eq!(counted["model_stats"].as_array().unwrap().len(), 1, "{counted}");

    for (host, expected) in [("weirgate.blue.svc", vec!["sum"]), ("weirgate.red.svc", vec!["identity", "sum"])] {
        let names = |list: &Value| {
            let mut names: Vec<_> = list.as_array().unwrap().iter().map(|one| one["name"].to_string()).collect();
            names.sort();
            names
        };
        let expected: Vec<_> = expected.iter().map(|name| format!("\"{name}\"")).collect();
        let listed = client.send(with(post(&server, "/v2/repository/index", None, ""), "host", host)).await.json();
        assert_eq!(names(&listed), expected, "{host}");
        assert!(listed.as_array().unwrap().iter().all(|entry| entry["state"] == "READY"), "{listed}");
        let counted = client.send(with(get("/v2/models/stats"), "host", host)).await.json();
        assert_eq!(names(&counted["model_stats"]), expected, "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_load_is_told_so_before_a_body_is_asked_for() {
    let server = Server::start([Service::new("identity")]).await;
    let mut raw = Raw::connect(server.data).await;
    let head = "POST /v2/repository/models/identity/unload HTTP/1.1\r\nhost: weirgate.test\r\nexpect: 100-continue\r\n\
                content-length: 1000\r\n\r\n";
    raw.write(head).await;
    let (status, head, body) = raw.read_answer().await.unwrap();
    assert_eq!(status, 401, "not 100: {head}");
    assert!(head.contains("www-authenticate: bearer"), "{head}");
    assert!(body.contains("--model-control open") && body.contains("Authorization: Bearer"), "{body}");
}

/// The model is known, so that its calls are counted as its own.
#[tokio::test(flavor = "multi_thread")]
async fn calls_of_an_unloaded_model_are_counted_for_its_service() {
    let server = Server::start([Service::new("identity")]).await;
    let mut client = Http1::connect(server.data).await;
    assert_eq!(change(&server, &mut client, "identity", "unload").await.status, 200);
    assert_eq!(client.infer("identity", &row(&[1.0])).await.status, 503);
    let refused = [("service", "identity"), ("namespace", "default"), ("code", "unavailable")];
    assert_eq!(server.metrics().await.sum("weirgate_requests_total", &refused), 1.0);
    let model = &server.object("identity").await["status"]["modelStatus"];
    assert_eq!(
        (&model["transitionStatus"], &model["states"]["activeModelState"]),
        (&json!("UpToDate"), &json!("Standby"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unloaded_model_refuses_calls_until_it_is_loaded_again() {
    let server = Server::start([Service::new("identity"), Service::new("add_1")]).await;
    let mut client = Http1::connect(server.data).await;
    let unloaded = change(&server, &mut client, "identity", "unload").await;
    assert_eq!((unloaded.status, unloaded.text()), (200, r#"{"name":"identity","unload":true}"#.to_owned()));
    let reply = client.infer("identity", &row(&[1.0])).await;
    assert_eq!(reply.status, 503, "{reply:?}");
    assert!(reply.error().contains("is unloaded"), "{reply:?}");
    let entries = index(&server, &mut client, "").await;
    assert_eq!(entries[1]["state"], "UNAVAILABLE", "{entries}");
    // It is meant to be away: the rest of the server is ready, and the other model answers.
    assert_eq!(client.get("/v2/health/ready").await.status, 200);
    assert_eq!(client.get("/v2/models/identity/ready").await.status, 503);
    client.infer("add-1", &row(&[1.0])).await.response();
    let condition = server.condition("identity", "PredictorReady").await;
    assert_eq!(condition["message"], "the model is unloaded by request");
    eventually("its memory to be free", async || {
        let revisions = server.revisions("identity").await;
        revisions.iter().all(|revision| revision.ready_replicas == 0).then_some(())
    })
    .await;
    assert_eq!(change(&server, &mut client, "identity", "unload").await.status, 200, "once more changes nothing");

    let loaded = change(&server, &mut client, "identity", "load").await;
    assert_eq!((loaded.status, loaded.text()), (200, r#"{"name":"identity","load":true}"#.to_owned()));
    // Answered when it is loaded, so the first call finds it.
    client.infer("identity", &row(&[1.0])).await.response();
    assert_eq!(change(&server, &mut client, "nobody", "load").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_takes_up_a_new_version_without_losing_a_call() {
    let folder = Folder::new();
    let sum = versioned(&folder, &[1], None);
    let server = Server::start([Service::at("sum", sum.clone()).replicas(2)]).await;
    let mut client = Http1::connect(server.data).await;
    assert_eq!(answer(&client.infer("sum", &row(&[0.0])).await.response()), (1.0, Some("1")));
    add_version(&sum, 2, 2);
    let mut busy = Http1::connect(server.data).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let callers = async {
        let mut answers = 0;
        while !*stopped.borrow() {
            // Two replicas answer side by side, so that the versions may take turns.
            let response = busy.infer("sum", &row(&[0.0])).await.response();
            let (added, version) = answer(&response);
            assert_eq!(Some(&*added.to_string()), version, "the answer and its version are of one model");
            answers += 1;
        }
        answers
    };
    let load = async {
        let reply = change(&server, &mut client, "sum", "load").await;
        stop.send_replace(true);
        reply
    };
    let (answers, reply) = tokio::join!(callers, load);
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(answers > 0, "nobody called while it was loaded");
    assert_eq!(answer(&client.infer("sum", &row(&[0.0])).await.response()), (2.0, Some("2")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_fails_says_why_and_the_model_before_goes_on() {
    let folder = Folder::new();
    let sum = versioned(&folder, &[1], None);
    let server = Server::start([Service::at("sum", sum.clone())]).await;
    let mut client = Http1::connect(server.data).await;
    std::fs::create_dir(sum.join("2")).unwrap();
    std::fs::write(sum.join("2/model.onnx"), "no model").unwrap();
    let reply = change(&server, &mut client, "sum", "load").await;
    assert_eq!(reply.status, 503, "{reply:?}");
    assert!(reply.error().contains("can't be loaded"), "{reply:?}");
    assert_eq!(answer(&client.infer("sum", &row(&[0.0])).await.response()), (1.0, Some("1")));
    // Mended, it loads.
    std::fs::remove_dir_all(sum.join("2")).unwrap();
    add_version(&sum, 3, 3);
    assert_eq!(change(&server, &mut client, "sum", "load").await.status, 200);
    assert_eq!(answer(&client.infer("sum", &row(&[0.0])).await.response()), (3.0, Some("3")));
}

#[tokio::test(flavor = "multi_thread")]
async fn loading_needs_the_token_unless_it_is_open_to_all() {
    let server = Server::start([Service::new("identity")]).await;
    let mut client = Http1::connect(server.data).await;
    let path = "/v2/repository/models/identity/unload";
    for (token, status) in [(None, 401), (Some("wrong"), 403)] {
        let reply = client.send(post(&server, path, token, "")).await;
        assert_eq!(reply.status, status, "{reply:?}");
        assert!(reply.error().contains("token"), "{reply:?}");
    }
    client.infer("identity", &row(&[1.0])).await.response();

    let open = Server::with([Service::new("identity")]).flag("--model-control", "open").start().await;
    let mut client = Http1::connect(open.data).await;
    assert_eq!(client.send(post(&open, path, None, "{}")).await.status, 200);
    let off = Server::with([Service::new("identity")]).flag("--model-control", "off").start().await;
    let mut client = Http1::connect(off.data).await;
    let reply = client.send(post(&off, path, Some(&off.token()), "")).await;
    assert_eq!(reply.status, 403, "{reply:?}");
    assert!(reply.error().contains("--model-control"), "{reply:?}");
    let extensions = client.get("/v2").await.json()["extensions"].to_string();
    assert!(!extensions.contains("model_repository") && extensions.contains("statistics"), "{extensions}");
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_that_would_change_what_is_loaded_are_refused_by_name() {
    let server = Server::with([Service::new("identity")]).flag("--model-control", "open").start().await;
    let mut client = Http1::connect(server.data).await;
    let load = "/v2/repository/models/identity/load";
    let reply = client.send(post(&server, load, None, r#"{"parameters":{"config":"{}"}}"#)).await;
    assert_eq!(reply.status, 400, "{reply:?}");
    assert!(reply.error().contains("'config'"), "{reply:?}");
    let unload = "/v2/repository/models/identity/unload";
    let reply = client.send(post(&server, unload, None, r#"{"parameters":{"unload_dependents":true}}"#)).await;
    assert_eq!(reply.status, 200, "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_and_a_changed_manifest_load_what_was_unloaded() {
    let mut server = Server::start([Service::new("identity")]).await;
    let mut client = Http1::connect(server.data).await;
    assert_eq!(change(&server, &mut client, "identity", "unload").await.status, 200);
    server.write(&Service::new("identity").timeout(20));
    eventually("the changed service to answer", async || {
        (client.infer("identity", &row(&[1.0])).await.status == 200).then_some(())
    })
    .await;
    assert_eq!(change(&server, &mut client, "identity", "unload").await.status, 200);
    assert!(server.stop().await.success());
    server.restart().await;
    Http1::connect(server.data).await.infer("identity", &row(&[1.0])).await.response();
}

/// With `--model-control open` a page that somebody happens to look at could unload models: browsers send simple requests
/// anywhere.
#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_change_nothing_unless_they_are_named() {
    let server = Server::with([Service::new("identity")])
        .flag("--model-control", "open")
        .flag("--cors-origin", "https://app.example.com")
        .start()
        .await;
    let mut client = Http1::connect(server.data).await;
    let own = format!("http://{}", server.data);
    for (origin, status) in
        [("https://evil.example", 403), ("null", 403), ("https://app.example.com", 200), (&*own, 200)]
    {
        let mut call = post(&server, "/v2/repository/models/identity/unload", None, "");
        call.headers_mut().insert("origin", origin.parse().unwrap());
        let reply = client.send(call).await;
        assert_eq!(reply.status, status, "{origin}: {reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_under_way_does_not_hold_up_a_stop() {
    // Whoever asks here is never answered.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/model.onnx", silent.local_addr().unwrap());
    let server = Server::with([Service::from("far", &url)]).at_once().start().await;
    let mut client = Http1::connect(server.data).await;
    let load = change(&server, &mut client, "far", "load");
    let stop = async {
        eventually("the load to be asked for", async || server.log().contains("asked on the data port").then_some(()))
            .await;
        server.signal("TERM");
    };
    let (reply, ()) = tokio::join!(load, stop);
    assert_eq!(reply.status, 503, "{reply:?}");
    assert!(reply.error().contains("the server is stopping"), "{reply:?}");
}
