//! Why a call went where it went.

use weirgate_tests::http::{get, post, with};
use weirgate_tests::{Http1, Reply, Server, Service, eventually};

use weirgate_tests::upstream::{Upstream, far, far_at, full};

const INFER: &str = "/v2/models/far/infer";

/// What the admin port says below its path of decisions.
async fn ask(server: &Server, below: &str) -> Reply {
    let request = with(get(&format!("/api/v1/decisions{below}")), "host", "localhost");
    Http1::connect(server.admin).await.send(request).await
}

#[tokio::test]
async fn a_call_that_asks_is_told_and_the_last_ones_are_kept() {
    let upstream = Upstream::start(|_, _| async { full(200, "{}") }).await;
    let server = Server::with([far(&[&upstream])]).flag("--explain-last", "4").start().await;
    let mut client = Http1::connect(server.data).await;
    let silent = client.send(with(post(INFER, "{}"), "x-request-id", "silent")).await;
    assert_eq!(silent.header("x-weirgate-explain"), None);
    let asks = with(with(post(INFER, "{}"), "x-weirgate-explain", "1"), "x-request-id", "asks");
    let told = client.send(asks).await;
    let told: serde_json::Value = serde_json::from_str(told.header("x-weirgate-explain").unwrap()).unwrap();
    let name = format!("http://{}", upstream.address);
    assert_eq!((told["request_id"].as_str(), told["status"].as_u64()), (Some("asks"), Some(200)));
    assert_eq!(told["attempts"][0]["server"].as_str(), Some(name.as_str()));
    assert_eq!(told["considered"][0]["server"].as_str(), Some(name.as_str()));
    assert!(told["stages"]["engine_us"].as_u64().unwrap() > 0, "{told}");
    assert!(told["considered"][0]["running"].is_u64() && told["considered"][0]["slots"].is_null(), "{told}");
    for id in ["silent", "asks"] {
        let kept = ask(&server, &format!("/{id}")).await;
        assert_eq!((kept.status, kept.json()["request_id"].as_str()), (200, Some(id)));
    }
    for _ in 0..4 {
        client.send(post(INFER, "{}")).await;
    }
    assert_eq!(ask(&server, "/asks").await.status, 404);
    let all = ask(&server, "").await.json();
    assert_eq!(all["items"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn decisions_are_found_by_service_and_by_request() {
    let upstream = Upstream::start(|_, _| async { full(200, "{}") }).await;
    let other = Service::upstream("rows", &upstream.url());
    let dark = far(&[&upstream]).in_namespace("dark").named("rows");
    let server = Server::start([far(&[&upstream]), other, dark]).await;
    let mut client = Http1::connect(server.data).await;
    let rows = "/v2/models/rows/infer";
    for (number, path) in
        [INFER.to_owned(), format!("/default/rows{rows}"), format!("/dark/rows{rows}")].iter().enumerate()
    {
        for id in [number.to_string(), "same".to_owned()] {
            let reply = client.send(with(post(path, "{}"), "x-request-id", &id)).await;
            assert_eq!(reply.status, 200, "{path}: {reply:?}");
        }
    }
    let found = async |query: &str| {
        let reply = ask(&server, query).await;
        assert_eq!(reply.status, 200, "{query}: {reply:?}");
        let items = reply.json()["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["request_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(found("?service=far").await, ["same", "0"]);
    assert_eq!(found("?service=rows").await, ["same", "2", "same", "1"]);
    assert_eq!(found("?service=rows&namespace=dark").await, ["same", "2"]);
    assert_eq!(found("?request_id=same&limit=2").await, ["same", "same"]);
    assert_eq!(found("?request_id=1").await, ["1"]);
    assert!(found("?service=nobody").await.is_empty());
    for (query, expected) in [("?sevice=far", "'sevice' is not known"), ("?limit=none", "'limit' is 'none'")] {
        let reply = ask(&server, query).await;
        assert!(reply.status == 400 && reply.error().contains(expected), "{reply:?}");
    }
}

#[tokio::test]
async fn what_asks_for_a_record_is_one_of_four_words() {
    let upstream = Upstream::start(|_, _| async { full(200, "{}") }).await;
    let server = Server::start([far(&[&upstream]), Service::sum(1)]).await;
    let mut client = Http1::connect(server.data).await;
    for (word, told) in [("1", true), ("true", true), ("TRUE", true), ("0", false), ("False", false)] {
        let reply = client.send(with(post(INFER, "{}"), "x-weirgate-explain", word)).await;
        assert_eq!((reply.status, reply.header("x-weirgate-explain").is_some()), (200, told), "{word}: {reply:?}");
    }
    let before = upstream.state.count();
    for path in [INFER, "/v2/models/sum/infer", "/v1/models/sum:predict"] {
        for word in ["yes", "", "2", "tru"] {
            let reply = client.send(with(post(path, "{}"), "x-weirgate-explain", word)).await;
            let text = format!("x-weirgate-explain is '{word}': 1 or true");
            assert!(reply.status == 400 && reply.error().contains(&text), "{path}: {reply:?}");
        }
    }
    assert_eq!(upstream.state.count(), before);
}

#[tokio::test]
async fn a_call_of_an_engine_says_its_batch() {
    let server = Server::start([Service::sum(1)]).await;
    let mut client = Http1::connect(server.data).await;
    let body = r#"{"inputs":[{"name":"x","shape":[2,1],"datatype":"FP32","data":[1,2]}]}"#;
    let plain = client.send(post("/v2/models/sum/infer", body)).await;
    assert_eq!((plain.status, plain.header("x-weirgate-explain")), (200, None), "{plain:?}");
    let told = client.send(with(post("/v2/models/sum/infer", body), "x-weirgate-explain", "1")).await;
    let told: serde_json::Value = serde_json::from_str(told.header("x-weirgate-explain").unwrap()).unwrap();
    assert_eq!((told["batch"]["rows"].as_u64(), told["batch"]["closed"].as_str()), (Some(2), Some("idle")), "{told}");
}

#[tokio::test]
async fn servers_are_named_to_those_alone_who_may_know_them() {
    let upstream = Upstream::start(|_, seen| async move {
        assert!(!seen.headers.contains_key("x-weirgate-explain"), "it is asked of the gateway");
        if seen.body == "break" {
            panic!("on purpose");
        }
        let mut answer = full(200, "{}");
        answer.headers_mut().insert("x-weirgate-explain", "theirs".parse().unwrap());
        answer
    })
    .await;
    let server = Server::start([far(&[&upstream])]).await;
    let address = upstream.address.to_string();
    let asks = |body: &'static str| with(post(INFER, body), "x-weirgate-explain", "1");
    let mut client = Http1::connect(server.data).await;
    let told = client.send(asks("{}")).await;
    assert!(told.header("x-weirgate-explain").is_some_and(|told| told.contains(&address)), "{told:?}");
    assert!(client.send(asks("break")).await.error().contains(&address));
    // What a proxy of this machine passes on may come from anywhere.
    let proxied = |body| with(asks(body), "x-forwarded-for", "203.0.113.9");
    let silent = client.send(proxied("{}")).await;
    assert_eq!((silent.status, silent.header("x-weirgate-explain")), (200, None), "{silent:?}");
    let failed = client.send(proxied("break")).await;
    assert_eq!(failed.status, 502, "{failed:?}");
    assert!(!failed.error().contains(&address) && !failed.error().is_empty(), "{failed:?}");
    assert!(server.log().contains(&address), "the log has it");
}

#[tokio::test]
async fn a_call_that_no_server_had_leaves_a_record_too() {
    let upstream = Upstream::start(|state, _| async move {
        state.go.notified().await;
        full(200, "{}")
    })
    .await;
    let server = Server::start([far(&[&upstream]).concurrency(1).max_queued(1)]).await;
    let mut calls = tokio::task::JoinSet::new();
    for queued in [0, 1] {
        let address = server.data;
        calls.spawn(async move { Http1::connect(address).await.send(post(INFER, "{}")).await.status });
        server.reaches("far", queued, 1).await;
    }
    let refused = Http1::connect(server.data).await.send(with(post(INFER, "{}"), "x-request-id", "refused")).await;
    assert_eq!(refused.status, 429, "{refused:?}");
    let kept = ask(&server, "/refused").await.json();
    assert_eq!((kept["status"].as_u64(), kept["attempts"].is_null()), (Some(429), true), "{kept}");
    assert!(kept["error"].as_str().unwrap().contains("is full"), "{kept}");
}

/// Why a revision has failed names its servers.
#[tokio::test]
async fn why_no_server_is_ready_is_told_to_those_alone_who_may_know_them() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server::start([far_at(&format!("http://{closed}"))]).await;
    let address = closed.to_string();
    let mut client = Http1::connect(server.data).await;
    let chat = r#"{"model":"far","messages":[]}"#;
    let requests = || {
        [
            post(INFER, "{}"),
            post("/v1/models/far:predict", "{}"),
            post("/v1/chat/completions", chat),
            get("/v2/models/far"),
            get("/v2/models/far/ready"),
            get("/v2/models/far/config"),
            get("/v1/models/far"),
            get("/openai/v1/models/far"),
            post("/v2/repository/index", ""),
        ]
    };
    for request in requests() {
        let path = request.uri().path().to_owned();
        let told = client.send(request).await;
        assert!(told.text().contains(&address), "{path}: {told:?}");
        assert!(told.status == 503 || path.ends_with("index"), "{path}: {told:?}");
    }
    for request in requests() {
        let path = request.uri().path().to_owned();
        let told = client.send(with(request, "x-forwarded-for", "203.0.113.9")).await;
        assert!(!told.text().contains(&address), "{path}: {told:?}");
        assert!(told.text().contains("no server that is ready"), "{path}: {told:?}");
    }
    assert!(server.log().contains(&address), "the log has it");
    let kept = ask(&server, "?limit=1").await.json();
    assert!(kept["items"][0]["error"].as_str().unwrap().contains(&address), "{kept}");
}

/// A model of V2 that adds one, and fails for -1.
async fn adds() -> Upstream {
    Upstream::start(|_, seen| async move {
        let asked: serde_json::Value = serde_json::from_slice(&seen.body).unwrap();
        let data: Vec<_> = asked["inputs"][0]["data"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
        if data.contains(&-1.0) {
            return full(500, r#"{"error":"on purpose"}"#);
        }
        let data: Vec<_> = data.iter().map(|x| x + 1.0).collect();
        let output = serde_json::json!({"name": "y", "datatype": "FP32", "shape": [data.len(), 1], "data": data});
        full(200, serde_json::json!({"model_name": "rows", "outputs": [output]}).to_string())
    })
    .await
}

const PREDICT: &str = "/v1/models/rows:predict";

fn asks(path: &str, body: &str, id: &str) -> http::Request<weirgate_tests::http::Body> {
    with(with(post(path, body.to_owned()), "x-weirgate-explain", "1"), "x-request-id", id)
}

#[tokio::test]
async fn calls_that_are_translated_or_batched_tell_their_servers_too() {
    let upstream = adds().await;
    let url = upstream.url();
    let service = || Service::upstream("rows", &url).annotation("weirgate.dev/upstream-protocol", "v2");
    let infer = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[2,1],"data":[1,2]}]}"#;
    for (service, path, body) in [
        (service(), PREDICT, r#"{"instances":[[1],[2]]}"#),
        (service().max_batch(32), PREDICT, r#"{"instances":[[1],[2]]}"#),
        (service().max_batch(32), "/v2/models/rows/infer", infer),
    ] {
        let server = Server::start([service]).await;
        let mut client = Http1::connect(server.data).await;
        let told = client.send(asks(path, body, "told")).await;
        assert_eq!(told.status, 200, "{told:?}");
        let told: serde_json::Value = serde_json::from_str(told.header("x-weirgate-explain").unwrap()).unwrap();
        let (attempt, considered) = (&told["attempts"][0], &told["considered"][0]);
        assert_eq!((&attempt["server"], &considered["server"]), (&url.as_str().into(), &url.as_str().into()), "{told}");
        assert_eq!(
            (attempt["outcome"].as_str(), attempt["because"].as_str()),
            (Some("answered"), Some("only one with room"))
        );
        assert!(attempt["took_us"].as_u64().unwrap() > 0 && attempt["error"].is_null(), "{told}");
        assert_eq!(
            (told["batch"]["rows"].as_u64(), told["attempts"].as_array().unwrap().len()),
            (Some(2), 1),
            "{told}"
        );
        // One that does not ask leaves a record too.
        let silent = client.send(with(post(path, body), "x-request-id", "silent")).await;
        assert_eq!((silent.status, silent.header("x-weirgate-explain")), (200, None), "{silent:?}");
        let kept = ask(&server, "/silent").await.json();
        assert_eq!(
            (&kept["attempts"][0]["server"], kept["considered"].is_null()),
            (&url.as_str().into(), true),
            "{kept}"
        );
    }
}

#[tokio::test]
async fn a_translated_call_that_fails_tells_who_had_it() {
    let upstream = adds().await;
    let service = Service::upstream("rows", &upstream.url()).annotation("weirgate.dev/upstream-protocol", "v2");
    let server = Server::start([service]).await;
    let mut client = Http1::connect(server.data).await;
    let failed = client.send(with(post(PREDICT, r#"{"instances":[[-1]]}"#), "x-request-id", "failed")).await;
    assert_eq!(failed.status, 502, "{failed:?}");
    let kept = ask(&server, "/failed").await.json();
    let attempt = &kept["attempts"][0];
    assert_eq!((kept["status"].as_u64(), attempt["outcome"].as_str()), (Some(502), Some("failed")), "{kept}");
    assert!(attempt["error"].as_str().unwrap().contains("on purpose"), "{kept}");
    // What is refused before a server has it leaves a record without one.
    let wrong = client.send(with(post(PREDICT, r#"{"instances":"x"}"#), "x-request-id", "wrong")).await;
    assert_eq!(wrong.status, 400, "{wrong:?}");
    let kept = ask(&server, "/wrong").await.json();
    assert_eq!((kept["status"].as_u64(), kept["attempts"].is_null()), (Some(400), true), "{kept}");
}

/// Which of two servers gets the first call is left to chance, so that this is tried until it is the one that is away.
#[tokio::test]
async fn a_translated_call_tells_both_servers_that_it_went_to() {
    for _ in 0..32 {
        let (up, mut down) = (adds().await, adds().await);
        let urls = format!("{},{}", up.url(), down.url());
        let service = Service::upstream("rows", &urls).annotation("weirgate.dev/upstream-protocol", "v2");
        let server = Server::start([service]).await;
        let second = "replica is ready service=default/rows replica=1";
        eventually("both are there", async || server.log().contains(second).then_some(())).await;
        let away = down.url();
        down.stop().await;
        let reply = Http1::connect(server.data).await.send(asks(PREDICT, r#"{"instances":[[1]]}"#, "told")).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let told: serde_json::Value = serde_json::from_str(reply.header("x-weirgate-explain").unwrap()).unwrap();
        let attempts = told["attempts"].as_array().unwrap();
        let of = |attempt: &serde_json::Value| {
            [&attempt["server"], &attempt["outcome"]].map(|text| text.as_str().unwrap().to_owned())
        };
        assert_eq!(of(attempts.last().unwrap()), [up.url(), "answered".to_owned()], "{told}");
        if attempts.len() == 2 {
            assert_eq!(of(&attempts[0]), [away, "failed".to_owned()], "{told}");
            assert!(attempts[0]["error"].as_str().unwrap().contains("can't connect"), "{told}");
            return;
        }
    }
    panic!("no first call has gone to the server that is away");
}
