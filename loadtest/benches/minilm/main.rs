//! What is lost between a real model and its callers? MiniLM, a sentence embedder, on one core.
//!
//! The numbers that matter: a lone caller's p50 against the bare `ort` call, at most 1.1 times; and rows/s at 32 callers
//! against the best that `ort` does offline with the same rows at hand, at least 0.9. Both at equal lengths (16 tokens)
//! and at mixed ones (6 to 48, seeded), through HTTP binary and gRPC.
//!
//! The baseline is a process of its own on the server's core with the session options that serve: all optimisations, one
//! thread, no spinning. Offline it may choose: equal rows in batches of 1 to 32; mixed rows alone, grouped by equal
//! length, or sorted by length and padded under the attention mask. Its inputs are joined and padded beforehand, which
//! the server must do while it serves.
//!
//! Beside both stand the same ratios in CPU time: what the server's threads used for a row against what the call did.
//! They hold on a busy machine too, where the clock measures the neighbours.
//!
//! The machine: server and baseline on one core, callers on another. Phases of the two alternate, in changing order, and
//! ratios are taken within a round. `WEIRGATE_BENCH_ROUNDS` (5) and `WEIRGATE_BENCH_SECONDS` (3) change how long it takes.

#![allow(clippy::unwrap_used)]

mod bare;
mod workload;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use weirgate_loadtest::closed::{self, Callers, Plan, Until};
use weirgate_loadtest::process::{self, Cores, Server, Weirgate};
use weirgate_loadtest::request::{Protocol, Request};
use weirgate_loadtest::stats::Spread;
use weirgate_loadtest::{Result, record};

use self::bare::{Bare, Rate};
use self::workload::Workload;

const MODEL: &str = "minilm";
const WIRES: [Protocol; 2] = [Protocol::V2Binary, Protocol::Grpc];
const MANY: usize = 32;
/// Sums of floats depend on the batch a row is in.
const TOLERANCE: f32 = 1e-3;

/// One round's numbers for one workload and protocol.
#[derive(Clone, Debug)]
struct Sample {
    workload: Workload,
    protocol: Protocol,
    lone: Phase,
    bare: Rate,
    many: Phase,
    offline: Vec<Rate>,
}

impl Sample {
    /// The best offline way, by the clock.
    fn best(&self) -> &Rate {
        self.offline.iter().max_by(|a, b| a.per_second.total_cmp(&b.per_second)).unwrap()
    }

    fn lone_ratio(&self) -> f64 {
        self.lone.p50_us / self.bare.p50_us
    }

    fn lone_cpu_ratio(&self) -> f64 {
        self.bare.per_cpu_second / self.lone.per_cpu_second
    }

    fn many_ratio(&self) -> f64 {
        self.many.per_second / self.best().per_second
    }

    fn many_cpu_ratio(&self) -> f64 {
        let best = self.offline.iter().map(|rate| rate.per_cpu_second).fold(0.0, f64::max);
        self.many.per_cpu_second / best
    }
}

fn main() -> Result<()> {
    let model = record::models().join("minilm/model.onnx");
    if std::env::args().nth(1).as_deref() == Some("--bare") {
        return bare::serve(&model);
    }
    let rounds = record::number("WEIRGATE_BENCH_ROUNDS", 5.0) as usize;
    let time = Duration::from_secs_f64(record::number("WEIRGATE_BENCH_SECONDS", 3.0));
    let machine = record::machine();
    println!("MiniLM, {rounds} rounds; commit {}\nmachine: {machine}\n", record::commit());

    let cores = Cores::pick()?;
    let server = Weirgate::new("minilm").service(MODEL, &model).start_settled(Some(cores.server))?;
    let mut bare = Bare::start(cores.server)?;
    process::pin(cores.client)?;
    let mut served = Vec::new();
    for workload in Workload::ALL {
        for protocol in WIRES {
            served.push(Served::new(&server, workload, protocol)?);
        }
    }

    let mut samples = Vec::new();
    for round in 0..rounds {
        for served in &served {
            samples.push(served.round(&server, &mut bare, time, round % 2 == 1)?);
        }
        eprintln!("round {} of {rounds} done", round + 1);
    }
    print(&samples);
    record::write("minilm", &machine, &results(&samples))
}

/// A workload on its way through the server.
struct Served {
    workload: Workload,
    protocol: Protocol,
    requests: Arc<[Request]>,
    expected: Arc<[Vec<f32>]>,
}

impl Served {
    fn new(server: &Server, workload: Workload, protocol: Protocol) -> Result<Served> {
        let rows = workload.rows();
        let requests: Arc<[Request]> =
            rows.iter().map(|row| Request::tensors(protocol, MODEL, row.request())).collect::<Result<_>>()?;
        let mut served = Served { workload, protocol, requests, expected: Arc::new([]) };
        // What each row gets when it is asked for alone.
        served.expected = closed::runtime()?.block_on(async {
            let mut one = Callers::connect(served.plan(server, 1)).await?;
            let mut all = Vec::new();
            for index in 0..rows.len() {
                all.push(embedding(&one.ask(index).await?).ok_or_else(|| std::io::Error::other("no embedding"))?);
            }
            Ok::<_, std::io::Error>(all.into())
        })?;
        Ok(served)
    }

    fn plan(&self, server: &Server, callers: usize) -> Plan {
        let expected = self.expected.clone();
        let check: closed::Check = Arc::new(move |index, answer| {
            let close = |(got, wanted): (&f32, &f32)| (got - wanted).abs() < TOLERANCE;
            embedding(answer)
                .is_some_and(|got| got.len() == expected[index].len() && got.iter().zip(&expected[index]).all(close))
        });
        let requests = self.requests.clone();
        Plan { address: server.data, requests, callers, shared_connections: None, check: Some(check) }
    }

    fn round(&self, server: &Server, bare: &mut Bare, time: Duration, bare_first: bool) -> Result<Sample> {
        let mut early = None;
        if bare_first {
            early = Some((bare.lone(self.workload, time)?, bare.offline(self.workload, time)?));
        }
        let (lone, many) = (self.phase(server, 1, time)?, self.phase(server, MANY, time)?);
        let (bare, offline) = match early {
            Some(rates) => rates,
            None => (bare.lone(self.workload, time)?, bare.offline(self.workload, time)?),
        };
        Ok(Sample { workload: self.workload, protocol: self.protocol, lone, bare, many, offline })
    }

    fn phase(&self, server: &Server, callers: usize, time: Duration) -> Result<Phase> {
        let admin = server.admin.unwrap();
        let batches =
            || -> Result<f64> { Ok(process::series(&process::get(admin, "/metrics")?, "weirgate_batch_rows_count")) };
        closed::runtime()?.block_on(async {
            let mut all = Callers::connect(self.plan(server, callers)).await?;
            all.run(Until::After(time / 10)).await?.all_well()?;
            let (before, cpu) = (batches()?, server.cpu_time()?);
            let report = all.run(Until::After(time)).await?.all_well()?;
            let cpu = server.cpu_time()? - cpu;
            let batches = batches()? - before;
            all.close().await;
            Ok(Phase {
                per_second: report.per_second(),
                per_cpu_second: report.answered() as f64 / cpu.as_secs_f64(),
                p50_us: report.latencies.p50_us(),
                p99_us: report.latencies.p99_us(),
                batch: report.answered() as f64 / batches,
            })
        })
    }
}

/// What the server did in one phase.
#[derive(Clone, Debug)]
struct Phase {
    per_second: f64,
    /// Requests per second of the server's CPU time.
    per_cpu_second: f64,
    p50_us: f64,
    p99_us: f64,
    /// Rows of a batch.
    batch: f64,
}

fn embedding(answer: &weirgate_loadtest::request::Answer) -> Option<Vec<f32>> {
    let response = answer.decode().ok()?;
    let data = &response.outputs.first()?.data;
    Some(data.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect())
}

fn spread(samples: &[&Sample], field: impl Fn(&Sample) -> f64) -> Spread {
    Spread::of(samples.iter().map(|sample| field(sample)))
}

fn groups(samples: &[Sample]) -> Vec<(Workload, Protocol, Vec<&Sample>)> {
    let mut groups = Vec::new();
    for workload in Workload::ALL {
        for protocol in WIRES {
            let of = samples.iter().filter(|sample| (sample.workload, sample.protocol) == (workload, protocol));
            groups.push((workload, protocol, of.collect()));
        }
    }
    groups
}

fn print(samples: &[Sample]) {
    println!("a lone caller, p50 in µs: at most 1.1 times the bare call");
    println!("{:<8} {:<12} {:<24} {:<24} {:<22} in CPU time", "lengths", "protocol", "weirgate", "bare ort", "ratio");
    for (workload, protocol, of) in groups(samples) {
        let ratio = spread(&of, Sample::lone_ratio);
        println!(
            "{:<8} {:<12} {:<24} {:<24} {:<22} {:<22} {}",
            workload.label(),
            protocol.label(),
            spread(&of, |s| s.lone.p50_us).show(0),
            spread(&of, |s| s.bare.p50_us).show(0),
            ratio.show(3),
            spread(&of, Sample::lone_cpu_ratio).show(3),
            if ratio.median <= 1.1 { "holds" } else { "is missed" }
        );
    }
    println!("\n{MANY} callers, rows/s: at least 0.9 of the best offline");
    println!(
        "{:<8} {:<12} {:<18} {:<18} {:<22} {:<22} {:<9} {:>5} {:>7}",
        "lengths", "protocol", "weirgate", "ort offline", "ratio", "in CPU time", "bar", "batch", "p99 ms"
    );
    for (workload, protocol, of) in groups(samples) {
        let ratio = spread(&of, Sample::many_ratio);
        println!(
            "{:<8} {:<12} {:<18} {:<18} {:<22} {:<22} {:<9} {:>5.1} {:>7.0}",
            workload.label(),
            protocol.label(),
            spread(&of, |s| s.many.per_second).show(0),
            spread(&of, |s| s.best().per_second).show(0),
            ratio.show(3),
            spread(&of, Sample::many_cpu_ratio).show(3),
            if ratio.median >= 0.9 { "holds" } else { "is missed" },
            spread(&of, |s| s.many.batch).median,
            spread(&of, |s| s.many.p99_us / 1e3).median,
        );
    }
    println!("\nort offline, rows/s (per second of CPU time)");
    for workload in Workload::ALL {
        let rates = || samples.iter().filter(|s| s.workload == workload).flat_map(|s| &s.offline);
        let mut methods: Vec<&str> = rates().map(|rate| &*rate.method).collect();
        methods.sort_unstable();
        methods.dedup();
        for method in methods {
            let of = |field: fn(&Rate) -> f64| Spread::of(rates().filter(|rate| rate.method == method).map(field));
            let (clock, cpu) = (of(|rate| rate.per_second), of(|rate| rate.per_cpu_second));
            println!("{:<8} {method:<26} {:<20} ({})", workload.label(), clock.show(0), cpu.show(0));
        }
    }
}

fn results(samples: &[Sample]) -> Value {
    let summary = groups(samples).into_iter().map(|(workload, protocol, of)| {
        json!({
            "lengths": workload.label(), "protocol": protocol.label(),
            "lone_ratio": spread(&of, Sample::lone_ratio).json(),
            "lone_cpu_ratio": spread(&of, Sample::lone_cpu_ratio).json(),
            "many_ratio": spread(&of, Sample::many_ratio).json(),
            "many_cpu_ratio": spread(&of, Sample::many_cpu_ratio).json(),
        })
    });
    let phase = |phase: &Phase| {
        json!({
            "per_second": phase.per_second, "per_cpu_second": phase.per_cpu_second, "p50_us": phase.p50_us,
            "p99_us": phase.p99_us, "batch": phase.batch,
        })
    };
    let rate = |rate: &Rate| {
        json!({
            "method": rate.method, "per_second": rate.per_second, "per_cpu_second": rate.per_cpu_second,
            "p50_us": rate.p50_us,
        })
    };
    let rounds = samples.iter().map(|s| {
        json!({
            "lengths": s.workload.label(), "protocol": s.protocol.label(), "lone": phase(&s.lone), "bare": rate(&s.bare),
            "many": phase(&s.many), "offline": s.offline.iter().map(rate).collect::<Vec<_>>(),
        })
    });
    json!({ "summary": summary.collect::<Vec<_>>(), "rounds": rounds.collect::<Vec<_>>() })
}
