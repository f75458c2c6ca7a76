//! How much memory does a server hold, and how long does it take from exec to its first answer?
//!
//! The numbers that matter: resident memory with no service that needs ONNX Runtime, at most 30 MiB; and the time from
//! exec to the first answer of a no-op, with ONNX Runtime's loading in it. Beside them the memory with one ONNX service
//! (a no-op, digits, MiniLM) and the start of MiniLM.
//!
//! Memory is read after 16 callers have sent their requests, from `VmRSS`; `RssAnon` is the part that no file backs. The
//! server without ONNX Runtime has one service whose model file is missing, so every request is answered with 503. There
//! is no baseline but the bar, and for the start what the model's own loading takes.
//!
//! The machine: the server has all cores, as it would have; files are in the page cache. `WEIRGATE_BENCH_RUNS` (15) says
//! how often it is started.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};
use weirgate_loadtest::closed::{self, Callers, Plan, Until};
use weirgate_loadtest::process::{self, Memory, Server, Weirgate};
use weirgate_loadtest::request::{Protocol, Request};
use weirgate_loadtest::stats::Spread;
use weirgate_loadtest::{Result, record};
use weirgate_protocol::{Datatype, InferRequest, Shape, Tensor};

const BAR_MIB: f64 = 30.0;
const REQUESTS: u64 = 2_000;
const CALLERS: usize = 16;

/// A service and a request for it.
struct Service {
    name: &'static str,
    model: PathBuf,
    request: InferRequest,
    /// Whether its model can be loaded.
    loads: bool,
}

fn main() -> Result<()> {
    let runs = record::number("WEIRGATE_BENCH_RUNS", 15.0) as usize;
    let machine = record::machine();
    println!("memory and start; commit {}\nmachine: {machine}\n", record::commit());
    let [missing, identity, digits, minilm] = services();

    println!("{:<10} {:>13} {:>13} {:>11} {:>9}", "service", "resident MiB", "of it anon", "of it files", "peak");
    let mut memory = Vec::new();
    for service in [&missing, &identity, &digits, &minilm] {
        let used = memory_of(service)?;
        let mib = |bytes: u64| Memory::mib(bytes);
        println!(
            "{:<10} {:>13.1} {:>13.1} {:>11.1} {:>9.1}",
            service.name,
            mib(used.resident),
            mib(used.anonymous),
            mib(used.files),
            mib(used.peak)
        );
        memory.push((service.name, used));
    }
    let without = Memory::mib(memory[0].1.resident);
    let verdict = if without <= BAR_MIB { "holds" } else { "is missed" };
    println!("without ONNX Runtime {without:.1} MiB: the bar of {BAR_MIB:.0} {verdict}\n");

    println!("{:<10} {:<28} {:<28} {:<28}", "service", "first answer, ms", "listening, ms", "model loaded in, ms");
    let mut starts = Vec::new();
    for (service, runs) in [(&identity, runs), (&minilm, runs.div_ceil(3))] {
        let runs: Vec<Start> = (0..runs).map(|_| start_of(service)).collect::<Result<_>>()?;
        let spread = |field: fn(&Start) -> f64| Spread::of(runs.iter().map(field));
        println!(
            "{:<10} {:<28} {:<28} {:<28}",
            service.name,
            spread(|s| s.first_answer_ms).show(1),
            spread(|s| s.listening_ms).show(1),
            spread(|s| s.load_ms).show(1)
        );
        starts.push((service.name, runs));
    }
    record::write("footprint", &machine, &results(&memory, &starts))
}

fn services() -> [Service; 4] {
    let tensor = |name: &str, datatype: Datatype, shape: &[usize]| {
        let bytes = shape.iter().product::<usize>() * datatype.size().unwrap();
        Tensor::new(name, datatype, Shape::from_slice(shape), vec![0; bytes].into()).unwrap()
    };
    let request = |inputs| InferRequest { inputs, ..InferRequest::default() };
    let floats = |name: &str, width| request(vec![tensor(name, Datatype::Fp32, &[1, width])]);
    // Zeros are a padding token that nothing attends to, but the time and memory are those of any token.
    let tokens = ["input_ids", "attention_mask", "token_type_ids"].map(|name| tensor(name, Datatype::Int64, &[1, 16]));
    let (models, zoo) = (record::models(), record::root().join("models/zoo"));
    let service = |name, model, request, loads| Service { name, model, request, loads };
    [
        service("none", models.join("missing.onnx"), floats("x", 8), false),
        service("identity", models.join("testing/identity_fp32"), floats("x", 8), true),
        service("digits", zoo.join("digits"), floats("X", 64), true),
        service("minilm", models.join("minilm/model.onnx"), request(tokens.to_vec()), true),
    ]
}

impl Service {
    fn command(&self) -> Weirgate {
        Weirgate::new(&format!("footprint-{}", self.name)).service(self.name, &self.model)
    }

    fn plan(&self, server: &Server, callers: usize) -> Result<Plan> {
        let request = Request::tensors(Protocol::V2Binary, self.name, self.request.clone())?;
        let requests: Arc<[Request]> = Arc::new([request]);
        Ok(Plan { address: server.data, requests, callers, shared_connections: None, check: None })
    }
}

fn memory_of(service: &Service) -> Result<Memory> {
    let server = service.command().start_settled(None)?;
    let report = closed::runtime()?.block_on(async {
        let mut callers = Callers::connect(service.plan(&server, CALLERS)?).await?;
        let report = callers.run(Until::Requests(REQUESTS)).await?;
        callers.close().await;
        Ok::<_, std::io::Error>(report)
    })?;
    let expected = if service.loads { REQUESTS } else { 0 };
    assert_eq!(report.answered(), expected, "{}: {:?}", service.name, report.failures);
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", server.pid()))?;
    assert_eq!(maps.contains("libonnxruntime"), service.loads, "{}", service.name);
    server.memory()
}

struct Start {
    first_answer_ms: f64,
    /// From exec to the printed address.
    listening_ms: f64,
    /// What the server says the load took, ONNX Runtime's own included.
    load_ms: f64,
}

fn start_of(service: &Service) -> Result<Start> {
    let server = service.command().start(None)?;
    let listening = server.spawned.elapsed();
    let (answer, first) = closed::runtime()?.block_on(async {
        let mut one = Callers::connect(service.plan(&server, 1)?).await?;
        let answer = one.ask(0).await?;
        Ok::<_, std::io::Error>((answer, server.spawned.elapsed()))
    })?;
    answer.decode()?;
    let metrics = process::get(server.admin.unwrap(), "/metrics")?;
    Ok(Start {
        first_answer_ms: first.as_secs_f64() * 1e3,
        listening_ms: listening.as_secs_f64() * 1e3,
        load_ms: process::series(&metrics, "weirgate_model_load_seconds") * 1e3,
    })
}

fn results(memory: &[(&str, Memory)], starts: &[(&str, Vec<Start>)]) -> Value {
    let memory: Vec<Value> =
        memory.iter().map(|(name, memory)| json!({ "service": name, "bytes": memory.json() })).collect();
    let starts = starts.iter().map(|(name, runs)| {
        let runs = runs.iter().map(|run| {
            json!({ "first_answer_ms": run.first_answer_ms, "listening_ms": run.listening_ms, "load_ms": run.load_ms })
        });
        json!({ "service": name, "runs": runs.collect::<Vec<_>>() })
    });
    json!({ "bar_mib": BAR_MIB, "memory": memory, "starts": starts.collect::<Vec<_>>() })
}
