//! Where models may come from, and that they come once.

use std::process::Command;

use weirgate_tests::environment::python;
use weirgate_tests::files::FileServer;
use weirgate_tests::process::run;
use weirgate_tests::{Server, Service};

use crate::{answers, model_file, put, statuses};

#[tokio::test(flavor = "multi_thread")]
async fn a_model_comes_from_a_url_and_behind_a_redirect() {
    let files = FileServer::start().await;
    put(&files, "add_1", "model.onnx");
    for path in ["/files/model.onnx", "/moved/model.onnx?sig=1"] {
        let server = Server::start([Service::from("sum", &files.url(path))]).await;
        assert_eq!(answers(&server).await.unwrap(), "add_1", "{path}");
        let log = server.log();
        assert!(log.contains("the model is downloaded") && log.contains("mb_per_second"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_are_folders() {
    let files = FileServer::start().await;
    for (module, name) in [("tarfile", "m.tar"), ("tarfile", "m.tar.gz"), ("tarfile", "m.tgz"), ("zipfile", "m.zip")] {
        let mut command = Command::new(python());
        command.args(["-m", module, "-c"]).arg(files.folder().join(name)).arg("model.onnx");
        let packed = run(command.current_dir(model_file("add_2").parent().unwrap()));
        assert!(packed.status.success(), "{packed:?}");
        let server = Server::start([Service::from("sum", &files.url(&format!("/files/{name}")))]).await;
        assert_eq!(answers(&server).await.unwrap(), "add_2", "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_trusted_by_the_authorities_that_the_system_or_ssl_cert_file_names() {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = FileServer::with_tls(&signed.cert.pem(), &signed.signing_key.serialize_pem()).await;
    put(&files, "add_1", "model.onnx");
    let service = Service::from("sum", &files.url("/files/model.onnx"));
    let authority = files.folder().join("cert.pem");
    let start = Server::with([service.clone()]).variable("SSL_CERT_FILE", authority.to_str().unwrap());
    assert_eq!(answers(&start.start().await).await.unwrap(), "add_1");
    let error = answers(&Server::start([service]).await).await.unwrap_err();
    assert!(error.starts_with("503") && error.contains("SSL_CERT_FILE"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_asks_whether_the_copy_is_good_and_uses_it_while_nobody_answers() {
    let mut files = FileServer::start().await;
    put(&files, "add_1", "model.onnx");
    let mut server = Server::start([Service::from("sum", &files.url("/files/model.onnx"))]).await;
    server.kill().await;
    server.restart().await;
    assert_eq!(answers(&server).await.unwrap(), "add_1");
    assert_eq!(statuses(&files), [200, 304]);
    files.stop();
    server.kill().await;
    server.restart().await;
    assert_eq!(answers(&server).await.unwrap(), "add_1");
    assert!(server.log().contains("the copy from before is used"), "{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn services_and_replicas_of_one_url_download_it_once() {
    let files = FileServer::start().await;
    put(&files, "add_1", "model.onnx");
    let url = files.url("/files/model.onnx");
    let services = [Service::from("sum", &url).replicas(3), Service::from("other", &url).replicas(2)];
    let server = Server::start(services).await;
    assert_eq!(answers(&server).await.unwrap(), "add_1");
    let downloads = statuses(&files).iter().filter(|status| **status == 200).count();
    assert_eq!(downloads, 1, "{:?}", files.asked());
}

#[tokio::test(flavor = "multi_thread")]
async fn urls_can_be_kept_to_what_is_allowed() {
    let files = FileServer::start().await;
    put(&files, "add_1", "model.onnx");
    let services = || [Service::from("sum", &files.url("/files/model.onnx"))];
    let allowed = Server::with(services()).flag("--model-url", &files.url("/files")).start().await;
    assert_eq!(answers(&allowed).await.unwrap(), "add_1");
    for prefix in [files.url("/file"), "none".to_owned()] {
        let server = Server::with(services()).flag("--model-url", &prefix).start().await;
        let error = answers(&server).await.unwrap_err();
        assert!(error.starts_with("503") && error.contains("--model-url"), "{error}");
    }
    assert_eq!(files.asked().len(), 1);
}
