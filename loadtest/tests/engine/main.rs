//! The engine against small servers in this process: what is counted, and what servers see of it.
//!
//! Nothing here depends on how fast the machine is: counts are exact, and times differ by far.

#![allow(clippy::unwrap_used)]

mod closed;
mod conversations;
mod open;
mod runs;
mod server;
mod told;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use weirgate_loadtest::arrivals::{Arrivals, Course, Gaps};
use weirgate_loadtest::client::{Client, TlsOptions};
use weirgate_loadtest::engine::{Begin, Engine, Load, Observer, Setup, Span, Stop, Until, Warmup};
use weirgate_loadtest::request::{Protocol, Request};
use weirgate_loadtest::result::{Run, Window, WorkloadSummary};
use weirgate_loadtest::target::Target;
use weirgate_loadtest::workload::Workload;

/// Sees every window as it ends.
#[derive(Default)]
struct Watch {
    windows: Vec<Window>,
    done: Vec<Option<f64>>,
    began: Option<String>,
    ended: usize,
}

impl Observer for Watch {
    fn begins(&mut self, run: &Begin<'_>) {
        self.began = Some(run.what.to_owned());
    }

    fn window(&mut self, window: &Window, done: Option<f64>) {
        self.windows.push(window.clone());
        self.done.push(done);
    }

    fn ends(&mut self, _: &Run) {
        self.ended += 1;
    }
}

/// So many requests, each with its number in `x-number`.
fn workload(protocol: Protocol, requests: usize) -> Arc<Workload> {
    let summary = WorkloadSummary {
        protocol,
        model: Some("m".to_owned()),
        what: "numbers".to_owned(),
        streams: false,
        distinct_requests: Some(requests),
        mean_bytes: 2.0,
    };
    let request = |number: usize| {
        let request = Request::new(protocol, "/v2/models/m/infer", &b"{}"[..]);
        request.with_header("x-number", HeaderValue::from(number))
    };
    Arc::new(Workload::of(summary, (0..requests).map(request).collect()).unwrap())
}

fn setup(address: SocketAddr, threads: usize) -> Setup {
    let target: Target = address.to_string().parse().unwrap();
    Setup {
        client: Client::new(target, &TlsOptions::default()).unwrap(),
        workload: workload(Protocol::V2, 10_000),
        threads,
        most_in_flight: 256,
        connections: None,
        timeout: Duration::from_secs(30),
        slo: None,
        stop: Stop::default(),
    }
}

fn open(rate: f64, gaps: Gaps) -> Load {
    Load::Open(Arrivals::Drawn { course: Course::Constant(rate), gaps, seed: 11 })
}

fn closed(callers: usize) -> Load {
    Load::Closed { callers, think: Duration::ZERO }
}

/// So many requests, all of them measured.
fn requests(count: u64) -> Span {
    Span { warmup: Warmup::For(Duration::ZERO), until: Until::Requests(count) }
}

/// For so long, all of it measured.
fn time(time: Duration) -> Span {
    Span { warmup: Warmup::For(Duration::ZERO), until: Until::After(time) }
}

fn run(setup: Setup, load: &Load, span: &Span) -> Run {
    Engine::start(setup).unwrap().run(load, span, None, &mut Watch::default()).unwrap()
}
