//! Downloads that fail, or end before they are done.

use weirgate_tests::files::FileServer;
use weirgate_tests::process::threads;
use weirgate_tests::{Server, Service, eventually};

use crate::{answers, half_has_come, put};

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_not_there_makes_the_service_say_so() {
    let files = FileServer::start().await;
    let server = Server::start([Service::from("sum", &files.url("/files/none.onnx"))]).await;
    let ready = server.condition("sum", "Ready").await;
    assert_eq!(ready["status"], "False", "{ready}");
    let revisions = server.view("sum").await.unwrap();
    let reason = revisions["revisions"][0]["message"].as_str().unwrap();
    assert!(reason.contains("404") && reason.contains("none.onnx"), "{reason}");
    let error = answers(&server).await.unwrap_err();
    assert!(error.starts_with("503") && error.contains("404"), "{error}");
    // It is looked for again, and comes when it is there.
    put(&files, "add_3", "none.onnx");
    server.splits("sum", &[("none.onnx", 100)]).await;
    eventually("the model to be served", async || answers(&server).await.ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_loaded_is_told_of_its_url() {
    let files = FileServer::start().await;
    for name in ["half.onnx", "page.html"] {
        std::fs::write(files.folder().join(name), "<html>no model</html>").unwrap();
    }
    for (name, says) in [("half.onnx", "Protobuf parsing failed"), ("page.html", "text/html, which is no model")] {
        let url = files.url(&format!("/files/{name}?sig=1"));
        let server = Server::start([Service::from("sum", &url)]).await;
        let error = answers(&server).await.unwrap_err();
        let shown = files.url(&format!("/files/{name}"));
        assert!(error.contains(&shown) && error.contains(says), "{error}");
        assert!(!error.contains("content/"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_interrupts_nothing() {
    let mut files = FileServer::start().await;
    let url = files.url("/files/model.onnx");
    files.stop();
    let server = Server::start([Service::from("sum", &url)]).await;
    let log = server.log();
    assert!(log.contains("the download can't begin") && !log.contains("the download is interrupted"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_beyond_the_limit_is_refused() {
    let files = FileServer::start().await;
    put(&files, "add_1", "model.onnx");
    let service = Service::from("sum", &files.url("/files/model.onnx"));
    let server = Server::with([service]).flag("--max-model-size", "100").start().await;
    let error = answers(&server).await.unwrap_err();
    assert!(error.starts_with("503") && error.contains("--max-model-size"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_costs_only_what_had_not_come() {
    let files = FileServer::start().await;
    put(&files, "add_1", "model.onnx");
    let service = Service::from("sum", &files.url("/held/model.onnx"));
    let mut server = Server::with([service]).at_once().start().await;
    let half = half_has_come(&server, "add_1").await;
    server.kill().await;
    server.restart().await;
    eventually("the model to be served", async || answers(&server).await.ok().filter(|model| model == "add_1")).await;
    let last = files.asked().pop().unwrap();
    assert_eq!(
        (last["status"].as_u64(), last["Range"].as_str()),
        (Some(206), Some(&*format!("bytes={half}-"))),
        "{last}"
    );
    assert!(last["If-Range"].is_string(), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_deleted_stops_its_download() {
    let files = FileServer::start().await;
    put(&files, "add_1", "model.onnx");
    let server = Server::with([]).without_files().start().await;
    let service = Service::from("sum", &files.url("/held/model.onnx"));
    let manifest = server.folder().file("sum.yaml", &service.yaml());
    let manifest = manifest.to_str().unwrap();
    server.done(&["apply", "-f", manifest]).await;
    let half = half_has_come(&server, "add_1").await;
    assert_eq!(threads(server.pid(), "sum-"), 1);
    server.done(&["delete", "sum"]).await;
    eventually("its thread to end", async || (threads(server.pid(), "sum-") == 0).then_some(())).await;
    // What came is not lost.
    server.done(&["apply", "-f", manifest, "--wait"]).await;
    assert_eq!(answers(&server).await.unwrap(), "add_1");
    let last = files.asked().pop().unwrap();
    assert_eq!(last["Range"], format!("bytes={half}-"), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_does_not_hold_up_the_end() {
    let files = FileServer::start().await;
    put(&files, "add_1", "model.onnx");
    let service = Service::from("sum", &files.url("/held/model.onnx"));
    let mut server = Server::with([service]).at_once().start().await;
    half_has_come(&server, "add_1").await;
    let status = server.stop().await;
    assert!(status.success(), "{status}: {}", server.log());
}
