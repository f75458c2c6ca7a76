//! `get` and `describe`.

use serde_json::Value;
use weirgate_tests::{Server, Service};

/// A canary by a file, and a broken service in another namespace that was applied.
async fn server() -> Server {
    let server = Server::start([Service::sum(1)]).await;
    server.splits("sum", &[("add_1", 100)]).await;
    server.write(&Service::sum(2).canary_percent(20));
    server.splits("sum", &[("add_1", 80), ("add_2", 20)]).await;
    let broken = Service::new("broken").in_namespace("red").yaml();
    assert!(server.cli_with_input(&["apply", "-f", "-"], &broken).await.status.success());
    let _ = server.cli(&["rollout", "status", "broken", "-n", "red"]).await;
    server
}

fn columns(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn get_has_kserves_columns() {
    let server = server().await;
    let models = server.models("sum").await;
    let revision = |model: &str| models.iter().find(|(_, found)| *found == model).unwrap().0.clone();
    let printed = server.done(&["get", "inferenceservices"]).await;
    let lines: Vec<_> = printed.lines().map(columns).collect();
    let headings = ["NAME", "URL", "READY", "PREV", "LATEST", "PREVROLLEDOUTREVISION", "LATESTREADYREVISION", "AGE"];
    assert_eq!(lines[0], headings);
    let url = format!("http://{}/default/sum", server.data);
    assert_eq!(lines[1][..5], ["sum", &url, "True", "80", "20"], "{printed}");
    assert!(lines[1].contains(&&*revision("add_2")), "{printed}");
    assert_eq!(lines.len(), 2, "{printed}");

    let printed = server.done(&["get", "isvc", "-A", "-o", "wide"]).await;
    let lines: Vec<_> = printed.lines().map(columns).collect();
    assert_eq!((lines[0][0], lines[0][9]), ("NAMESPACE", "OWNER"), "{printed}");
    assert_eq!(lines[1][..2], ["default", "sum"], "{printed}");
    assert_eq!(lines[2][..2], ["red", "broken"], "{printed}");
    assert!(printed.contains("sum.yaml"), "the owner is shown: {printed}");
    assert!(lines[2].contains(&"False"), "{printed}");

    for words in [&["get", "sum"][..], &["get", "isvc", "sum"], &["get", "isvc/sum"]] {
        let printed = server.done(words).await;
        assert_eq!(printed.lines().count(), 2, "{words:?}: {printed}");
    }
    let output = server.cli(&["get", "-n", "green"]).await;
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "No resources found in green namespace.\n");
    assert!(server.fails(&["get", "nothing"]).await.contains("default/nothing"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_get_prints_can_be_applied_again_and_changes_nothing() {
    let server = Server::start([]).await;
    let service = Service::sum(1).canary("fast", "add_2", 20).sticky("header:x-user").max_batch(4).timeout(7);
    let yaml = service.field("serviceAccountName", "someone").yaml();
    let output = server.cli_with_input(&["apply", "-f", "-", "--wait"], &yaml).await;
    assert!(output.status.success(), "{output:?}");
    for format in ["yaml", "json"] {
        for words in [&["get", "sum", "-o", format][..], &["get", "-o", format]] {
            let printed = server.done(words).await;
            let output = server.cli_with_input(&["apply", "-f", "-"], &printed).await;
            let text = String::from_utf8(output.stdout).unwrap();
            assert_eq!(text, "inferenceservice.serving.kserve.io/sum unchanged\n", "{words:?}: {printed}");
        }
    }
    let printed = server.done(&["get", "sum", "-o", "json"]).await;
    let object: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(object["kind"], "InferenceService");
    assert_eq!(object["status"]["canaryStatuses"][0]["name"], "fast");
    assert_eq!(object["metadata"]["namespace"], "default");
    assert_eq!(server.loads("sum"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn describe_tells_all_of_a_service() {
    let server = server().await;
    let printed = server.done(&["describe", "sum"]).await;
    let models = server.models("sum").await;
    for part in
        ["Name:", "Owner:", "sum.yaml", "Conditions:", "Ready", "Revisions:", "stable", "latest", "80 %", "20 %"]
    {
        assert!(printed.contains(part), "{part} is missing:\n{printed}");
    }
    for part in ["Traffic:", "prev", "Events:", "RevisionStarted", "RevisionReady", "TrafficChanged"] {
        assert!(printed.contains(part), "{part} is missing:\n{printed}");
    }
    assert!(models.keys().all(|revision| printed.contains(revision)), "{printed}");
    let printed = server.done(&["describe", "isvc", "broken", "-n", "red"]).await;
    for part in ["ModelLoadFailed", "model.onnx", "Failed", "state folder"] {
        assert!(printed.contains(part), "{part} is missing:\n{printed}");
    }
}
