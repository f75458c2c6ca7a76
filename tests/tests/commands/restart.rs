//! What is left after the server was killed.

use std::process::Command;

use weirgate_tests::environment::binary;
use weirgate_tests::process::run;
use weirgate_tests::{Caller, Server, Service, To, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_20_percent_gives_the_same_split_and_the_same_stable() {
    let mut server = Server::start([Service::sum(1)]).await;
    server.splits("sum", &[("add_1", 100)]).await;
    server.write(&Service::sum(2).canary_percent(20));
    let before = server.splits("sum", &[("add_1", 80), ("add_2", 20)]).await;
    server.kill().await;
    server.restart().await;
    let models = server.splits("sum", &[("add_1", 80), ("add_2", 20)]).await;
    assert_eq!(models, before);
    let mut caller = Caller::http(server.data).await;
    let counts = caller.count(&To::model("sum"), &models, 1_000).await;
    assert_eq!(counts, [("add_1".to_owned(), 800), ("add_2".to_owned(), 200)].into());
    let stable = caller.ask(&To::model("sum").revision("stable")).await.unwrap();
    assert_eq!(stable.model, "add_1");
    // And it goes on from there.
    server.write(&Service::sum(2).canary_percent(0));
    server.splits("sum", &[("add_1", 100), ("add_2", 0)]).await;
    server.kill().await;
    server.restart().await;
    server.write(&Service::sum(3).canary_percent(20));
    server.splits("sum", &[("add_1", 80), ("add_3", 20)]).await;
}

/// Not one call goes to a revision that it should not, from the first call on.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_calls_after_a_restart_are_split_already() {
    let mut server = Server::with([Service::sum(1)]).at_once().start().await;
    server.splits("sum", &[("add_1", 100)]).await;
    server.write(&Service::sum(2).canary_percent(20));
    let models = server.splits("sum", &[("add_1", 80), ("add_2", 20)]).await;
    server.kill().await;
    server.restart().await;
    let counts = Caller::grpc(server.data).await.count(&To::model("sum"), &models, 100).await;
    assert!(counts["add_1"] >= 80, "{counts:?}");
    server.splits("sum", &[("add_1", 80), ("add_2", 20)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_applied_is_there_after_kill_9() {
    let mut server = Server::start([]).await;
    for round in 1..=5 {
        let name = format!("sum-{round}");
        let yaml = Service::sum(1).named(&name).yaml();
        let output = server.cli_with_input(&["apply", "-f", "-"], &yaml).await;
        assert!(output.status.success(), "{output:?}");
        server.kill().await;
        server.restart().await;
        for round in 1..=round {
            let answered = Caller::http(server.data).await.ask(&To::model(&format!("sum-{round}"))).await.unwrap();
            assert_eq!(answered.model, "add_1");
        }
    }
    server.done(&["delete", "sum-3"]).await;
    server.kill().await;
    server.restart().await;
    let error = Caller::http(server.data).await.ask(&To::model("sum-3")).await.unwrap_err();
    assert!(error.starts_with("404"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_the_same_state_folder_refuses() {
    let server = Server::start([]).await;
    let state = server.state();
    let output = tokio::task::spawn_blocking(move || {
        let ports = ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--state"];
        run(Command::new(binary()).args(ports).arg(state))
    })
    .await
    .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains(server.state().to_str().unwrap()), "{text}");
    assert!(text.contains(&server.pid().to_string()) && text.contains("--state"), "{text}");
    assert_eq!(server.admin_get("/livez").await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_record_is_named_and_set_aside_and_the_rest_serves() {
    let mut server = Server::start([]).await;
    for name in ["good", "bad"] {
        let yaml = Service::sum(1).named(name).yaml();
        assert!(server.cli_with_input(&["apply", "-f", "-"], &yaml).await.status.success());
        server.splits(name, &[("add_1", 100)]).await;
    }
    server.kill().await;
    let record = server.state().join("services/default/bad.json");
    let text = std::fs::read(&record).unwrap();
    std::fs::write(&record, &text[..text.len() / 2]).unwrap();
    server.restart().await;
    eventually("the corrupt file in the log", async || {
        let log = server.log();
        log.lines().any(|line| line.contains("bad.json") && line.contains("corrupt")).then_some(())
    })
    .await;
    assert!(record.with_file_name("bad.json.corrupt-1").exists(), "{:?}", record.parent().unwrap().read_dir());
    let mut caller = Caller::http(server.data).await;
    assert_eq!(caller.ask(&To::model("good")).await.unwrap().model, "add_1");
    assert!(caller.ask(&To::model("bad")).await.unwrap_err().starts_with("404"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_was_applied_and_is_in_a_file_is_refused_with_both_named() {
    let mut server = Server::start([]).await;
    let yaml = Service::sum(1).yaml();
    assert!(server.cli_with_input(&["apply", "-f", "-"], &yaml).await.status.success());
    // In a file beside it, while it runs: what was applied stays, and both are named.
    server.write(&Service::sum(2));
    let told = server.event("sum", "ClaimedTwice").await;
    assert!(told.contains("sum.yaml") && told.contains("state folder"), "{told}");
    assert_eq!(Caller::http(server.data).await.ask(&To::model("sum")).await.unwrap().model, "add_1");
    // At the start: nothing says whose word counts.
    server.kill().await;
    let (manifests, state) = (server.file(&Service::sum(2)), server.state());
    let output = tokio::task::spawn_blocking(move || {
        let ports = ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "-f"];
        run(Command::new(binary()).args(ports).arg(manifests).arg("--state").arg(state))
    })
    .await
    .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("sum.yaml") && text.contains(server.state().to_str().unwrap()), "{text}");
    std::fs::remove_file(server.file(&Service::sum(2))).unwrap();
    server.restart().await;
    server.splits("sum", &[("add_1", 100)]).await;
}
