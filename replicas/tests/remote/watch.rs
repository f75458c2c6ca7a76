//! Servers that come, go and change.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Channel};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;
use weirgate_protocol::Datatype;
use weirgate_replicas::Remote;
use weirgate_replicas::remote::{WatchConfig, WatchEvent, watch};

use crate::model::{NOTHING, Speaks, serve, spec};
use crate::server::{Body, Server, answer};

const V2: Speaks = Speaks { v2: true, ..NOTHING };
/// No event is expected to take so long.
const LONG: Duration = Duration::from_secs(30);

struct Watched {
    events: UnboundedReceiver<WatchEvent>,
    _tasks: JoinSet<()>,
}

impl Watched {
    fn new(remote: &Arc<Remote>) -> Watched {
        let (tell, events) = unbounded_channel();
        let every = Duration::from_millis(20);
        let config = WatchConfig { every, patience: Duration::from_secs(5), ..WatchConfig::new("m") };
        let mut tasks = JoinSet::new();
        tasks.spawn(watch(remote.clone(), config, move |event| tell.send(event).unwrap()));
        Watched { events, _tasks: tasks }
    }

    async fn next(&mut self) -> WatchEvent {
        tokio::time::timeout(LONG, self.events.recv()).await.unwrap().unwrap()
    }
}

/// What the server of a test is like at the moment.
#[derive(Default)]
struct Phase(AtomicUsize);

impl Phase {
    fn now(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    fn set(&self, phase: usize) {
        self.0.store(phase, Ordering::Release);
    }
}

#[tokio::test]
async fn a_server_is_ready_when_its_model_is_and_not_before() {
    let phase = Arc::new(Phase::default());
    let is = phase.clone();
    let server = Server::start(move |request| match is.now() {
        // The port is open, and the model loads.
        0 => answer(503, r#"{"error":"loading"}"#),
        1 => serve(V2, &request),
        _ => answer(500, r#"{"error":"broken"}"#),
    });
    let server = server.await;
    let remote = server.remote("http");
    let mut watched = Watched::new(&remote);
    let WatchEvent::NotReady(reason) = watched.next().await else { panic!("it loads") };
    assert!(reason.contains("loading"), "{reason}");
    phase.set(1);
    let WatchEvent::Ready(described) = watched.next().await else { panic!("it has loaded") };
    assert_eq!(described.model.as_ref().unwrap().newest(), &spec());
    assert_eq!(remote.described(), described, "the remote knows before it is told");
    let questions = server.count("/v2/models/m/ready");
    phase.set(2);
    let WatchEvent::NotReady(reason) = watched.next().await else { panic!("it is broken") };
    assert!(reason.contains("broken"), "{reason}");
    assert!(server.count("/v2/models/m/ready") >= questions + 3, "one failed check is none");
    phase.set(1);
    // The reason from before is told by then, and nothing else.
    loop {
        match watched.next().await {
            WatchEvent::Ready(_) => break,
            event => assert!(matches!(event, WatchEvent::NotReady(_)), "{event:?}"),
        }
    }
}

#[tokio::test]
async fn one_failed_check_changes_nothing() {
    let failures = Arc::new(AtomicUsize::new(0));
    let asked = Arc::new(AtomicUsize::new(0));
    let (failed, counted) = (failures.clone(), asked.clone());
    let server = Server::start(move |request| {
        let path = request.uri().path();
        // Every third question for readiness fails.
        if path.ends_with("/ready") && counted.fetch_add(1, Ordering::Relaxed) % 3 == 2 {
            failed.fetch_add(1, Ordering::Relaxed);
            return answer(500, "");
        }
        serve(V2, &request)
    });
    let server = server.await;
    let remote = server.remote("http");
    let mut watched = Watched::new(&remote);
    assert!(matches!(watched.next().await, WatchEvent::Ready(_)));
    while failures.load(Ordering::Relaxed) < 4 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(watched.events.try_recv().is_err());
}

#[tokio::test]
async fn another_model_behind_the_same_address_is_noticed() {
    let phase = Arc::new(Phase::default());
    let is = phase.clone();
    let server = Server::start(move |request: Request<Bytes>| {
        if is.now() == 1 && request.uri().path() == "/v2/models/m" {
            let mut other = (*spec()).clone();
            other.inputs[0].datatype = Datatype::Fp32;
            return answer(200, weirgate_protocol::v2::model_metadata("m", &[] as &[&str], &other));
        }
        serve(V2, &request)
    });
    let server = server.await;
    let remote = server.remote("http");
    let mut watched = Watched::new(&remote);
    assert!(matches!(watched.next().await, WatchEvent::Ready(_)));
    phase.set(1);
    let WatchEvent::Changed(described) = watched.next().await else { panic!("it has changed") };
    assert_eq!(described.model.as_ref().unwrap().newest().inputs[0].datatype, Datatype::Fp32);
}

/// A server of ours whose credits come from a channel, one channel for each connection.
async fn granting(streams: UnboundedReceiver<Response<Body>>) -> (Server, Arc<Remote>) {
    let streams = Arc::new(parking_lot::Mutex::new(streams));
    let server = Server::start(move |request| match request.uri().path() {
        "/weirgate/v1/credits" => streams.lock().try_recv().unwrap_or_else(|_| answer(503, "")),
        _ => serve(V2, &request),
    });
    let server = server.await;
    let remote = Remote::new(1, "child 1".into(), server.transport("h2c"), true, 0);
    (server, remote)
}

#[tokio::test]
async fn a_server_of_ours_says_what_it_takes() {
    let (send_stream, streams) = unbounded_channel();
    let (mut lines, body) = Channel::<Bytes, std::convert::Infallible>::new(8);
    send_stream.send(Response::new(body.boxed_unsync())).unwrap();
    let (_server, remote) = granting(streams).await;
    let mut watched = Watched::new(&remote);
    let mut say = async |line: &str| lines.send_data(format!("{line}\n").into()).await.unwrap();
    say(r#"{"slots":0,"state":"loading"}"#).await;
    assert_eq!(watched.next().await, WatchEvent::Slots(0));
    assert_eq!(watched.next().await, WatchEvent::NotReady("it loads its model".to_owned()));
    say(r#"{"slots":8,"state":"ready"}"#).await;
    assert!(matches!(watched.next().await, WatchEvent::Ready(described) if described.v2));
    assert_eq!(remote.slots(), 8);
    say(r#"{"slots":4,"state":"ready","news":"unknown fields are for later"}"#).await;
    assert_eq!(watched.next().await, WatchEvent::Slots(4));
    assert_eq!(remote.slots(), 4);
    say(r#"{"slots":0,"state":"failed","reason":"no such file"}"#).await;
    assert_eq!(watched.next().await, WatchEvent::Slots(0));
    assert_eq!(watched.next().await, WatchEvent::Failed("no such file".to_owned()));
    say(r#"{"slots":4,"state":"ready"}"#).await;
    assert!(matches!(watched.next().await, WatchEvent::Ready(_)));
    say(r#"{"slots":0,"state":"draining"}"#).await;
    assert_eq!(watched.next().await, WatchEvent::Slots(0));
    assert_eq!(watched.next().await, WatchEvent::Draining);
}

#[tokio::test]
async fn credits_outlive_a_stream_that_is_opened_anew_but_not_one_that_is_lost() {
    let (send_stream, streams) = unbounded_channel();
    let open = || {
        let (lines, body) = Channel::<Bytes, std::convert::Infallible>::new(8);
        send_stream.send(Response::new(body.boxed_unsync())).unwrap();
        lines
    };
    let mut lines = open();
    let (_server, remote) = granting(streams).await;
    let mut watched = Watched::new(&remote);
    lines.send_data(Bytes::from_static(b"{\"slots\":8,\"state\":\"ready\"}\n")).await.unwrap();
    assert!(matches!(watched.next().await, WatchEvent::Ready(_)));
    let mut again = open();
    drop(lines);
    again.send_data(Bytes::from_static(b"{\"slots\":6,\"state\":\"ready\"}\n")).await.unwrap();
    assert_eq!(watched.next().await, WatchEvent::Slots(6), "and never 0");
    drop(again);
    assert_eq!(watched.next().await, WatchEvent::Slots(0));
    assert!(matches!(watched.next().await, WatchEvent::NotReady(reason) if reason.contains("lost")));
    assert_eq!(remote.slots(), 0);
}

#[tokio::test]
async fn a_stream_of_nonsense_grants_nothing() {
    let (send_stream, streams) = unbounded_channel();
    let endless = vec![b'x'; 64 << 10];
    for body in
        [Bytes::from_static(b"{\"slots\":-1,\"state\":\"ready\"}\n"), Bytes::from_static(b"<html>\n"), endless.into()]
    {
        send_stream.send(answer(200, body)).unwrap();
    }
    let (_server, remote) = granting(streams).await;
    let mut watched = Watched::new(&remote);
    assert_eq!(watched.next().await, WatchEvent::Slots(0));
    let mut reasons = Vec::new();
    for _ in 0..3 {
        let WatchEvent::NotReady(reason) = watched.next().await else { panic!("it grants nothing") };
        reasons.push(reason);
    }
    assert!(reasons[0].contains("can't be read") && reasons[2].contains("more than 4096 bytes"), "{reasons:?}");
    assert_eq!(remote.slots(), 0);
}
