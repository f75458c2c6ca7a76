//! What the engine makes of few connections for many requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use weirgate_loadtest::client::{Client, Counts};
use weirgate_loadtest::engine::{Begin, Engine, Load, Observer, Setup, Span, Stop, Until, Warmup};
use weirgate_loadtest::request::{Protocol, Request};
use weirgate_loadtest::result::{Run, Window, WorkloadSummary};
use weirgate_loadtest::workload::Workload;

use crate::server;

/// What the server allows on a connection.
const STREAMS: usize = 8;

struct Nobody;

impl Observer for Nobody {
    fn begins(&mut self, _: &Begin<'_>) {}
    fn window(&mut self, _: &Window, _: Option<f64>) {}
    fn ends(&mut self, _: &Run) {}
}

/// Answers each call after a while.
async fn serve(stream: TcpStream) {
    let mut server = h2::server::Builder::new();
    let mut connection =
        server.max_concurrent_streams(STREAMS as u32).handshake::<_, bytes::Bytes>(stream).await.unwrap();
    let mut answers = JoinSet::new();
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        answers.spawn(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let mut response = http::Response::new(());
            response.headers_mut().insert("grpc-status", http::HeaderValue::from_static("0"));
            respond.send_response(response, true).unwrap();
        });
    }
}

/// Two requests of each caller, from as many threads; and what connections there were.
fn run(callers: usize, threads: usize, connections: Option<usize>) -> (Run, Counts) {
    server::run(async {
        let (address, _server) = server::listen(|_, stream| serve(stream)).await;
        let load = move || load(address, callers, threads, connections);
        tokio::task::spawn_blocking(load).await.unwrap()
    })
}

fn load(address: SocketAddr, callers: usize, threads: usize, connections: Option<usize>) -> (Run, Counts) {
    let request = Request::new(Protocol::Grpc, "/x", "");
    let summary = WorkloadSummary {
        protocol: Protocol::Grpc,
        model: None,
        what: "one request".to_owned(),
        streams: false,
        distinct_requests: 1,
        mean_bytes: 0.0,
    };
    let setup = Setup {
        client: Client::plain(address).unwrap(),
        workload: Arc::new(Workload::of(summary, vec![request]).unwrap()),
        threads,
        most_in_flight: callers,
        connections,
        timeout: Duration::from_secs(20),
        slo: None,
        stop: Stop::default(),
    };
    let client = setup.client.clone();
    let load = Load::Closed { callers, think: Duration::ZERO };
    let requests = 2 * callers as u64;
    let span = Span { warmup: Warmup::For(Duration::ZERO), until: Until::Requests(requests) };
    let mut engine = Engine::start(setup).unwrap();
    let run = engine.run(&load, &span, None, &mut Nobody).unwrap();
    assert_eq!(run.outcomes.ok, requests, "{:?}", run.outcomes);
    (run, client.take_counts())
}

#[test]
fn waiting_for_a_stream_is_the_load_testers_limit_and_told() {
    let told = |run: &Run| run.limits.reached.iter().any(|limit| limit.ends_with("raise --connections 1"));
    let (many, _) = run(STREAMS + 5, 1, Some(1));
    assert!(told(&many), "{:?}", many.limits);
    let (few, _) = run(STREAMS, 1, Some(1));
    assert!(!told(&few), "{:?}", few.limits);
}

#[test]
fn no_more_connections_than_were_given_whatever_the_threads() {
    for (threads, connections, expected) in [(3, Some(1), 1), (2, Some(3), 3), (2, None, 2)] {
        let (run, counts) = run(6, threads, connections);
        assert_eq!((run.limits.connections, counts.most_open), (expected, expected), "{threads} {connections:?}");
        assert_eq!(run.limits.threads, threads.min(expected));
    }
}
