//! Weirgate behind Weirgate: as somebody else's server in every protocol, and as a replica in a process of its own.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Request;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;
use weirgate_protocol::{Call, Head, InferRequest, ModelSpec, Priority, Protocol, Target, UpstreamUrl};
use weirgate_replicas::remote::describe::describe;
use weirgate_replicas::remote::{
    Address, FaultKind, OutBody, Transport, TransportConfig, WatchConfig, WatchEvent, watch,
};
use weirgate_replicas::{Described, Job, Parts, Remote};
use weirgate_tests::environment::{binary, onnxruntime};
use weirgate_tests::process::{self, Folder};
use weirgate_tests::{Server, Service, row, values, within};

const PATIENCE: Duration = Duration::from_secs(30);

fn remote(config: TransportConfig, ours: bool) -> Arc<Remote> {
    Remote::new(1, "the other".into(), Transport::new(config).unwrap(), ours, 1)
}

fn job(model: &str, spec: &Arc<ModelSpec>, mut request: InferRequest) -> (Job, Parts) {
    let (work, payload) = spec.bind(&mut request, false).unwrap();
    let now = Instant::now();
    let head = Head {
        request_id: "1".into(),
        traceparent: None,
        protocol: Protocol::V2Http,
        arrived: now,
        identity: None,
        priority: Priority::default(),
    };
    let target = Target { namespace: "default".into(), service: model.into(), model: model.into() };
    Job::new(Call { head, target, deadline: now + PATIENCE, work, payload }, now)
}

/// Each of these rows as a call of its own, executed as one batch: the first output of each.
async fn batch(remote: &Arc<Remote>, model: &str, given: &[[f32; 2]]) -> Vec<Vec<f32>> {
    let spec = remote.described().model.as_ref().unwrap().newest().clone();
    let (jobs, callers): (Vec<Job>, Vec<Parts>) = given.iter().map(|given| job(model, &spec, row(given))).unzip();
    let executed = within("a batch", remote.execute(jobs)).await;
    assert!(executed.unanswered.is_empty(), "{:?}", executed.unanswered);
    executed.finished.into_iter().for_each(|finished| finished.deliver());
    let mut answers = Vec::new();
    for mut caller in callers {
        answers.push(values(&caller.next().await.unwrap().unwrap().outputs[0]));
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weirgate_elsewhere_is_described_and_called_in_every_protocol_it_speaks() {
    let server = Server::start([Service::sum(1)]).await;
    let url = |scheme: &str| UpstreamUrl::parse(&format!("{scheme}://{}", server.data)).unwrap();
    let rows = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]];
    let expected = rows.map(|row| row.map(|value| value + 1.0).to_vec());
    let only = |described: &Described, v2: bool, binary: bool, grpc: bool, v1: bool| Described {
        v1,
        v2,
        binary,
        grpc,
        ..described.clone()
    };
    for scheme in ["http", "h2c", "grpc"] {
        let remote = remote(TransportConfig::new(Address::Url(url(scheme))), false);
        let found = describe(&remote.link, "sum", None, PATIENCE).await.unwrap();
        assert_eq!((found.v2, found.v1, found.grpc), (scheme != "grpc", scheme != "grpc", scheme != "http"));
        assert_eq!(found.binary, found.v2);
        remote.describe(found.clone());
        assert_eq!(batch(&remote, "sum", &rows).await, expected, "{scheme}");
        if scheme == "h2c" {
            for (v2, grpc, v1) in [(true, false, false), (false, true, false), (false, false, true)] {
                remote.describe(only(&found, v2, false, grpc, v1));
                assert_eq!(batch(&remote, "sum", &rows).await, expected, "{v2} {grpc} {v1}");
            }
        }
    }
    let remote = remote(TransportConfig::new(Address::Url(url("http"))), false);
    let error = describe(&remote.link, "another", None, PATIENCE).await.unwrap_err();
    assert!(error.contains("model 'another' is not ready: ") && error.contains("404"), "{error}");
}

/// A running `weirgate replica`; killed when dropped.
struct Replica {
    child: Child,
    stdin: Option<ChildStdin>,
    socket: PathBuf,
    _folder: Folder,
}

impl Replica {
    fn start(service: &Service, flags: &[&str]) -> Replica {
        let folder = Folder::new();
        let socket = folder.path().join("socket");
        let mut child = Command::new(binary())
            .args(["replica", "-f", "-", "--stop-at-eof", "--listen"])
            .arg(format!("unix:{}", socket.display()))
            .args(flags)
            // The gateway's own settings are none of its.
            .envs([("WEIRGATE_MAX_BODY", "nonsense"), ("WEIRGATE_LISTEN", "nonsense")])
            .env("ORT_DYLIB_PATH", onnxruntime())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(format!("{}...\n", service.yaml()).as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, format!("data  unix:{}\n", socket.display()));
        Replica { child, stdin: Some(stdin), socket, _folder: folder }
    }

    fn remote(&self) -> Arc<Remote> {
        remote(TransportConfig::ours(self.socket.clone()), true)
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Watched {
    events: UnboundedReceiver<WatchEvent>,
    _tasks: JoinSet<()>,
}

impl Watched {
    fn new(remote: &Arc<Remote>, model: &str) -> Watched {
        let (tell, events) = unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(watch(remote.clone(), WatchConfig::new(model), move |event| {
            let _ = tell.send(event);
        }));
        Watched { events, _tasks: tasks }
    }

    async fn sees(&mut self, what: &str, wanted: impl Fn(&WatchEvent) -> bool) -> WatchEvent {
        loop {
            let event = within(what, self.events.recv()).await.unwrap();
            if wanted(&event) {
                return event;
            }
        }
    }

    async fn ready(&mut self) {
        self.sees("a replica to be ready", |event| matches!(event, WatchEvent::Ready(_))).await;
    }
}

fn infer(model: &str) -> Request<OutBody> {
    let body = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}"#;
    let request = Request::post(format!("/v2/models/{model}/infer")).header("x-weirgate-revision", "of-the-gateway");
    request.body(OutBody::Whole(body.into())).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_grants_credits_answers_calls_and_drains() {
    let mut replica = Replica::start(&Service::new("slow").max_batch(4), &[]);
    let remote = replica.remote();
    let mut watched = Watched::new(&remote, "slow");
    watched.ready().await;
    assert_eq!(remote.slots(), 8, "one batch of four runs, one waits");
    // A second gateway has its half of them.
    let other = replica.remote();
    let mut second = Watched::new(&other, "slow");
    second.ready().await;
    watched.sees("its half", |event| *event == WatchEvent::Slots(4)).await;
    assert_eq!(other.slots(), 4);
    drop(second);
    watched.sees("all of it again", |event| *event == WatchEvent::Slots(8)).await;

    let answer = within("a call", remote.link.send(infer("slow"))).await.unwrap();
    assert_eq!(answer.status(), 200);
    drop(answer);
    let answers = batch(&remote, "slow", &[[1.0, 2.0], [3.0, 4.0]]).await;
    assert_eq!(answers.len(), 2);

    // A call that runs when it is told to stop is answered; one that comes later was not executed.
    let running = remote.clone();
    let mut calls = JoinSet::new();
    calls.spawn(async move { running.link.send(infer("slow")).await.map(|answer| answer.status()) });
    tokio::time::sleep(Duration::from_millis(20)).await;
    process::signal(replica.child.id(), "TERM");
    watched.sees("a replica to drain", |event| *event == WatchEvent::Draining).await;
    let refused = within("a refusal", remote.link.send(infer("slow"))).await;
    let fault = refused.err().expect("it drains");
    assert!(fault.not_executed(), "{fault:?}");
    assert_eq!(within("the call that ran", calls.join_next()).await.unwrap().unwrap().unwrap(), 200);
    assert_eq!(process::wait(&mut replica.child).code(), Some(0));
    assert!(!replica.socket.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_and_a_failed_model_say_that_nothing_was_executed() {
    let replica = Replica::start(&Service::new("slow").max_queued(1).max_batch(1), &[]);
    let remote = replica.remote();
    Watched::new(&remote, "slow").ready().await;
    let mut calls = JoinSet::new();
    for _ in 0..12 {
        let remote = remote.clone();
        calls.spawn(async move { remote.link.send(infer("slow")).await.map(|answer| answer.status()) });
    }
    let answers = within("twelve calls", calls.join_all()).await;
    let refused: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
    assert!(!refused.is_empty() && refused.len() < 12);
    assert!(refused.iter().all(|fault| fault.kind == FaultKind::NotExecuted), "{refused:?}");
    assert!(answers.iter().flatten().all(|status| *status == 200));

    let broken = Replica::start(&Service::new("broken"), &[]);
    let remote = broken.remote();
    let mut watched = Watched::new(&remote, "broken");
    let failed =
        watched.sees("the reason", |event| matches!(event, WatchEvent::Failed(text) if !text.contains("loads")));
    let WatchEvent::Failed(reason) = failed.await else { unreachable!() };
    assert!(!reason.is_empty());
    let fault = within("a refusal", remote.link.send(infer("broken"))).await.err().unwrap();
    assert_eq!(fault.kind, FaultKind::NotExecuted);
    assert_eq!(remote.slots(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_goes_when_whoever_started_it_is_gone() {
    let mut replica = Replica::start(&Service::sum(1), &[]);
    let remote = replica.remote();
    Watched::new(&remote, "sum").ready().await;
    assert!(replica.child.try_wait().unwrap().is_none());
    drop(replica.stdin.take());
    assert_eq!(process::wait(&mut replica.child).code(), Some(0));
}

#[test]
fn what_a_replica_can_not_run_is_told_at_once() {
    let folder = Folder::new();
    let listen = format!("unix:{}", folder.path().join("socket").display());
    let run = |yaml: &str, listen: &str| {
        let manifest = folder.file("a.yaml", yaml);
        let output = process::run(Command::new(binary()).args(["replica", "--listen", listen, "-f"]).arg(manifest));
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let two = format!("{}---\n{}", Service::sum(1).yaml(), Service::new("slow").yaml());
    for (yaml, why) in [
        (two, "holds 2 InferenceServices: weirgate replica runs the model of one service"),
        (Service::from("a", "https://example.com/a.onnx").yaml(), "storageUri is a URL, which a gateway fetches"),
        ("kind: nonsense".to_owned(), "kind"),
    ] {
        let (code, stderr) = run(&yaml, &listen);
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains(why), "{stderr}");
    }
    let (code, stderr) = run(&Service::sum(1).yaml(), "unix:");
    assert_eq!(code, Some(2));
    assert!(stderr.contains("names no socket"), "{stderr}");
}
