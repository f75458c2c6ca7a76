//! Replicas in processes of their own: a user's server from the YAML that Kubernetes would run as a container, and engines
//! of ours whose crash takes nothing else down.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::Method;
use http_body_util::Full;
use serde_json::json;
use tokio::task::JoinSet;
use weirgate_tests::environment::python;
use weirgate_tests::http::post;
use weirgate_tests::process::{Folder, children_of, signal};
use weirgate_tests::{Http1, Reply, Server, Service, eventually, row, values};

/// Answers V1 for model `m` with its process and what `SAYS` holds. Writes its number down, and ignores SIGTERM if asked to.
const SERVER: &str = r#"
import http.server, json, os, signal, sys
import time
if "--stubborn" in sys.argv: signal.signal(signal.SIGTERM, signal.SIG_IGN)
def leave(*_):
    time.sleep(float(os.environ["LEAVES_IN"]))
    open(os.environ["LEFT"], "w").close()
    os._exit(0)
if "LEAVES_IN" in os.environ: signal.signal(signal.SIGTERM, leave)
time.sleep(float(os.environ.get("LOADS", "0")))
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
        if "RUNS" in os.environ: open(os.environ["RUNS"], "w").close(); time.sleep(1)
        self.answer(200, {"predictions": [os.getpid(), os.environ.get("SAYS", "")]})
    def log_message(self, *_): pass
print("listening on", os.environ["PORT"], flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

fn container(arguments: &[&str], variables: &[(&str, &str)]) -> serde_json::Value {
    let env: Vec<_> = variables.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
    json!([{
        "name": "kserve-container",
        "command": [python().display().to_string(), "-c", SERVER],
        "args": arguments,
        "env": env,
    }])
}

fn service(arguments: &[&str], says: &str) -> Service {
    with(arguments, &[("SAYS", says)])
}

fn with(arguments: &[&str], variables: &[(&str, &str)]) -> Service {
    Service::passed("m").field("containers", container(arguments, variables))
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
    for told in ["created", "unchanged"] {
        let applied = server.cli_with_input(&["apply", "-f", "-"], &yaml).await;
        let applied = String::from_utf8_lossy(&applied.stdout);
        assert!(applied.contains(told), "{applied}");
    }
    let applied = server.cli_with_input(&["apply", "-f", "-"], &yaml).await;
    let warned = String::from_utf8_lossy(&applied.stderr).into_owned();
    assert!(
        warned.starts_with("unsupported: inferenceservice default/m: spec.predictor.containers is not run"),
        "{warned}"
    );
    let condition = server.condition("m", "Ready").await;
    assert_eq!(condition["status"], "False", "{condition}");
    let said = condition["message"].as_str().unwrap();
    assert!(warned.contains(said), "what apply says is what is said of it later: {said}");
    assert!(condition["message"].as_str().unwrap().contains("--allow-commands all"), "{condition}");
    assert_eq!(predict(&server).await.status, 503);

    let server = Server::with([]).without_files().flag("--allow-commands", "all").start().await;
    server.cli_with_input(&["apply", "-f", "-"], &yaml).await;
    eventually("it to answer", async || (predict(&server).await.status == 200).then_some(())).await;
    let object = server.object("m").await;
    let shown = &object["spec"]["predictor"]["containers"][0]["env"][0];
    assert_eq!(shown["value"], "***", "variables may be secrets: {object}");
}

/// What the owner of the token sees can be applied again; what others see can not, and has no secrets.
#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_shown_to_those_alone_who_have_the_token() {
    let arguments = ["--api-key", "hush-1", "--hf-token=hush-2", "--tokenizer=plain"];
    let probe = json!({ "httpGet": { "path": "/v1/models/m", "httpHeaders": [
        { "name": "Authorization", "value": "Bearer hush-3" }, { "name": "Accept", "value": "application/json" },
    ]}});
    let mut containers = container(&arguments, &[("SAYS", "hush-4")]);
    containers[0]["readinessProbe"] = probe;
    let service = Service::passed("m").field("containers", containers);
    let server = Server::with([]).without_files().flag("--allow-commands", "all").start().await;
    server.cli_with_input(&["apply", "-f", "-"], &service.yaml()).await;
    eventually("it to answer", async || (predict(&server).await.status == 200).then_some(())).await;
    let shows_none = |what: &str, text: &str| assert!(!text.contains("hush-"), "{what} shows secrets: {text}");
    for format in ["yaml", "json"] {
        let written = server.done(&["get", "m", "-o", format]).await;
        for secret in ["hush-1", "hush-2", "hush-3", "hush-4"] {
            assert!(written.contains(secret), "{secret}: {written}");
        }
        let again = server.cli_with_input(&["apply", "-f", "-"], &written).await;
        assert_eq!(String::from_utf8_lossy(&again.stdout), "inferenceservice.serving.kserve.io/m unchanged\n");
        let without = server.cli(&["get", "m", "-o", format, "--token-file", "/nowhere/token"]).await;
        let (shown, warned) = (String::from_utf8_lossy(&without.stdout), String::from_utf8_lossy(&without.stderr));
        shows_none("get without the token", &shown);
        assert!(shown.contains("--tokenizer=plain") && shown.contains("application/json"), "{shown}");
        assert!(warned.starts_with("warning: ") && warned.contains("/nowhere/token"), "{warned}");
        let refused = server.cli_with_input(&["apply", "-f", "-"], &shown).await;
        let refused = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.matches("in the place of a secret").count(), 4, "{refused}");
    }
    shows_none("the view", &server.view("m").await.unwrap().to_string());
    let described = server.done(&["describe", "m"]).await;
    shows_none("describe", &described);
    shows_none("the log", &server.log());
    let wrong = server.control(Method::GET, "/inferenceservices").header("authorization", "Bearer wrong");
    let reply = server.control_send(wrong.body(Full::default()).unwrap()).await;
    assert_eq!(reply.status, 403, "a wrong token is told: {reply:?}");
}

/// A server that was ready and ends is told of as long as it is down, and afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_leaves_its_trace() {
    let server = Server::start([service(&["--name", "m"], "")]).await;
    let (first, _) = answered(&server).await;
    signal(first, "KILL");
    let event = server.event("m", "ReplicaExited").await;
    assert!(event.contains("its process was killed by signal 9 (SIGKILL) after "), "{event}");
    assert!(event.ends_with("; restart 1 at once"), "{event}");
    eventually("another one to answer", async || (predict(&server).await.status == 200).then_some(())).await;
    assert_eq!(server.condition("m", "Ready").await["status"], "True");
    // The next one is not started at once: it is down for a while.
    let (second, _) = answered(&server).await;
    signal(second, "SEGV");
    let down = eventually("it to be down", async || {
        let condition = server.condition("m", "Ready").await;
        (condition["status"] == "False").then_some(condition)
    })
    .await;
    assert_eq!(down["reason"], "ReplicaExited", "{down}");
    let message = down["message"].as_str().unwrap();
    for part in ["0 of 1 replicas are ready: its process was killed by signal 11 (SIGSEGV)", "; restart 2 at 2"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let failure = &server.object("m").await["status"]["modelStatus"]["lastFailureInfo"];
    assert_eq!((&failure["reason"], &failure["exitCode"]), (&json!("RuntimeUnhealthy"), &json!(139)), "{failure}");
    eventually("a third one to answer", async || (predict(&server).await.status == 200).then_some(())).await;
    let described = server.done(&["describe", "m"]).await;
    let line = described.lines().find(|line| line.contains("ReplicaExited")).unwrap();
    assert!(line.contains("(x2 over ") && line.contains("SIGSEGV"), "once, with its count: {described}");
    let revision = described.lines().find(|line| line.contains("stable,latest")).unwrap();
    let cells: Vec<_> = revision.split_whitespace().collect();
    assert!(cells.windows(2).any(|cells| cells == ["1/1", "2"]), "its replicas and restarts: {described}");
    assert!(revision.contains(" -c import http.server, json,") && revision.contains('…'), "its command: {described}");
    let status = &server.object("m").await["status"]["revisions"][0];
    let counted = ["ready", "starting", "waiting", "draining", "restarts"].map(|field| status[field].as_u64().unwrap());
    assert_eq!(counted, [1, 0, 0, 0, 2], "{status}");
    let metrics = server.metrics().await;
    assert_eq!(metrics.sum("weirgate_revision_restarts_total", &[("service", "m")]), 2.0);
    assert_eq!(metrics.sum("weirgate_revision_replicas", &[("service", "m"), ("state", "ready")]), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_on_another_port_is_told_of_soon_and_once() {
    let service = service(&[], "");
    let yaml = service.yaml().replace("int(os.environ[\\\"PORT\\\"])", "0");
    assert_ne!(yaml, service.yaml(), "it listens on any port: {yaml}");
    let server = Server::with([]).at_once().start().await;
    std::fs::write(server.file(&service), yaml).unwrap();
    let event = server.event("m", "ReplicaNotReady").await;
    for part in ["told PORT=", "connection refused, for ", "; the process is still running and listens on "] {
        assert!(event.contains(part), "{part}: {event}");
    }
    assert_eq!(event.matches("connection refused").count(), 1, "{event}");
    let condition = server.condition("m", "Ready").await;
    assert_eq!(condition["reason"], "ReplicaNotReady", "{condition}");
    let events = || async {
        let view = server.view("m").await.unwrap();
        let events = view["events"].as_array().unwrap().clone();
        events.into_iter().filter(|event| event["reason"] == "ReplicaNotReady").collect::<Vec<_>>()
    };
    let again = async || events().await.into_iter().find(|event| event["count"].as_u64() >= Some(2));
    eventually("it to be told again", again).await;
    assert_eq!(events().await.len(), 1, "in the same place");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_stops_leaves_no_sockets_behind() {
    let mut server = Server::start([isolated(Service::sum(1))]).await;
    assert_eq!(sum(&server, "sum").await, Some(vec![4.0]));
    let (handover, run) = (server.state().join("handover.sock"), server.state().join("run"));
    assert!(handover.exists() && run.exists());
    assert!(server.stop().await.success());
    assert!(
        !handover.exists() && !run.exists(),
        "{:?}",
        std::fs::read_dir(server.state()).unwrap().collect::<Vec<_>>()
    );
    assert!(!server.log().contains("can't be told"), "{}", server.log());
    server.restart().await;
    assert_eq!(sum(&server, "sum").await, Some(vec![4.0]));
}

/// The answer of an engine of ours, unless there is none.
async fn sum(server: &Server, model: &str) -> Option<Vec<f32>> {
    let reply = Http1::connect(server.data).await.infer(model, &row(&[3.0])).await;
    (reply.status == 200).then(|| values(&reply.response().outputs[0]))
}

fn isolated(service: Service) -> Service {
    service.annotation("weirgate.dev/isolation", "process")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_an_isolated_engine_takes_nothing_else_down() {
    let mut server = Server::start([isolated(Service::sum(1)), Service::new("add_2")]).await;
    assert_eq!(sum(&server, "sum").await, Some(vec![4.0]));
    let socket = format!("unix:{}", server.state().join("run").display());
    assert!(!processes(&socket).is_empty(), "a replica of ours listens at a socket in the state folder");
    let guards = children_of(server.pid());
    let engines: Vec<_> = guards.iter().flat_map(|guard| children_of(*guard)).collect();
    assert_eq!((guards.len(), engines.len()), (1, 1));
    signal(engines[0], "KILL");
    let mut failed = 0;
    for _ in 0..5 {
        assert_eq!(sum(&server, "add-2").await, Some(vec![5.0]));
        failed += usize::from(sum(&server, "sum").await.is_none());
    }
    assert!(failed <= 1, "{failed} calls failed, one after the other: those that come later wait for the next engine");
    assert_eq!(sum(&server, "sum").await, Some(vec![4.0]));
    dead(engines[0]).await;
    assert!(server.is_running());
    let left = processes(&socket);
    server.kill().await;
    for pid in left {
        dead(pid).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn isolated_services_share_a_folder_and_take_nothing_from_each_other() {
    let add_2 = || isolated(Service::new("add_2"));
    let server = Server::start([isolated(Service::sum(1)), add_2()]).await;
    let files = || {
        let folders = std::fs::read_dir(server.state().join("run")).unwrap().flatten();
        folders.flat_map(|folder| std::fs::read_dir(folder.path()).unwrap().flatten()).count()
    };
    let before = files();
    // Another revision, which starts first, and one more replica.
    server.write(&isolated(Service::sum(1)).replicas(2));
    server.write(&add_2().max_batch(3));
    eventually("the replaced ones to be gone", async || (children_of(server.pid()).len() == 3).then_some(())).await;
    for _ in 0..10 {
        assert_eq!(sum(&server, "sum").await, Some(vec![4.0]));
        assert_eq!(sum(&server, "add-2").await, Some(vec![5.0]));
    }
    eventually("a socket and a manifest for one more", async || (files() == before + 2).then_some(())).await;
    assert!(!server.log().contains("can't be written"), "{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_all_processes_are_told_to_end_by_cuts_no_call() {
    let folder = Folder::new();
    let runs = folder.path().join("runs");
    let mut server = Server::start([with(&[], &[("RUNS", runs.to_str().unwrap())])]).await;
    let address = server.data;
    let mut call = JoinSet::new();
    call.spawn(async move {
        Http1::connect(address).await.send(post("/v1/models/m:predict", r#"{"instances": [1]}"#)).await
    });
    eventually("the call to run", async || runs.exists().then_some(())).await;
    children_of(server.pid()).into_iter().for_each(|guard| signal(guard, "TERM"));
    assert!(server.stop().await.success());
    assert_eq!(call.join_next().await.unwrap().unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_stops_gives_a_server_its_grace_period() {
    let folder = Folder::new();
    let left = folder.path().join("left");
    let slow = with(&[], &[("LEAVES_IN", "12"), ("LEFT", left.to_str().unwrap())]);
    let mut server = Server::start([slow.field("terminationGracePeriodSeconds", 40)]).await;
    answered(&server).await;
    assert!(server.stop().await.success(), "{}", server.log());
    assert!(left.exists(), "it ended by itself");
}

/// What its clients got before they get after.
#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_waits_for_a_canary_that_loads_for_long() {
    let mut server = Server::start([service(&[], "old")]).await;
    let canary = with(&[], &[("SAYS", "new"), ("LOADS", "4")]).canary_percent(50);
    server.write(&canary);
    eventually("the canary to answer", async || (answered(&server).await.1 == "new").then_some(())).await;
    server.take_over().await;
    let mut said = Vec::new();
    for _ in 0..10 {
        said.push(answered(&server).await.1);
    }
    assert!(said.iter().any(|said| said == "new") && said.iter().any(|said| said == "old"), "{said:?}");
}
