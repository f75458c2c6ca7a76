//! The commands: what they print, and how they exit.

use crate::server::{Server, manifest};

#[tokio::test]
async fn a_service_goes_through_the_commands() {
    let server = Server::start().await;
    server.file("m/b.yaml", &manifest("default", "digits").replace("predictor: {", "predictor: {minReplicas: 0, "));
    let folder = server.folder.join("m").to_str().unwrap().to_owned();
    assert_eq!(server.says(0, &["get", "isvc"]).await, "No resources found in default namespace.\n");

    let applied = server.weirgate(&["apply", "--wait", "-f", &folder]).await;
    assert_eq!(applied.status.code(), Some(0), "{applied:?}");
    assert_eq!(
        String::from_utf8(applied.stdout).unwrap(),
        "inferenceservice.serving.kserve.io/digits created\n\
         default/digits: rolled out: digits-predictor-1 Ready, 1/1 replicas, 100 % of the calls\n"
    );
    let warned = String::from_utf8(applied.stderr).unwrap();
    assert!(warned.starts_with("warning: ") && warned.contains("m/b.yaml"), "{warned}");
    let again = server.prints(0, &["apply", "-f", &folder]).await;
    assert_eq!(again, "inferenceservice.serving.kserve.io/digits unchanged\n");

    for words in [&["get"][..], &["get", "isvc", "digits"], &["get", "inferenceservice/digits"]] {
        let table = server.prints(0, words).await;
        let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        assert_eq!(lines.next().unwrap()[..3], ["NAME", "URL", "READY"]);
        assert_eq!(lines.next().unwrap()[..4], ["digits", "http://digits-default.example.com", "True", "100"]);
    }
    for words in [&["get", "digits", "-o", "yaml"][..], &["get", "-A", "-o", "yaml"], &["get", "-o", "json"]] {
        let file = server.file("again.yaml", &server.prints(0, words).await);
        let again = server.prints(0, &["apply", "-f", &file]).await;
        assert!(again.starts_with("inferenceservice.serving.kserve.io/digits "), "{words:?}: {again}");
    }
    let described = server.prints(0, &["describe", "isvc", "digits"]).await;
    assert!(described.contains("Owner:      state folder") && described.contains("digits-predictor-1"), "{described}");

    let percent = ["rollout", "set", "digits", "20", "--canary", "fast"];
    assert_eq!(server.prints(0, &percent).await, "inferenceservice.serving.kserve.io/digits configured\n");
    assert!(server.prints(0, &["describe", "digits"]).await.contains("Set { percent: 20, canary: Some(\"fast\") }"));
    let status = server.prints(0, &["rollout", "status", "isvc/digits", "--watch=false"]).await;
    assert!(status.starts_with("default/digits: rolled out"), "{status}");

    let deleted = server.prints(0, &["delete", "-f", &folder]).await;
    assert_eq!(deleted, "inferenceservice.serving.kserve.io \"digits\" deleted\n");
    let gone = server.says(1, &["delete", "digits"]).await;
    assert_eq!(gone, "error: there is no inferenceservice default/digits\n");
}

#[tokio::test]
async fn commands_that_fail_exit_with_1_and_say_why() {
    let server = Server::start().await;
    let broken = server.file("m/broken.yaml", &manifest("default", "broken"));
    let failed = server.weirgate(&["apply", "--wait", "-f", &broken]).await;
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    assert_eq!(
        String::from_utf8(failed.stderr).unwrap(),
        "error: default/broken: revision broken-predictor-1 failed: the file is no model\n"
    );
    for watch in [&["rollout", "status", "broken"][..], &["rollout", "status", "broken", "--watch=false"]] {
        assert!(server.says(1, watch).await.contains("the file is no model"));
    }
    let owned = server.file("m/owned.yaml", &manifest("files", "one"));
    server.prints(0, &["apply", "-f", &owned]).await;
    let refused = server.says(1, &["rollout", "promote", "one", "-n", "files"]).await;
    assert!(refused.contains("m/files.yaml") && refused.contains("--write-back"), "{refused}");
    server.prints(0, &["rollout", "rollback", "one", "-n", "files", "--write-back"]).await;

    let wrong = server.file("m/wrong.yaml", &manifest("a", "b").replace("storageUri: digits", "storageUri: 5"));
    for command in ["apply", "validate", "delete"] {
        let output = server.weirgate(&[command, "-f", &wrong, &owned]).await;
        assert_eq!(output.status.code(), Some(1), "{command}: {output:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.starts_with("error: ") && text.contains("m/wrong.yaml") && text.contains("storageUri"), "{text}");
    }
    assert!(server.prints(0, &["validate", "-f", &owned]).await.starts_with("1 file, 1 inferenceservice: 0 errors"));

    let elsewhere = server.folder.join("elsewhere").to_str().unwrap().to_owned();
    let text = server.says(1, &["delete", "one", "--state", &elsewhere]).await;
    assert!(text.contains(&elsewhere) && text.contains("--token-file"), "{text}");
    let text = server.says(1, &["get", "--admin", "http://127.0.0.1:1"]).await;
    assert!(text.contains("http://127.0.0.1:1") && text.contains("is `weirgate serve` running?"), "{text}");
    for usage in [
        &["get", "pods", "x"][..],
        &["get", "x", "-A"],
        &["describe"],
        &["delete"],
        &["delete", "x", "-f", "y"],
        &["apply"],
        &["rollout", "set", "x", "101"],
        &["rollout", "set", "x"],
        &["get", "--admin", "https://localhost:1"],
        &["get", "-n", "../x"],
    ] {
        server.says(2, usage).await;
    }
}
