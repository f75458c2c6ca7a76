//! Passwords and signatures in URLs: sent to their host, and seen nowhere.

use weirgate_tests::files::FileServer;
use weirgate_tests::{Server, Service};

use crate::{answers, put};

/// None of these texts may be seen.
const SECRETS: [&str; 3] = ["pass%20word", "pass word", "SIGNATURE"];

fn shows_none(what: &str, text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{what} shows {secret}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_opens_a_file_and_is_seen_nowhere() {
    let files = FileServer::start().await;
    put(&files, "add_1", "model.onnx");
    let good = files.url_of("user:pass%20word", "/private/model.onnx?sig=SIGNATURE");
    let bad = files.url_of("user:pass%20wordless", "/private/model.onnx?sig=SIGNATURE");
    let services = [Service::from("sum", &good), Service::from("shut", &bad)];
    let server = Server::with(services).flag("--log", "debug").start().await;
    assert_eq!(answers(&server).await.unwrap(), "add_1");
    for service in ["sum", "shut"] {
        let view = server.view(service).await.unwrap().to_string();
        assert!(view.contains("***@localhost") && view.contains("?***"), "{view}");
        shows_none("the view", &view);
        shows_none("describe", &server.done(&["describe", service]).await);
        let without_token = ["get", service, "-o", "yaml", "--token-file", "/nowhere/token"];
        shows_none("get", &server.done(&without_token).await);
        let written = server.done(&["get", service, "-o", "yaml"]).await;
        assert!(written.contains("sig=SIGNATURE"), "those who may change it see it as it was written: {written}");
    }
    let message = server.view("shut").await.unwrap()["revisions"][0]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("401") && message.contains("check user and password"), "{message}");
    shows_none("the log", &server.log());
    shows_none("metrics", &server.admin_get("/metrics").await.unwrap().text());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shown_can_not_be_applied_in_the_place_of_the_secret() {
    let server = Server::with([]).without_files().start().await;
    let service = Service::from("sum", "https://***@host/model.onnx");
    let output = server.cli_with_input(&["apply", "-f", "-"], &service.yaml()).await;
    assert!(!output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("write the URL in full"), "{text}");
}
