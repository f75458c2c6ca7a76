//! The life of a canary in `canaryTrafficPercent`.

use tokio::task::JoinSet;
use weirgate_tests::process::threads;
use weirgate_tests::{Caller, Server, Service, To, eventually};

use super::{exactly, rolled_out};

#[tokio::test(flavor = "multi_thread")]
async fn a_first_rollout_takes_all_calls_whatever_its_percent() {
    let server = Server::start([Service::sum(1).canary_percent(20)]).await;
    let models = server.splits("sum", &[("add_1", 100)]).await;
    exactly(&server, &models, &[("add_1", 100)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn set_raise_go_dark_and_promote_with_each_model_loaded_once() {
    let server = rolled_out().await;
    for percent in [20, 50, 0, 50] {
        server.write(&Service::sum(2).canary_percent(percent));
        let models = server.splits("sum", &[("add_1", 100 - percent as u64), ("add_2", percent as u64)]).await;
        exactly(&server, &models, &[("add_1", 100 - percent), ("add_2", percent)]).await;
        assert_eq!(server.loads("sum"), 2, "{percent} %: a change of the split loads nothing");
    }
    server.write(&Service::sum(2));
    let models = server.splits("sum", &[("add_2", 100)]).await;
    exactly(&server, &models, &[("add_2", 100)]).await;
    assert_eq!(server.loads("sum"), 2, "a canary is promoted without being loaded again");
    let roles = |model: &str, roles: &[String]| (model.to_owned(), roles.to_owned());
    let revisions = server.revisions("sum").await;
    let found: Vec<_> = revisions.iter().map(|revision| roles(&revision.model, &revision.roles)).collect();
    let expected = [
        ("add_2".to_owned(), vec!["stable".to_owned(), "latest".to_owned()]),
        ("add_1".to_owned(), vec!["previous".to_owned()]),
    ];
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn roll_back_to_the_old_manifest_without_a_load() {
    let server = rolled_out().await;
    server.write(&Service::sum(2).canary_percent(20));
    server.splits("sum", &[("add_1", 80), ("add_2", 20)]).await;
    server.write(&Service::sum(1));
    let models = server.splits("sum", &[("add_1", 100)]).await;
    exactly(&server, &models, &[("add_1", 100)]).await;
    assert_eq!(server.loads("sum"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_canary_takes_the_place_of_the_first() {
    let server = rolled_out().await;
    server.write(&Service::sum(2).canary_percent(20));
    server.splits("sum", &[("add_1", 80), ("add_2", 20)]).await;
    server.write(&Service::sum(3).canary_percent(30));
    let models = server.splits("sum", &[("add_1", 70), ("add_3", 30)]).await;
    exactly(&server, &models, &[("add_1", 70), ("add_3", 30)]).await;
    assert_eq!(server.loads("sum"), 3);
}

/// KServe: `canaryTrafficPercent` was ignored without a word, but for one mode.
#[tokio::test(flavor = "multi_thread")]
async fn complaint_01_calls_are_split_in_every_deployment_mode() {
    let modes = ["", "Standard", "Knative", "RawDeployment", "Serverless"];
    let service = |add: usize, mode: &str| {
        let service = Service::sum(add).named(&format!("sum{}", mode.to_lowercase()));
        if mode.is_empty() { service } else { service.annotation("serving.kserve.io/deploymentMode", mode) }
    };
    let server = Server::start(modes.map(|mode| service(1, mode))).await;
    for mode in modes {
        server.splits(service(1, mode).name(), &[("add_1", 100)]).await;
        server.write(&service(2, mode).canary_percent(20));
    }
    for mode in modes {
        let service = service(2, mode);
        let models = server.splits(service.name(), &[("add_1", 80), ("add_2", 20)]).await;
        let counts = Caller::http(server.data).await.count(&To::model(service.name()), &models, 200).await;
        assert_eq!(counts, [("add_1".to_owned(), 160), ("add_2".to_owned(), 40)].into(), "mode '{mode}'");
    }
}

/// KServe: after a rollback, calls leaked to the revision that had been taken back.
#[tokio::test(flavor = "multi_thread")]
async fn complaint_02_stable_is_the_last_revision_that_held_all_calls() {
    let server = rolled_out().await;
    server.write(&Service::sum(2).canary_percent(20));
    server.splits("sum", &[("add_1", 80), ("add_2", 20)]).await;
    server.write(&Service::sum(2).canary_percent(0));
    server.splits("sum", &[("add_1", 100), ("add_2", 0)]).await;
    server.write(&Service::sum(3).canary_percent(20));
    let models = server.splits("sum", &[("add_1", 80), ("add_3", 20)]).await;
    exactly(&server, &models, &[("add_1", 80), ("add_3", 20), ("add_2", 0)]).await;
    let counts = Caller::http(server.data).await.count(&To::model("sum").revision("stable"), &models, 100).await;
    assert_eq!(counts, [("add_1".to_owned(), 100)].into());
}

/// KServe: while a canary was not ready yet, a revision that had been replaced long ago came back for a while.
#[tokio::test(flavor = "multi_thread")]
async fn complaint_03_only_stable_and_the_candidate_run() {
    let server = rolled_out().await;
    server.write(&Service::sum(2));
    server.splits("sum", &[("add_2", 100)]).await;
    // This one is never ready.
    server.write(&Service::new("broken").named("sum").canary_percent(20));
    let models = server.splits("sum", &[("add_2", 100), ("broken", 0)]).await;
    exactly(&server, &models, &[("add_2", 100)]).await;
    server.write(&Service::sum(3).canary_percent(20));
    let models = server.splits("sum", &[("add_2", 80), ("add_3", 20)]).await;
    exactly(&server, &models, &[("add_2", 80), ("add_3", 20)]).await;
    let first = models.iter().find(|(_, model)| *model == "add_1").map(|(revision, _)| revision.clone());
    let started = |revision: &str| server.log().matches(&format!("replicas of revision {revision} start")).count();
    assert!(first.is_none_or(|first| started(&first) == 1), "add_1 came back:\n{}", server.log());
    assert_eq!(server.log().matches("RevisionStarted").count(), 4, "{}", server.log());
}

/// KServe: the canary could not be reached but by chance.
#[tokio::test(flavor = "multi_thread")]
async fn complaint_04_stable_and_canary_are_reached_whatever_the_split() {
    let server = rolled_out().await;
    for percent in [0, 20] {
        server.write(&Service::sum(2).canary_percent(percent));
        let models = server.splits("sum", &[("add_1", 100 - percent as u64), ("add_2", percent as u64)]).await;
        let revision = |model: &str| models.iter().find(|(_, found)| *found == model).unwrap().0.clone();
        let sum = || To::model("sum");
        for (model, tag, word) in [("add_1", "prev", "stable"), ("add_2", "latest", "latest")] {
            let name = revision(model);
            let ways = [
                sum().revision(word),
                sum().revision(&name),
                sum().host(&format!("{tag}-sum-predictor.default.example.com")),
                sum().host(&format!("{tag}-sum.default.example.com:8080")),
                sum().host(&format!("{name}.default.svc.cluster.local")),
                sum().prefix(&format!("/default/{tag}-sum")),
                sum().prefix(&format!("/default/{name}")),
            ];
            for to in ways {
                for mut caller in Caller::both(&server).await {
                    // A path's prefix is REST's.
                    if matches!(caller, Caller::Grpc(_)) && to.has_prefix() {
                        continue;
                    }
                    let counts = caller.count(&to, &models, 25).await;
                    assert_eq!(counts, [(model.to_owned(), 25)].into(), "{percent} %: {to:?}");
                }
            }
        }
        // Calls that chose for themselves have taken no turns from those that did not.
        exactly(&server, &models, &[("add_1", 100 - percent), ("add_2", percent)]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dark_revision_answers_several_callers_at_once() {
    let server = rolled_out().await;
    server.write(&Service::new("slow").named("sum").canary_percent(0));
    server.splits("sum", &[("add_1", 100), ("slow", 0)]).await;
    let mut calls = JoinSet::new();
    for _ in 0..8 {
        let mut caller = Caller::http(server.data).await;
        calls.spawn(async move { caller.ask(&To::model("sum").revision("latest")).await });
    }
    for answered in calls.join_all().await {
        assert_eq!(answered.map(|answered| answered.model), Ok("add_0".to_owned()));
    }
}

/// KServe: old revisions ran on, because scrapes of their metrics counted as calls.
#[tokio::test(flavor = "multi_thread")]
async fn complaint_05_an_update_ends_the_old_revision_and_scrapes_are_no_calls() {
    let server = Server::start([Service::sum(1).replicas(2)]).await;
    eventually("both replicas", async || (server.metric("weirgate_ready_replicas", "sum").await == 2.0).then_some(()))
        .await;
    let engines = threads(server.pid(), "sum-");
    assert!(engines >= 2, "{engines} threads of engines");
    server.write(&Service::sum(2).replicas(2).canary_percent(20));
    let models = server.splits("sum", &[("add_1", 80), ("add_2", 20)]).await;
    let (mut caller, to) = (Caller::http(server.data).await, To::model("sum"));
    let mut canary = 0;
    for _ in 0..100 {
        server.metrics().await;
        for path in ["/v2/models/sum/ready", "/v2/models/sum", "/v2/health/ready"] {
            let Caller::Http(client) = &mut caller else { unreachable!() };
            assert_eq!(client.get(path).await.status, 200);
        }
        canary += usize::from(models[&caller.ask(&to).await.unwrap().revision] == "add_2");
    }
    assert_eq!(canary, 20, "what is no call takes no turn");
    let answered = server.metrics().await.sum("weirgate_revision_requests_total", &[("service", "sum")]);
    assert_eq!(answered as usize, 100);

    server.write(&Service::sum(2).replicas(2));
    server.splits("sum", &[("add_2", 100)]).await;
    eventually("the engines of the old revision to end", async || {
        (threads(server.pid(), "sum-") == engines).then_some(())
    })
    .await;
    let shown = server.admin_get("/metrics").await.unwrap().text();
    let old = models.iter().find(|(_, model)| *model == "add_1").unwrap().0;
    assert!(!shown.contains(old.as_str()), "metrics of a revision that is gone:\n{shown}");
}
