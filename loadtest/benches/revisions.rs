//! What does a split cost a call, and how long does a folder of services take?
//!
//! The numbers that matter: CPU time of the server per request with a 20 % canary, by turn and by sticky key, against the
//! same model without one, which is the baseline; and seconds from exec until 200 services are ready.
//!
//! Both are the no-op of `noop.rs`. One server has all three services, and the phases take turns within a round, so that
//! a drift of the machine favours none. With a canary two engines share the calls, so batches are smaller: part of what
//! is measured is that, and no work of the router.
//!
//! `WEIRGATE_BENCH_ROUNDS` (5) and `WEIRGATE_BENCH_SECONDS` (3) change how long it takes.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use serde_json::json;
use weirgate_loadtest::closed::{self, Callers, Plan, Until};
use weirgate_loadtest::process::{self, Cores, Server, Weirgate};
use weirgate_loadtest::request::{Protocol, Request};
use weirgate_loadtest::stats::Spread;
use weirgate_loadtest::{Result, record};
use weirgate_protocol::{Datatype, InferRequest, Shape, Tensor};

const CALLERS: usize = 16;
const WIDTH: usize = 8;
const SERVICES: usize = 200;
/// Users of the sticky service.
const USERS: usize = 64;
const WAYS: [&str; 3] = ["whole", "canary", "sticky"];

fn main() -> Result<()> {
    let (rounds, seconds) =
        (record::number("WEIRGATE_BENCH_ROUNDS", 5.0) as usize, record::number("WEIRGATE_BENCH_SECONDS", 3.0));
    let machine = record::machine();
    println!("revisions: {rounds} rounds, {CALLERS} callers; commit {}\nmachine: {machine}\n", record::commit());
    let cores = Cores::pick()?;
    let folder = folder_of_services(cores, rounds)?;

    let weirgate = WAYS.iter().fold(Weirgate::new("revisions"), |weirgate, way| weirgate.manifest(&manifest(way)));
    let weirgate = weirgate.start_settled(Some(cores.server))?;
    process::pin(cores.client)?;
    let mut samples = vec![Vec::new(); WAYS.len()];
    for round in 0..rounds {
        for turn in 0..WAYS.len() {
            let index = (round + turn) % WAYS.len();
            samples[index].push(phase(&weirgate, WAYS[index], Duration::from_secs_f64(seconds))?);
        }
        eprintln!("round {} of {rounds} done", round + 1);
    }

    println!("{:<8} {:<24} {:<20}", "way", "server CPU µs/request", "ratio");
    let mut rows = Vec::new();
    for (way, times) in WAYS.iter().zip(&samples) {
        let cpu = Spread::of(times.iter().copied());
        let ratio = Spread::of(times.iter().zip(&samples[0]).map(|(ours, whole)| ours / whole));
        println!("{way:<8} {:<24} {:<20}", cpu.show(1), ratio.show(2));
        rows.push(json!({ "way": way, "server_cpu_us": cpu.json(), "ratio": ratio.json(), "rounds": times }));
    }
    println!("\n{SERVICES} services ready after {} s", folder.show(2));
    let folder = json!({ "services": SERVICES, "ready_seconds": folder.json() });
    record::write("revisions", &machine, &json!({ "split": rows, "folder": folder }))
}

/// CPU time of the server per request, in µs.
fn phase(server: &Server, way: &str, time: Duration) -> Result<f64> {
    let data: Vec<u8> = (0..WIDTH).flat_map(|i| (i as f32 * 0.5).to_le_bytes()).collect();
    let request = |user: usize| -> Result<Request> {
        let input = Tensor::new("x", Datatype::Fp32, Shape::from_slice(&[1, WIDTH]), data.clone().into()).unwrap();
        let request = InferRequest { inputs: vec![input], ..InferRequest::default() };
        let prepared = Request::tensors(Protocol::V2, way, request)?;
        Ok(prepared.with_header("x-user", HeaderValue::from_str(&format!("user-{user}")).unwrap()))
    };
    let requests: Vec<_> = (0..USERS).map(request).collect::<Result<_>>()?;
    closed::runtime()?.block_on(async {
        let plan = Plan {
            address: server.data,
            requests: requests.into(),
            callers: CALLERS,
            shared_connections: None,
            check: Some(Arc::new(|_, answer| answer.is_ok())),
        };
        let mut callers = Callers::connect(plan).await?;
        callers.run(Until::After(time / 10)).await?.all_well()?;
        let before = server.cpu_time()?;
        let report = callers.run(Until::After(time)).await?.all_well()?;
        let used = server.cpu_time()? - before;
        callers.close().await;
        Ok(used.as_secs_f64() * 1e6 / report.answered() as f64)
    })
}

/// Seconds from exec until every service of a folder is ready, in so many starts.
fn folder_of_services(cores: Cores, starts: usize) -> Result<Spread> {
    let model = record::models().join("testing/identity_fp32");
    let name = |index: usize| format!("service-{index}");
    let weirgate =
        (0..SERVICES).fold(Weirgate::new("folder"), |weirgate, index| weirgate.service(&name(index), &model));
    let mut times = Vec::new();
    for _ in 0..starts {
        let started = Instant::now();
        let server = weirgate.start_settled(Some(cores.server))?;
        times.push(started.elapsed().as_secs_f64());
        drop(server);
    }
    Ok(Spread::of(times))
}

fn manifest(way: &str) -> String {
    let model = record::models().join("testing/identity_fp32");
    let model = format!("{{modelFormat: {{name: onnx}}, storageUri: 'file://{}'}}", model.display());
    let annotations = if way == "sticky" { "{weirgate.dev/sticky: 'header:x-user'}" } else { "{}" };
    let canary = match way {
        "whole" => String::new(),
        _ => "  canary: [{trafficPercent: 20, predictor: {name: next, batcher: {maxBatchSize: 31}}}]\n".to_owned(),
    };
    format!(
        "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {{name: {way}, annotations: \
         {annotations}}}\nspec:\n  predictor: {{model: {model}}}\n{canary}"
    )
}
