//! What the control API answers, and whom it refuses.

use serde_json::json;
use tokio::net::TcpStream;

use crate::server::{API, PATIENCE, Reply, Server, manifest};

#[tokio::test]
async fn services_are_applied_listed_shown_and_deleted() {
    let server = Server::start().await;
    let texts = [("b", "two"), ("a", "one"), ("a", "zero")].map(|(namespace, name)| manifest(namespace, name));
    let reply = server.apply(&texts.join("---\n")).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.body["applied"][0], json!({ "namespace": "b", "name": "two", "change": "created" }));
    assert_eq!(reply.body["problems"], json!([]));

    let names = |reply: &Reply| {
        let items = reply.body["items"].as_array().unwrap().iter();
        items.map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all = server.get(&format!("{API}/inferenceservices")).await;
    assert_eq!(
        (all.body["kind"].as_str(), names(&all)),
        (Some("InferenceServiceList"), vec!["one".to_owned(), "zero".to_owned(), "two".to_owned()])
    );
    assert_eq!(names(&server.get(&format!("{API}/namespaces/a/inferenceservices")).await), ["one", "zero"]);

    let path = format!("{API}/namespaces/b/inferenceservices/two");
    let one = server.get(&path).await;
    assert_eq!(one.body["status"]["conditions"][0]["status"], "True", "{one:?}");
    let full = server.get(&format!("{path}?view=full")).await;
    assert_eq!(full.body["object"], one.body);
    assert_eq!(
        (&full.body["owner"], &full.body["revisions"][0]["percent"]),
        (&json!({ "kind": "state" }), &json!(100))
    );
    server.get(&format!("{path}?view=half")).await.refused(400, "view is 'half'");

    let deleted = server.send(server.authorized("DELETE", &path), "").await;
    assert_eq!((deleted.status, &deleted.body["status"]), (200, &json!("Success")));
    server.get(&path).await.refused(404, "there is no inferenceservice b/two");
    server.send(server.authorized("DELETE", &path), "").await.refused(404, "b/two");
    server.send(server.authorized("PUT", &path), "").await.refused(405, "PUT");
}

#[tokio::test]
async fn every_write_needs_the_token() {
    let server = Server::start().await;
    let service = format!("{API}/namespaces/a/inferenceservices/one");
    for (method, path) in
        [("POST", format!("{API}/apply")), ("DELETE", service.clone()), ("POST", format!("{service}/rollout"))]
    {
        let missing = server.send(server.request(method, &path), "{}").await;
        missing.refused(401, "a token is needed");
        assert_eq!(missing.headers["www-authenticate"], "Bearer");
        for (header, status) in [
            (format!("Basic {}", server.token), 401),
            (server.token.clone(), 401),
            ("Bearer ".to_owned(), 401),
            (format!("Bearer {}", &server.token[1..]), 403),
            (format!("Bearer {}0", server.token), 403),
        ] {
            let reply = server.send(server.request(method, &path).header("authorization", &header), "{}").await;
            reply.refused(status, "token");
            assert!(!reply.body.to_string().contains(&server.token[1..]), "{reply:?}");
        }
    }
    assert_eq!(server.get(&format!("{API}/inferenceservices")).await.body["items"], json!([]), "nothing has changed");
    let lower = server.request("DELETE", &service).header("authorization", format!("bearer {}", server.token));
    assert_eq!(server.send(lower, "").await.status, 404);
}

#[tokio::test]
async fn hosts_and_origins_of_others_are_refused() {
    let server = Server::start().await;
    let path = format!("{API}/inferenceservices");
    let port = server.address.port();
    let with = |host: &str| http::Request::builder().uri(&path).header("host", host);
    let own = |name: &str| format!("{name}:{port}");
    for host in ["localhost", "LOCALHOST.", "127.0.0.1", "127.9.9.9", "[::1]"] {
        assert_eq!(server.send(with(&own(host)), "").await.status, 200, "{host}");
    }
    let bearer = format!("Bearer {}", server.token);
    for host in ["weirgate.test", "Weirgate.Test"] {
        server.send(with(&own(host)), "").await.refused(401, "through a proxy");
        let authorized = with(&own(host)).header("authorization", &bearer);
        assert_eq!(server.send(authorized, "").await.status, 200, "{host}");
    }
    for host in ["evil.test", "localhost.evil.test", "10.0.0.1", "weirgate.test.evil.test", "x@localhost", ""] {
        let reply = server.send(with(host), "").await;
        reply.refused(403, "allowed are localhost, loopback addresses, 127.0.0.1, weirgate.test");
        assert!(reply.body["error"].as_str().unwrap().contains(&format!("'{host}'")), "{reply:?}");
    }
    server.send(http::Request::builder().uri(&path), "").await.refused(403, "names no Host");
    server.send(with("localhost").header("host", "evil.test"), "").await.refused(403, "two hosts");
    let absolute = http::Request::builder().uri(format!("http://evil.test{path}")).header("host", "evil.test");
    server.send(absolute, "").await.refused(403, "evil.test");

    let local = own("localhost");
    let same = server.send(with(&local).header("origin", format!("http://{local}")), "").await;
    assert_eq!(same.status, 200, "{same:?}");
    for origin in ["http://evil.test", "null", "http://localhost", "http://localhost:1", "file://", ""] {
        let reply = server.send(with(&local).header("origin", origin), "").await;
        reply.refused(403, &format!("Origin is '{origin}': allowed is http://{local} or none"));
    }
    let even_with_a_token = server.authorized("POST", &format!("{API}/apply")).header("origin", "http://evil.test");
    server.send(even_with_a_token, "{}").await.refused(403, "Origin");
}

#[tokio::test]
async fn manifests_are_taken_all_or_none_and_every_problem_is_told() {
    let server = Server::start().await;
    let good = manifest("a", "good");
    let wrong = manifest("a", "wrong").replace("storageUri: digits", "storageUri: 5");
    let idle = manifest("a", "idle").replace("predictor: {", "predictor: {minReplicas: 0, ");
    let reply = server.apply(&[good.clone(), wrong, idle.clone()].join("---\n")).await;
    reply.refused(400, "storageUri");
    let severities: Vec<_> =
        reply.body["problems"].as_array().unwrap().iter().map(|problem| &problem["severity"]).collect();
    assert_eq!(severities, ["error", "warning"], "{reply:?}");
    assert_eq!(server.get(&format!("{API}/inferenceservices")).await.body["items"], json!([]));

    let reply = server.apply(&idle).await;
    assert_eq!((reply.status, &reply.body["problems"][0]["severity"]), (200, &json!("warning")), "{reply:?}");
    let twice = json!({ "documents": [
        { "text": good, "origin": "a.yaml", "base": "/m" }, { "text": good, "origin": "b.yaml", "base": "/m" },
    ]});
    let reply = server.post(&format!("{API}/apply"), twice).await;
    reply.refused(400, "claimed twice");
    server.apply(&manifest("a", "full")).await.refused(503, "the disk is full");
}

#[tokio::test]
async fn bodies_are_judged_and_bounded() {
    let server = Server::start().await;
    let path = format!("{API}/apply");
    let document = |base: &str| json!({ "documents": [{ "text": manifest("a", "b"), "origin": "x", "base": base }] });
    server.post(&path, json!({ "documents": [] })).await.refused(400, "documents is empty");
    server.post(&path, document("models")).await.refused(400, "base of x is 'models': give an absolute path");
    server.post(&path, json!({ "documents": [], "more": 1 })).await.refused(400, "more");
    server.send(server.authorized("POST", &path), "not json").await.refused(400, "not the JSON");
    server.send(server.authorized("POST", &path), vec![b' '; (4 << 20) + 1]).await.refused(413, "4194304");
    // Announced and never sent.
    let slow = async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-length: 9\r\n\r\n{{",
            server.token
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = vec![0; 64];
        let read = stream.read(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[..read]).into_owned()
    };
    let answer = tokio::time::timeout(PATIENCE, slow).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn rollouts_reach_the_platform_and_its_refusals_come_back() {
    let server = Server::start().await;
    server.apply(&[manifest("a", "one"), manifest("files", "one")].join("---\n")).await;
    let one = format!("{API}/namespaces/a/inferenceservices/one");
    let path = format!("{one}/rollout");
    for body in [
        json!({ "action": "promote" }),
        json!({ "action": "rollback", "writeBack": true }),
        json!({ "action": "set", "percent": 20, "canary": "fast" }),
    ] {
        let reply = server.post(&path, body).await;
        assert_eq!((reply.status, &reply.body["change"]), (200, &json!("configured")), "{reply:?}");
    }
    let events = server.get(&format!("{one}?view=full")).await.body["events"].clone();
    let asked: Vec<_> = events.as_array().unwrap().iter().map(|event| event["message"].as_str().unwrap()).collect();
    assert_eq!(asked, ["Promote { canary: None }", "Rollback", "Set { percent: 20, canary: Some(\"fast\") }"]);

    server.post(&path, json!({ "action": "promote", "canary": "x" })).await.refused(400, "there is no canary 'x'");
    server.post(&path, json!({ "action": "set", "percent": 101 })).await.refused(400, "percent is 101");
    server.post(&path, json!({ "action": "set" })).await.refused(400, "percent");
    server.post(&path, json!({ "action": "jump" })).await.refused(400, "jump");
    let missing = format!("{API}/namespaces/a/inferenceservices/two/rollout");
    server.post(&missing, json!({ "action": "rollback" })).await.refused(404, "a/two");
    let owned = format!("{API}/namespaces/files/inferenceservices/one/rollout");
    server.post(&owned, json!({ "action": "rollback" })).await.refused(409, "m/files.yaml");
    assert_eq!(server.post(&owned, json!({ "action": "rollback", "writeBack": true })).await.status, 200);
}
