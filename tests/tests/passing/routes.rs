//! Which requests are passed, and which the gateway answers itself.

use weirgate_tests::http::{get, post, with};
use weirgate_tests::{Http1, Server};

use weirgate_tests::upstream::{Upstream, far, full};

async fn echo() -> Upstream {
    Upstream::start(|_, seen| async move { full(200, seen.path) }).await
}

#[tokio::test]
async fn an_addressed_service_gets_every_path_that_is_not_the_gateways() {
    let upstream = echo().await;
    let server = Server::start([far(&[&upstream])]).await;
    let mut client = Http1::connect(server.data).await;
    for path in ["/metrics", "/v2/models/far/stats", "/v1/whatever?x=1", "/", "/deep/er", "/v2/models/theirs/infer"] {
        let by_prefix = client.send(get(&format!("/default/far{path}"))).await;
        assert_eq!((by_prefix.status, by_prefix.text().as_str()), (200, path));
        let by_host = client.send(with(post(path, "{}"), "host", "far.default.example.com")).await;
        assert_eq!((by_host.status, by_host.text().as_str()), (200, path));
    }
    let before = upstream.state.count();
    for path in ["/default/far/v2", "/default/far/v2/health/ready", "/default/far/v1/models"] {
        assert_eq!(client.send(get(path)).await.status, 200, "{path}");
    }
    assert_eq!(client.send(get("/metrics")).await.status, 404);
    assert_eq!(upstream.state.count(), before);
}

#[tokio::test]
async fn a_model_is_found_by_path_or_body() {
    let upstream = echo().await;
    let server = Server::start([far(&[&upstream])]).await;
    let mut client = Http1::connect(server.data).await;
    for path in ["/v2/models/far/generate", "/v2/models/far/versions/3/infer", "/v2/models/far/config"] {
        let reply = client.send(post(path, "{}")).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, path));
    }
    let body = r#"{"model":"far","messages":[{"role":"user","content":"hi"}]}"#;
    for path in ["/v1/chat/completions", "/openai/v1/embeddings"] {
        let reply = client.send(post(path, body)).await;
        // The server's own routes begin with /v1.
        let theirs = path.strip_prefix("/openai").unwrap_or(path);
        assert_eq!((reply.status, reply.text().as_str()), (200, theirs));
        assert_eq!(upstream.state.seen().last().unwrap().body, body);
    }
    let other = client.send(post("/v1/chat/completions", r#"{"model":"other"}"#)).await;
    assert_eq!(other.status, 404, "{other:?}");
}

#[tokio::test]
async fn what_a_server_does_not_speak_is_said() {
    let upstream = echo().await;
    let service = far(&[&upstream]).annotation("weirgate.dev/upstream-protocol", "openai");
    let server = Server::start([service]).await;
    let mut client = Http1::connect(server.data).await;
    for path in ["/v2/models/far/infer", "/v1/models/far:predict"] {
        let reply = client.send(post(path, "{}")).await;
        assert_eq!(reply.status, 501, "{reply:?}");
        assert!(reply.error().contains("its servers speak OpenAI's"), "{reply:?}");
    }
    assert_eq!(upstream.state.count(), 0);
}
