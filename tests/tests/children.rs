//! Replicas in processes of their own: a user's server from the YAML that Kubernetes would run as a container, and engines
//! of ours whose crash takes nothing else down.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use tokio::task::JoinSet;
use weirgate_tests::environment::python;
use weirgate_tests::http::post;
use weirgate_tests::process::signal;
use weirgate_tests::{Http1, Reply, Server, Service, eventually, row, values};

/// Answers V1 for model `m` with its process and what `SAYS` holds. Writes its number down, and ignores SIGTERM if asked to.
const SERVER: &str = r#"
import http.server, json, os, signal, sys
if "--stubborn" in sys.argv: signal.signal(signal.SIGTERM, signal.SIG_IGN)
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        known = self.path == "/v1/models/m"
        self.answer(200 if known else 404, {"name": "m", "ready": True} if known else {"error": "no"})
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.answer(200, {"predictions": [os.getpid(), os.environ.get("SAYS", "")]})
    def log_message(self, *_): pass
print("listening on", os.environ["PORT"], flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

fn container(arguments: &[&str], says: &str) -> serde_json::Value {
    json!([{
        "name": "kserve-container",
        "command": [python().display().to_string(), "-c", SERVER],
        "args": arguments,
        "env": [{ "name": "SAYS", "value": says }],
    }])
}

fn service(arguments: &[&str], says: &str) -> Service {
    Service::passed("m").field("containers", container(arguments, says))
}

/// A call, answered with the process that answers and what it says.
async fn predict(server: &Server) -> Reply {
    Http1::connect(server.data).await.send(post("/v1/models/m:predict", r#"{"instances": [1]}"#)).await
}

async fn answered(server: &Server) -> (u32, String) {
    let reply = predict(server).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let answer = reply.json();
    let says = answer["predictions"][1].as_str().unwrap().to_owned();
    (answer["predictions"][0].as_u64().unwrap().try_into().unwrap(), says)
}

fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, after)| !after.trim_start().starts_with('Z'))
}

async fn dead(pid: u32) {
    eventually("the process to be dead", async || (!alive(pid)).then_some(())).await;
}

/// Processes with this in their command line.
fn processes(part: &str) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ").contains(part)
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_own_server_answers_from_yaml_and_dies_with_the_gateway() {
    let mut server = Server::start([service(&["--stubborn"], "hello")]).await;
    let (pid, says) = answered(&server).await;
    assert_eq!(says, "hello");
    assert!(server.log().contains("listening on "), "its lines are in the log");
    server.kill().await;
    dead(pid).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_is_replaced_and_calls_wait_for_that() {
    let server = Server::start([service(&[], "")]).await;
    let (first, _) = answered(&server).await;
    signal(first, "KILL");
    dead(first).await;
    let second = eventually("another one to answer", async || {
        let reply = predict(&server).await;
        (reply.status == 200).then(|| reply.json()["predictions"][0].as_u64())
    })
    .await;
    assert_ne!(second, Some(first.into()));
    assert!(server.log().contains("was killed by signal 9"), "the log says why");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_replacement_fails_no_call() {
    let server = Server::start([service(&[], "old")]).await;
    let (address, over) = (server.data, Arc::new(AtomicBool::new(false)));
    let mut callers = JoinSet::new();
    for _ in 0..2 {
        let over = over.clone();
        callers.spawn(async move {
            let mut client = Http1::connect(address).await;
            let mut answers = 0;
            while !over.load(Ordering::Relaxed) {
                let reply = client.send(post("/v1/models/m:predict", r#"{"instances": [1]}"#)).await;
                assert_eq!(reply.status, 200, "{reply:?}");
                answers += 1;
            }
            answers
        });
    }
    let (old, _) = answered(&server).await;
    server.write(&service(&[], "new"));
    eventually("the new one to answer", async || (answered(&server).await.1 == "new").then_some(())).await;
    dead(old).await;
    over.store(true, Ordering::Relaxed);
    while let Some(answers) = callers.join_next().await {
        assert!(answers.unwrap() > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_start_says_why_and_holds_nothing_up() {
    let broken = json!([{ "name": "kserve-container", "command": ["sh", "-c", "echo no luck; exit 3"] }]);
    let server = Server::with([Service::passed("m").field("containers", broken)]).at_once().start().await;
    let reply =
        eventually("calls to be told", async || Some(predict(&server).await).filter(|reply| reply.status == 503)).await;
    assert!(reply.error().contains("exited with code 3"), "{reply:?}");
    assert!(server.log().contains("no luck"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_applied_command_runs_only_where_that_is_allowed() {
    let yaml = service(&[], "").yaml();
    let server = Server::with([]).without_files().start().await;
    server.cli_with_input(&["apply", "-f", "-"], &yaml).await;
    let condition = server.condition("m", "Ready").await;
    assert_eq!(condition["status"], "False", "{condition}");
    assert!(condition["message"].as_str().unwrap().contains("--allow-commands all"), "{condition}");
    assert_eq!(predict(&server).await.status, 503);

    let server = Server::with([]).without_files().flag("--allow-commands", "all").start().await;
    server.cli_with_input(&["apply", "-f", "-"], &yaml).await;
    eventually("it to answer", async || (predict(&server).await.status == 200).then_some(())).await;
    let object = server.object("m").await;
    let shown = &object["spec"]["predictor"]["containers"][0]["env"][0];
    assert_eq!(shown["value"], "***", "variables may be secrets: {object}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_an_isolated_engine_takes_nothing_else_down() {
    let isolated = Service::sum(1).annotation("weirgate.dev/isolation", "process");
    let mut server = Server::start([isolated, Service::new("add_2")]).await;
    let ask = async |model: &str| {
        let reply = Http1::connect(server.data).await.infer(model, &row(&[3.0])).await;
        (reply.status == 200).then(|| values(&reply.response().outputs[0]))
    };
    assert_eq!(ask("sum").await, Some(vec![4.0]));
    let socket = format!("unix:{}", server.state().join("run").display());
    let found = processes(&socket);
    assert!(!found.is_empty(), "a replica of ours listens at a socket in the state folder");
    found.iter().for_each(|pid| signal(*pid, "KILL"));
    assert_eq!(ask("add-2").await, Some(vec![5.0]));
    eventually("it to answer again", async || ask("sum").await.filter(|answer| *answer == [4.0])).await;
    assert!(processes(&socket).iter().all(|pid| !found.contains(pid)));
    assert!(server.is_running());
    let left = processes(&socket);
    server.kill().await;
    for pid in left {
        dead(pid).await;
    }
}
