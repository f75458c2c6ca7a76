//! Canaries in `spec.canary`, which have names.

use weirgate_tests::{Caller, Server, Service, To};

use super::exactly;

fn with_two(fast: usize, small: usize) -> Service {
    Service::sum(1).canary("fast", "add_2", fast).canary("small", "add_3", small)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_canaries_from_the_first_rollout_to_promotion() {
    let server = Server::start([with_two(20, 10)]).await;
    let models = server.splits("sum", &[("add_1", 70), ("add_2", 20), ("add_3", 10)]).await;
    exactly(&server, &models, &[("add_1", 70), ("add_2", 20), ("add_3", 10)]).await;

    server.write(&with_two(5, 0));
    let models = server.splits("sum", &[("add_1", 95), ("add_2", 5), ("add_3", 0)]).await;
    exactly(&server, &models, &[("add_1", 95), ("add_2", 5), ("add_3", 0)]).await;
    for (variant, model) in [("fast", "add_2"), ("small", "add_3")] {
        let host = format!("sum-{variant}-predictor.default.example.com");
        let ways = [To::model("sum").revision(variant), To::model("sum").host(&host)];
        for to in ways {
            for mut caller in Caller::both(&server).await {
                assert_eq!(caller.count(&to, &models, 50).await, [(model.to_owned(), 50)].into(), "{to:?}");
            }
        }
    }

    // Promoted by moving it: what runs goes on running.
    server.write(&Service::sum(2).field("name", "fast").canary("small", "add_3", 10));
    let models = server.splits("sum", &[("add_2", 90), ("add_3", 10)]).await;
    exactly(&server, &models, &[("add_2", 90), ("add_3", 10)]).await;
    server.write(&Service::sum(2).field("name", "fast"));
    server.splits("sum", &[("add_2", 100)]).await;
    assert_eq!(server.loads("sum"), 3, "three models, each loaded once");
}

#[tokio::test(flavor = "multi_thread")]
async fn rollout_changes_one_canary_and_promotes_it() {
    let server = Server::start([]).await;
    for (service, model) in [(Service::sum(1), "add_1"), (with_two(20, 10), "add_3")] {
        let file = server.folder().file("sum.yaml", &service.yaml());
        server.done(&["apply", "--wait", "-f", file.to_str().unwrap()]).await;
        assert!(server.models("sum").await.values().any(|found| found == model));
    }
    server.splits("sum", &[("add_1", 70), ("add_2", 20), ("add_3", 10)]).await;
    let text = server.fails(&["rollout", "set", "sum", "30"]).await;
    assert!(text.contains("several canaries") && text.contains("fast, small"), "{text}");
    let text = server.fails(&["rollout", "set", "sum", "95", "--canary", "fast"]).await;
    assert!(text.contains("95 %") && text.contains("10 %"), "{text}");
    server.done(&["rollout", "set", "sum", "40", "--canary", "fast"]).await;
    server.splits("sum", &[("add_1", 50), ("add_2", 40), ("add_3", 10)]).await;
    server.done(&["rollout", "promote", "sum", "--canary", "fast"]).await;
    server.splits("sum", &[("add_2", 90), ("add_3", 10)]).await;
    server.done(&["rollout", "rollback", "sum"]).await;
    server.splits("sum", &[("add_2", 100)]).await;
    server.done(&["rollout", "rollback", "sum"]).await;
    server.splits("sum", &[("add_1", 100)]).await;
    assert_eq!(server.loads("sum"), 4, "only what had gone was loaded again");
}
