//! What does a V2 no-op cost, over HTTP (JSON and binary) and gRPC?
//!
//! The number that matters: CPU time of the server per request at 16 callers, at most 26 µs over HTTP and 30 µs over
//! gRPC. Beside it latency and requests/s at 1, 16, 128 and 512 callers: the first shows what is added to a lone call,
//! the last two whether the cost stays flat.
//!
//! The no-op is an Identity graph of FP32 [1, 8], which takes the whole way: parse, lane, batch former, engine thread,
//! ONNX Runtime, and back. The baseline is the floor, a hyper server that answers with the very bytes of a real answer.
//!
//! The machine: server on one core, callers on another. Rounds of the two alternate, in changing order; medians and
//! spreads are over rounds. `WEIRGATE_BENCH_ROUNDS` (5) and `WEIRGATE_BENCH_SECONDS` (3) change how long it takes.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use weirgate_loadtest::closed::{self, Callers, Plan, Until};
use weirgate_loadtest::process::{self, Cores, Log, Server, Weirgate};
use weirgate_loadtest::request::{Answer, Prepared, Wire};
use weirgate_loadtest::stats::Spread;
use weirgate_loadtest::{Result, floor, record};
use weirgate_protocol::{Datatype, InferRequest, Shape, Tensor};

const MODEL: &str = "identity";
const WIDTH: usize = 8;
const CALLERS: [usize; 4] = [1, 16, 128, 512];
const BAR_US: [(Wire, f64); 3] = [(Wire::HttpJson, 26.0), (Wire::HttpBinary, 26.0), (Wire::Grpc, 30.0)];

/// One phase's numbers.
#[derive(Clone, Copy)]
struct Sample {
    server_us: f64,
    client_us: f64,
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
    /// Requests of a batch; of the floor, 1.
    batch: f64,
}

/// One wire's two servers.
struct Pair {
    wire: Wire,
    request: Prepared,
    expected: Answer,
    floor: Server,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, captured, wire] = &arguments[..]
        && flag == "--floor"
    {
        let wire = Wire::ALL.into_iter().find(|known| known.label() == wire).unwrap();
        return floor::serve(Path::new(captured), wire);
    }
    let (rounds, seconds) = (from_env("WEIRGATE_BENCH_ROUNDS", 5.0) as usize, from_env("WEIRGATE_BENCH_SECONDS", 3.0));
    let machine = record::machine();
    println!("no-op: Identity of FP32 [1, {WIDTH}], {rounds} rounds; commit {}\nmachine: {machine}\n", record::commit());

    let cores = Cores::pick()?;
    let weirgate = Weirgate::new("noop").service(MODEL, &record::models().join("testing/identity_fp32"));
    let weirgate = weirgate.start_settled(cores.server)?;
    let pairs: Vec<Pair> =
        Wire::ALL.into_iter().map(|wire| Pair::new(wire, &weirgate, cores)).collect::<Result<_>>()?;
    process::pin(cores.client)?;

    let mut table = Table::default();
    for round in 0..rounds {
        for callers in CALLERS {
            let time = Duration::from_secs_f64(if callers == 16 { seconds } else { seconds / 2.0 });
            for pair in &pairs {
                // The two take turns in going first, so that a drift of the machine favours neither.
                let ours = |table: &mut Table| -> Result<()> {
                    table.add(pair.wire, callers, false, pair.phase(&weirgate, callers, time)?);
                    Ok(())
                };
                if round % 2 == 0 {
                    ours(&mut table)?;
                }
                table.add(pair.wire, callers, true, pair.phase(&pair.floor, callers, time)?);
                if round % 2 == 1 {
                    ours(&mut table)?;
                }
            }
        }
        eprintln!("round {} of {rounds} done", round + 1);
    }
    table.print();
    record::write("noop", &machine, &table.json())
}

fn from_env(name: &str, default: f64) -> f64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

impl Pair {
    fn new(wire: Wire, weirgate: &Server, cores: Cores) -> Result<Pair> {
        let data: Vec<u8> = (0..WIDTH).flat_map(|i| (i as f32 * 0.5 - 1.25).to_le_bytes()).collect();
        let input = Tensor::new("x", Datatype::Fp32, Shape::from_slice(&[1, WIDTH]), data.into()).unwrap();
        let request = InferRequest { inputs: vec![input.clone()], ..InferRequest::default() };
        let request = Prepared::new(wire, MODEL, request)?;
        let expected = closed::runtime()?.block_on(async {
            Callers::connect(plan(weirgate.data, &request, 1, None)).await?.ask(0).await
        })?;
        assert_eq!(expected.decode()?.outputs[0].data, input.data);
        let captured = captured(wire);
        floor::capture(&expected, &captured)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--floor").arg(captured).arg(wire.label());
        let floor = Server::start(cores.server, command, &Log::Inherit)?;
        Ok(Pair { wire, request, expected, floor })
    }

    /// `callers` load one server for `time`. Every answer is compared with the expected bytes.
    fn phase(&self, server: &Server, callers: usize, time: Duration) -> Result<Sample> {
        let batches = || -> Result<f64> {
            let Some(admin) = server.admin else { return Ok(0.0) };
            Ok(process::series(&process::get(admin, "/metrics")?, "weirgate_batch_rows_count"))
        };
        closed::runtime()?.block_on(async {
            let plan = plan(server.data, &self.request, callers, Some(self.expected.clone()));
            let mut all = Callers::connect(plan).await?;
            all.run(Until::After(time / 10)).await?.all_well()?;
            let batches_before = batches()?;
            let before = (server.cpu_time()?, process::cpu_time(std::process::id())?);
            let report = all.run(Until::After(time)).await?.all_well()?;
            let after = (server.cpu_time()?, process::cpu_time(std::process::id())?);
            let batches = batches()? - batches_before;
            all.close().await;
            let each = |time: Duration| time.as_secs_f64() * 1e6 / report.answered() as f64;
            Ok(Sample {
                server_us: each(after.0 - before.0),
                client_us: each(after.1 - before.1),
                per_second: report.per_second(),
                p50_us: report.latencies.p50_us(),
                p99_us: report.latencies.p99_us(),
                batch: if batches > 0.0 { report.answered() as f64 / batches } else { 1.0 },
            })
        })
    }
}

fn plan(address: SocketAddr, request: &Prepared, callers: usize, expected: Option<Answer>) -> Plan {
    let check = expected.map(|expected| -> closed::Check { Arc::new(move |_, answer| answer.body == expected.body) });
    Plan { address, requests: Arc::new([request.clone()]), callers, shared_connections: None, check }
}

fn captured(wire: Wire) -> PathBuf {
    record::root().join("target/loadtest/noop").join(format!("answer.{}", wire.label().replace(' ', "-")))
}

/// All samples, by wire, callers and whether of the floor.
#[derive(Default)]
struct Table(Vec<(Wire, usize, bool, Sample)>);

impl Table {
    fn add(&mut self, wire: Wire, callers: usize, floor: bool, sample: Sample) {
        self.0.push((wire, callers, floor, sample));
    }

    fn of(&self, wire: Wire, callers: usize, floor: bool) -> Vec<Sample> {
        let wanted = |row: &&(Wire, usize, bool, Sample)| (row.0, row.1, row.2) == (wire, callers, floor);
        self.0.iter().filter(wanted).map(|row| row.3).collect()
    }

    fn spread(&self, wire: Wire, callers: usize, floor: bool, field: fn(&Sample) -> f64) -> Spread {
        Spread::of(self.of(wire, callers, floor).iter().map(field))
    }

    /// Ours against the floor, round by round.
    fn ratio(&self, wire: Wire, callers: usize, field: fn(&Sample) -> f64) -> Spread {
        let (ours, floor) = (self.of(wire, callers, false), self.of(wire, callers, true));
        Spread::of(ours.iter().zip(&floor).map(|(ours, floor)| field(ours) / field(floor)))
    }

    fn print(&self) {
        println!(
            "{:<12} {:>7}  {:<22} {:<22} {:<18} {:>9} {:>9} {:>9} {:>6} {:>9}",
            "wire", "callers", "server µs CPU/request", "floor", "ratio", "requests/s", "p50 µs", "p99 µs", "batch",
            "client µs"
        );
        for callers in CALLERS {
            for wire in Wire::ALL {
                let ours = |field: fn(&Sample) -> f64| self.spread(wire, callers, false, field);
                println!(
                    "{:<12} {callers:>7}  {:<22} {:<22} {:<18} {:>9.0} {:>9.0} {:>9.0} {:>6.1} {:>9.1}",
                    wire.label(),
                    ours(|s| s.server_us).show(1),
                    self.spread(wire, callers, true, |s| s.server_us).show(1),
                    self.ratio(wire, callers, |s| s.server_us).show(1),
                    ours(|s| s.per_second).median,
                    ours(|s| s.p50_us).median,
                    ours(|s| s.p99_us).median,
                    ours(|s| s.batch).median,
                    ours(|s| s.client_us).median,
                );
            }
        }
        let floor_p50 = |wire| self.spread(wire, 1, true, |s| s.p50_us).median;
        println!();
        for (wire, bar) in BAR_US {
            let cpu = self.spread(wire, 16, false, |s| s.server_us).median;
            let verdict = if cpu <= bar { "holds" } else { "missed" };
            let added = self.spread(wire, 1, false, |s| s.p50_us).median - floor_p50(wire);
            println!(
                "{:<12} {cpu:.1} µs at 16 callers, the bar of {bar:.0} {verdict}; a lone call takes {added:.0} µs more than \
                 at the floor",
                wire.label()
            );
        }
    }

    fn json(&self) -> Value {
        let rows = self.0.iter().map(|(wire, callers, floor, s)| {
            json!({
                "wire": wire.label(), "callers": callers, "server": if *floor { "floor" } else { "weirgate" },
                "server_cpu_us": s.server_us, "client_cpu_us": s.client_us, "per_second": s.per_second,
                "p50_us": s.p50_us, "p99_us": s.p99_us, "batch": s.batch,
            })
        });
        let summary = BAR_US.map(|(wire, bar)| {
            json!({
                "wire": wire.label(), "callers": 16, "bar_us": bar,
                "server_cpu_us": self.spread(wire, 16, false, |s| s.server_us).json(),
                "floor_cpu_us": self.spread(wire, 16, true, |s| s.server_us).json(),
                "ratio": self.ratio(wire, 16, |s| s.server_us).json(),
            })
        });
        json!({ "summary": summary, "rounds": rows.collect::<Vec<_>>() })
    }
}
