//! Requests, loads and runs that the tests have in common.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use weirgate_loadtest::arrivals::{Arrivals, Course, Gaps};
use weirgate_loadtest::client::{Client, TlsOptions};
use weirgate_loadtest::engine::{Begin, Engine, Load, Observer, Setup, Span, Stop, Until, Warmup};
use weirgate_loadtest::request::{Protocol, Request};
use weirgate_loadtest::result::{Run, Window, WorkloadSummary};
use weirgate_loadtest::synthetic::{Behaviour, Service, Synthetic};
use weirgate_loadtest::workload::Workload;
use weirgate_protocol::tensor::raw_bytes;
use weirgate_protocol::{Datatype, InferRequest, Shape, Tensor};

pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Nobody follows these runs.
pub struct Nobody;

impl Observer for Nobody {
    fn begins(&mut self, _: &Begin<'_>) {}
    fn window(&mut self, _: &Window, _: Option<f64>) {}
    fn ends(&mut self, _: &Run) {}
}

/// One request of a protocol, to a model that any synthetic server has.
pub fn request(protocol: Protocol) -> Request {
    match protocol {
        Protocol::V1 => Request::new(protocol, "/v1/models/m:predict", r#"{"instances":[[1,2,3,4]]}"#),
        Protocol::V2 | Protocol::V2Binary | Protocol::Grpc => {
            let data = raw_bytes(vec![1f32, 2.0, 3.0, 4.0]);
            let x = Tensor::new("x", Datatype::Fp32, Shape::from_slice(&[1, 4]), data).unwrap();
            Request::tensors(protocol, "m", InferRequest { inputs: vec![x], ..InferRequest::default() }).unwrap()
        }
        Protocol::Chat => Request::new(
            protocol,
            "/v1/chat/completions",
            r#"{"model":"m","messages":[{"role":"user","content":"a"}]}"#,
        ),
        Protocol::Completions => Request::new(protocol, "/v1/completions", r#"{"model":"m","prompt":"a"}"#),
        Protocol::Embeddings => Request::new(protocol, "/v1/embeddings", r#"{"model":"m","input":"a"}"#),
    }
}

/// The same, to be answered as server-sent events.
pub fn streamed(protocol: Protocol, with_usage: bool) -> Request {
    let whole = request(protocol);
    let mut body: serde_json::Value = serde_json::from_slice(&whole.body).unwrap();
    body["stream"] = true.into();
    if with_usage {
        body["stream_options"] = serde_json::json!({ "include_usage": true });
    }
    Request { streams: true, ..Request::new(protocol, whole.path, body.to_string()) }
}

/// A load tester with one thread, for one kind of request.
pub fn setup(address: SocketAddr, request: Request) -> Setup {
    let summary = WorkloadSummary {
        protocol: request.protocol,
        model: Some("m".to_owned()),
        what: "one request".to_owned(),
        streams: request.streams,
        distinct_requests: Some(1),
        mean_bytes: request.body.len() as f64,
    };
    Setup {
        client: Client::new(address.to_string().parse().unwrap(), &TlsOptions::default()).unwrap(),
        workload: Arc::new(Workload::of(summary, vec![request]).unwrap()),
        threads: 1,
        most_in_flight: 1024,
        connections: None,
        timeout: Duration::from_secs(20),
        slo: None,
        stop: Stop::default(),
    }
}

pub fn serve(service: Service) -> Synthetic {
    Synthetic::start(Behaviour::new(service)).unwrap()
}

/// Requests that are due at even distances.
pub fn open(rate: f64) -> Load {
    Load::Open(Arrivals::Drawn { course: Course::Constant(rate), gaps: Gaps::Constant, seed: 1 })
}

pub fn closed(callers: usize) -> Load {
    Load::Closed { callers, think: Duration::ZERO }
}

/// All of them measured, so that the server's counts are the run's.
pub fn requests(count: u64) -> Span {
    Span { warmup: Warmup::For(Duration::ZERO), until: Until::Requests(count) }
}

pub fn lasting(time: Duration) -> Span {
    Span { warmup: Warmup::For(Duration::ZERO), until: Until::After(time) }
}

pub fn run(setup: Setup, load: &Load, span: &Span) -> Run {
    Engine::start(setup).unwrap().run(load, span, None, &mut Nobody).unwrap()
}

/// One run of V2 requests on a server.
pub fn measure(server: &Synthetic, load: &Load, span: &Span) -> Run {
    run(setup(server.address(), request(Protocol::V2)), load, span)
}

/// A quantile of right answers' latency, in milliseconds.
pub fn latency(run: &Run, q: f64) -> f64 {
    run.latency.at(q).unwrap()
}
