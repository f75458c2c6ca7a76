//! Who may use the control API.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use http::Method;
use serde_json::json;
use weirgate_tests::control::json as body;
use weirgate_tests::environment::{binary, models};
use weirgate_tests::process::{Folder, run};
use weirgate_tests::{Caller, Server, Service, To};

const SUM: &str = "/namespaces/default/inferenceservices/sum";

#[tokio::test(flavor = "multi_thread")]
async fn every_change_needs_the_token() {
    let server = Server::start([Service::sum(1)]).await;
    let mode = std::fs::metadata(server.state().join("token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let rollout = format!("{SUM}/rollout");
    let changes = [
        (Method::POST, "/apply", json!({ "documents": [{ "text": "", "origin": "o", "base": "/" }] })),
        (Method::DELETE, SUM, json!(null)),
        (Method::POST, &rollout, json!({ "action": "set", "percent": 10 })),
    ];
    for (method, path, content) in &changes {
        for (token, status) in [(None, 401), (Some("Bearer wrong"), 403), (Some("Basic wrong"), 401)] {
            let mut request = server.control(method.clone(), path);
            if let Some(token) = token {
                request = request.header("authorization", token);
            }
            let reply = server.control_send(request.body(body(content)).unwrap()).await;
            assert_eq!(reply.status, status, "{method} {path} with {token:?}: {reply:?}");
            assert!(reply.error().contains("token"), "{reply:?}");
        }
    }
    let token = format!("Bearer {}", server.token());
    let request = server.control(Method::DELETE, SUM).header("authorization", token);
    let reply = server.control_send(request.body(body(&json!(null))).unwrap()).await;
    assert_eq!(reply.status, 409, "with the token, only the file stands in the way: {reply:?}");
    assert!(!server.log().contains(&server.token()), "the token is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_hosts_and_origins_are_refused_for_reading_too() {
    let server = Server::start([Service::sum(1)]).await;
    let ask = async |host: &str, origin: Option<&str>| {
        let request = server.control(Method::GET, "/inferenceservices");
        let mut request = request.body(body(&json!(null))).unwrap();
        request.headers_mut().insert("host", host.parse().unwrap());
        if let Some(origin) = origin {
            request.headers_mut().insert("origin", origin.parse().unwrap());
        }
        server.control_send(request).await
    };
    let own = server.admin.to_string();
    let port = server.admin.port();
    for host in [own.clone(), format!("localhost:{port}"), "127.0.0.1".to_owned(), "[::1]:80".to_owned()] {
        assert_eq!(ask(&host, None).await.status, 200, "{host}");
    }
    assert_eq!(ask(&own, Some(&format!("http://{own}"))).await.status, 200);
    for host in ["evil.example.com", "localhost.evil.example.com", "127.0.0.1.evil.example.com", "10.0.0.1"] {
        let reply = ask(host, None).await;
        assert_eq!(reply.status, 403, "{host}: {reply:?}");
        assert!(reply.error().contains(host) && reply.error().contains("localhost"), "{reply:?}");
    }
    for origin in ["http://evil.example.com", "null", "http://localhost:1"] {
        let reply = ask(&own, Some(origin)).await;
        assert_eq!(reply.status, 403, "{origin}: {reply:?}");
        assert!(reply.error().contains(origin), "{reply:?}");
    }
    // Metrics and health are apart, for scrapers that come by any name.
    let scrape = weirgate_tests::http::get("/metrics");
    assert_eq!(server.control_send(scrape).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_may_be_allowed() {
    let server = Server::with([Service::sum(1)]).flag("--admin-host", "gate.example.com").start().await;
    let token = format!("Bearer {}", server.token());
    // By such a name comes whoever stands behind a proxy: reading needs the token too.
    for (token, status) in [(None, 401), (Some(&token), 200)] {
        let mut request = server.control(Method::GET, SUM);
        if let Some(token) = token {
            request = request.header("authorization", token);
        }
        let mut request = request.body(body(&json!(null))).unwrap();
        request.headers_mut().insert("host", "gate.example.com:8081".parse().unwrap());
        assert_eq!(server.control_send(request).await.status, status);
    }
}

#[test]
fn without_a_server_a_sentence_says_so() {
    let output = run(Command::new(binary()).args(["get", "--admin", "127.0.0.1:1"]).env("HOME", "/nowhere"));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("127.0.0.1:1") && text.contains("is `weirgate serve` running?"), "{text}");
    assert!(output.stdout.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_or_missing_token_file_is_told() {
    let server = Server::start([]).await;
    let manifest = server.folder().file("sum.yaml", &Service::sum(1).yaml());
    let manifest = manifest.to_str().unwrap();
    let wrong = server.folder().file("wrong-token", &"0".repeat(64));
    std::fs::set_permissions(&wrong, std::fs::Permissions::from_mode(0o600)).unwrap();
    let apply = ["apply", "-f", manifest, "--token-file"];
    let text = server.fails(&[&apply[..], &[wrong.to_str().unwrap()]].concat()).await;
    assert!(text.contains("not this server's"), "{text}");
    let text = server.fails(&[&apply[..], &["/nowhere/token"]].concat()).await;
    assert!(text.contains("/nowhere/token") && text.contains("--token-file"), "{text}");
    assert!(server.view("sum").await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn models_come_from_the_given_folders_only_links_included() {
    let folder = Folder::new();
    let (root, outside) = (folder.folder("root"), models().join("testing/add_1"));
    std::fs::create_dir(root.join("inside")).unwrap();
    std::fs::copy(outside.join("model.onnx"), root.join("inside/model.onnx")).unwrap();
    std::os::unix::fs::symlink(&outside, root.join("linked")).unwrap();
    std::fs::create_dir(root.join("hollow")).unwrap();
    std::os::unix::fs::symlink(outside.join("model.onnx"), root.join("hollow/model.onnx")).unwrap();
    let services = [
        Service::at("inside", root.join("inside")),
        Service::at("outside", outside),
        Service::at("linked", root.join("linked")),
        Service::at("hollow", root.join("hollow")),
    ];
    let server = Server::with(services).flag("--model-root", root.to_str().unwrap()).start().await;
    let mut caller = Caller::http(server.data).await;
    assert_eq!(caller.ask(&To::model("inside")).await.unwrap().model, "add_1");
    for name in ["outside", "linked", "hollow"] {
        let error = caller.ask(&To::model(name)).await.expect_err(name);
        assert!(error.starts_with("503") && error.contains("--model-root"), "{name}: {error}");
    }
}
