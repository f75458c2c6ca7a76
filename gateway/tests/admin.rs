//! The control API over a real listener, and the commands against it. The platform behind it is a small one that only
//! remembers.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command as Process, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use weirgate::admin::{Access, control_router};
use weirgate::server::{Listener, ListenerConfig};
use weirgate_deploy::control::{
    Applied, Change, Command, Event, Named, Owner, Refused, RevisionView, Rollout, ServiceView,
};
use weirgate_deploy::{Control, StateFolder};

const API: &str = "/apis/serving.kserve.io/v1beta1";
const PATIENCE: Duration = Duration::from_secs(30);
const CLIENT_TIMEOUT: Duration = Duration::from_millis(500);

/// A server of the control API, and its state folder.
struct Server {
    address: SocketAddr,
    folder: PathBuf,
    token: String,
    _state: StateFolder,
    _tasks: JoinSet<()>,
    _close: watch::Sender<bool>,
}

impl Server {
    async fn start() -> Server {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("weirgate-admin-{}-{next}", std::process::id()));
        let state = StateFolder::open(&folder).unwrap();
        let token = state.token().unwrap();
        let (commands, asked) = mpsc::channel(8);
        let (publish, views) = watch::channel(Arc::default());
        let config =
            ListenerConfig { max_connections: 16.try_into().unwrap(), client_timeout: Duration::from_secs(30) };
        let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), config).await.unwrap();
        let address = listener.address().unwrap();
        let secret = token.secret().to_owned();
        let access = Access::new(token, address, vec!["weirgate.test".to_owned()]);
        let router = control_router(Control::new(commands, views), access, CLIENT_TIMEOUT);
        let (close, closes) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(remember(asked, publish));
        tasks.spawn(async move {
            listener.serve(router, closes, Duration::ZERO).await;
        });
        Server { address, folder, token: secret, _state: state, _tasks: tasks, _close: close }
    }

    fn request(&self, method: &str, path: &str) -> http::request::Builder {
        http::Request::builder().method(method).uri(path).header("host", self.address.to_string())
    }

    fn authorized(&self, method: &str, path: &str) -> http::request::Builder {
        self.request(method, path).header("authorization", format!("Bearer {}", self.token))
    }

    async fn send(&self, request: http::request::Builder, body: impl Into<Bytes>) -> Reply {
        let request = request.body(Full::new(body.into())).unwrap();
        let exchange = async {
            let stream = TcpStream::connect(self.address).await.unwrap();
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
            let mut driver = JoinSet::new();
            driver.spawn(async move {
                let _ = connection.await;
            });
            let (head, body) = sender.send_request(request).await.unwrap().into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            Reply { status: head.status.as_u16(), headers: head.headers, body: serde_json::from_slice(&body).unwrap() }
        };
        tokio::time::timeout(PATIENCE, exchange).await.unwrap()
    }

    async fn get(&self, path: &str) -> Reply {
        self.send(self.request("GET", path), "").await
    }

    async fn post(&self, path: &str, body: Value) -> Reply {
        self.send(self.authorized("POST", path), body.to_string()).await
    }

    async fn apply(&self, text: &str) -> Reply {
        let document = json!({ "text": text, "origin": "a.yaml", "base": "/models" });
        self.post(&format!("{API}/apply"), json!({ "documents": [document] })).await
    }

    /// Runs a command against this server.
    async fn weirgate(&self, arguments: &[&str]) -> Output {
        let mut process = Process::new(env!("CARGO_BIN_EXE_weirgate"));
        process
            .args(arguments)
            .env("WEIRGATE_ADMIN", self.address.to_string())
            .env("WEIRGATE_STATE", &self.folder)
            .stdin(Stdio::null());
        let run = tokio::task::spawn_blocking(move || process.output().unwrap());
        tokio::time::timeout(PATIENCE, run).await.unwrap().unwrap()
    }

    /// Standard output of a command that must end with this code.
    async fn prints(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.weirgate(arguments).await;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Standard error of a command that must end with this code and print nothing.
    async fn says(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.weirgate(arguments).await;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[derive(Debug)]
struct Reply {
    status: u16,
    headers: http::HeaderMap,
    body: Value,
}

impl Reply {
    fn refused(&self, status: u16, text: &str) {
        let error = self.body["error"].as_str().unwrap_or_default();
        assert!(self.status == status && error.contains(text), "wanted {status} and '{text}': {self:?}");
    }
}

/// Answers as a platform does, for services that are ready at once. A file owns those in the namespace `files`.
async fn remember(mut asked: mpsc::Receiver<Command>, publish: watch::Sender<Arc<Vec<Arc<ServiceView>>>>) {
    let mut known: BTreeMap<Named, ServiceView> = BTreeMap::new();
    let owned = |named: &Named, write_back: bool| {
        let owned = named.namespace == "files" && !write_back;
        owned.then(|| Refused::Owned("the file m/files.yaml owns it: change that, or use --write-back".to_owned()))
    };
    while let Some(command) = asked.recv().await {
        // What an answer says is seen by whoever asks next.
        let show = |known: &BTreeMap<Named, ServiceView>| {
            publish.send_replace(Arc::new(known.values().cloned().map(Arc::new).collect()));
        };
        match command {
            Command::Apply(services, answer) => {
                let mut applied = Vec::new();
                for service in services {
                    let object = serde_json::to_value(&service.service).unwrap();
                    let metadata = &service.service.metadata;
                    let named = Named { namespace: metadata.namespace().to_owned(), name: metadata.name.clone() };
                    let view = view(&named, object);
                    let change = match known.insert(named.clone(), view.clone()) {
                        None => Change::Created,
                        Some(before) if before == view => Change::Unchanged,
                        Some(_) => Change::Configured,
                    };
                    applied.push(Applied { named, change });
                }
                show(&known);
                let full = applied.iter().any(|applied| applied.named.name == "full");
                let full = full.then(|| Refused::NotStored("the disk is full".to_owned()));
                let _ = answer.send(full.map_or(Ok(applied), Err));
            }
            Command::Delete(named, answer) => {
                let refused = owned(&named, false);
                let removed = if refused.is_none() { known.remove(&named) } else { None };
                show(&known);
                let result = removed.map(|_| ()).ok_or(Refused::NotFound(named.to_string()));
                let _ = answer.send(refused.map_or(result, Err));
            }
            Command::Rollout { named, rollout, write_back, answer } => {
                let result = match (known.get_mut(&named), owned(&named, write_back)) {
                    (None, _) => Err(Refused::NotFound(named.to_string())),
                    (_, Some(refused)) => Err(refused),
                    (Some(view), None) => {
                        let event = |message| Event {
                            time: "2026-01-01T00:00:00Z".to_owned(),
                            kind: "Normal".to_owned(),
                            reason: "Asked".to_owned(),
                            message,
                        };
                        view.events.push(event(format!("{rollout:?}")));
                        match rollout {
                            Rollout::Promote { canary: Some(canary) } => {
                                Err(Refused::Invalid(format!("there is no canary '{canary}'")))
                            }
                            _ => Ok(Applied { named, change: Change::Configured }),
                        }
                    }
                };
                show(&known);
                let _ = answer.send(result);
            }
        }
    }
}

/// A service that is ready; one named `broken` has failed.
fn view(named: &Named, mut object: Value) -> ServiceView {
    let failed = named.name == "broken";
    let revision = format!("{}-predictor-1", named.name);
    object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    object["status"] = json!({
        "url": format!("http://{}-{}.example.com", named.name, named.namespace),
        "conditions": [{ "type": "Ready", "status": if failed { "False" } else { "True" } }],
        "components": { "predictor": {
            "latestCreatedRevision": revision, "latestReadyRevision": revision,
            "traffic": [{ "latestRevision": true, "percent": 100 }],
        }},
    });
    ServiceView {
        named: named.clone(),
        owner: Owner::State,
        object,
        revisions: vec![RevisionView {
            name: revision,
            variant: None,
            roles: vec!["latest".to_owned()],
            percent: 100,
            state: if failed { "Failed" } else { "Ready" }.to_owned(),
            message: failed.then(|| "the file is no model".to_owned()),
            ready_replicas: 1,
            replicas: 1,
            storage_uri: "file:///models/digits".to_owned(),
            created: "2026-01-01T00:00:00Z".to_owned(),
        }],
        events: Vec::new(),
    }
}

fn manifest(namespace: &str, name: &str) -> String {
    format!(
        "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\n\
         metadata: {{name: {name}, namespace: {namespace}}}\n\
         spec: {{predictor: {{model: {{modelFormat: {{name: onnx}}, storageUri: digits}}}}}}\n"
    )
}

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
    for host in ["localhost", "LOCALHOST.", "127.0.0.1", "127.9.9.9", "[::1]", "weirgate.test", "Weirgate.Test"] {
        assert_eq!(server.send(with(&own(host)), "").await.status, 200, "{host}");
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
