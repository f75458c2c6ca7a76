//! The split of a service whose revisions are servers elsewhere.

use weirgate_tests::http::{get, post, with};
use weirgate_tests::{Http1, Server, Service, eventually};

use weirgate_tests::upstream::{Upstream, full};

fn service(upstream: &Upstream) -> Service {
    let annotation = format!("{{weirgate.dev/upstream: '{}'}}", upstream.url());
    Service::passed("far").field("annotations", annotation).sticky("header:x-user")
}

async fn answers(text: &'static str) -> Upstream {
    Upstream::start(move |_, _| async move { full(200, text) }).await
}

#[tokio::test]
async fn calls_that_no_adapter_reads_take_their_turns_too() {
    let (old, new) = (answers("old").await, answers("new").await);
    let server = Server::start([service(&old)]).await;
    server.write(&service(&new).canary_percent(50));
    let mut client = Http1::connect(server.data).await;
    eventually("both revisions answer", async || {
        client.send(post("/v2/models/far/infer", "{}")).await;
        (new.state.count() > 0).then_some(())
    })
    .await;
    let chat = r#"{"model":"far"}"#;
    for path in ["/v2/models/far/generate", "/default/far/v1/chat/completions", "/default/far/x"] {
        let before = (old.state.count(), new.state.count());
        for _ in 0..10 {
            assert_eq!(client.send(post(path, chat)).await.status, 200, "{path}");
            // A look takes no turn.
            client.send(get("/v2/models/far/config")).await;
        }
        let looked = (old.state.count() - before.0, new.state.count() - before.1);
        assert_eq!(looked, (15, 5), "{path}: the looks go to the stable one");
    }
    for user in 0..8 {
        let mut of_user = std::collections::HashSet::new();
        for _ in 0..3 {
            let request = with(post("/v2/models/far/generate", "{}"), "x-user", &user.to_string());
            of_user.insert(client.send(request).await.text());
        }
        assert_eq!(of_user.len(), 1, "user {user} got {of_user:?}");
    }
}
