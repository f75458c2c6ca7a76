//! `rollout status`, `set`, `promote` and `rollback`, as people type them.

use weirgate_tests::{Caller, Server, Service, To};

async fn applied(service: &Service) -> Server {
    let server = Server::start([]).await;
    apply(&server, service).await;
    server
}

async fn apply(server: &Server, service: &Service) {
    let output = server.cli_with_input(&["apply", "-f", "-"], &service.yaml()).await;
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_is_set_promoted_and_rolled_back() {
    let server = applied(&Service::sum(1)).await;
    server.splits("sum", &[("add_1", 100)]).await;
    let text = server.fails(&["rollout", "promote", "sum"]).await;
    assert!(text.contains("no canary to promote"), "{text}");
    let text = server.fails(&["rollout", "rollback", "sum"]).await;
    assert!(text.contains("nothing to roll back to"), "{text}");

    apply(&server, &Service::sum(2).canary_percent(20)).await;
    let models = server.splits("sum", &[("add_1", 80), ("add_2", 20)]).await;
    let printed = server.done(&["rollout", "set", "sum", "40"]).await;
    assert_eq!(printed, "inferenceservice.serving.kserve.io/sum configured\n");
    server.splits("sum", &[("add_1", 60), ("add_2", 40)]).await;
    server.done(&["rollout", "rollback", "isvc/sum"]).await;
    server.splits("sum", &[("add_1", 100), ("add_2", 0)]).await;
    server.done(&["rollout", "set", "sum", "50%"]).await;
    server.splits("sum", &[("add_1", 50), ("add_2", 50)]).await;
    server.done(&["rollout", "promote", "sum"]).await;
    server.splits("sum", &[("add_2", 100)]).await;
    assert_eq!(server.loads("sum"), 2);
    // Without a canary: back to what was rolled out before.
    server.done(&["rollout", "rollback", "sum"]).await;
    server.splits("sum", &[("add_1", 100)]).await;
    let counts = Caller::http(server.data).await.count(&To::model("sum"), &models, 100).await;
    assert_eq!(counts, [("add_1".to_owned(), 100)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn status_follows_a_rollout_to_its_end() {
    let server = applied(&Service::minilm().named("sum")).await;
    let printed = server.done(&["rollout", "status", "sum"]).await;
    let last = printed.lines().last().unwrap();
    assert!(last.contains("default/sum: rolled out") && last.contains("100 %"), "{printed}");
    apply(&server, &Service::new("broken").named("sum").canary_percent(20)).await;
    let text = server.fails(&["rollout", "status", "sum", "--timeout", "60"]).await;
    assert!(text.contains("failed") && text.contains("model.onnx"), "{text}");
    let text = server.fails(&["rollout", "status", "nothing"]).await;
    assert!(text.contains("default/nothing"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_words_are_refused_before_anything_is_asked() {
    let server = applied(&Service::sum(1)).await;
    for words in [
        &["rollout", "set", "sum"][..],
        &["rollout", "set", "sum", "101"],
        &["rollout", "set", "sum", "some"],
        &["rollout", "pause", "sum"],
        &["get", "pods", "sum"],
        &["describe"],
        &["delete"],
        &["apply"],
    ] {
        let output = server.cli(words).await;
        assert_eq!(output.status.code(), Some(2), "{words:?}: {output:?}");
    }
    let text = server.fails(&["rollout", "set", "sum", "20", "--canary", "fast"]).await;
    assert!(text.contains("no canary fast"), "{text}");
}
