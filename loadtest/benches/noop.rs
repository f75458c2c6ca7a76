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
//! spreads are over rounds. gRPC is measured with a connection for each caller, as the bar is meant, and with one that
//! all share, as one client process has it.
//!
//! `WEIRGATE_BENCH_ROUNDS` (5), `WEIRGATE_BENCH_SECONDS` (3) and `WEIRGATE_BENCH_CALLERS` (1,16,128,512) change how long
//! it takes.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use weirgate_loadtest::closed::{self, Callers, Plan, Until};
use weirgate_loadtest::process::{self, Cores, Log, Server, Weirgate};
use weirgate_loadtest::request::{Answer, Protocol, Request};
use weirgate_loadtest::stats::Spread;
use weirgate_loadtest::{Result, floor, record};
use weirgate_protocol::{Datatype, InferRequest, Shape, Tensor};

const MODEL: &str = "identity";
const WIDTH: usize = 8;
const CALLERS: &str = "1,16,128,512";
/// The number of callers that the bar is about.
const AT_BAR: usize = 16;

/// How the requests travel, and the bar in µs of CPU time where there is one.
struct Way {
    label: &'static str,
    protocol: Protocol,
    shared_connections: Option<usize>,
    bar: Option<f64>,
}

const WAYS: [Way; 4] = [
    Way { label: "http json", protocol: Protocol::V2, shared_connections: None, bar: Some(26.0) },
    Way { label: "http binary", protocol: Protocol::V2Binary, shared_connections: None, bar: Some(26.0) },
    Way { label: "grpc", protocol: Protocol::Grpc, shared_connections: None, bar: Some(30.0) },
    Way { label: "grpc shared", protocol: Protocol::Grpc, shared_connections: Some(1), bar: None },
];

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

/// One way's two servers.
struct Pair {
    way: &'static Way,
    request: Request,
    expected: Answer,
    floor: Server,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, captured, protocol] = &arguments[..]
        && flag == "--floor"
    {
        let protocol = [Protocol::V2, Protocol::V2Binary, Protocol::Grpc]
            .into_iter()
            .find(|known| known.label() == protocol)
            .unwrap();
        return floor::serve(Path::new(captured), protocol);
    }
    let (rounds, seconds) =
        (record::number("WEIRGATE_BENCH_ROUNDS", 5.0) as usize, record::number("WEIRGATE_BENCH_SECONDS", 3.0));
    let machine = record::machine();
    println!(
        "no-op: Identity of FP32 [1, {WIDTH}], {rounds} rounds; commit {}\nmachine: {machine}\n",
        record::commit()
    );

    let cores = Cores::pick()?;
    let weirgate = Weirgate::new("noop").service(MODEL, &record::models().join("testing/identity_fp32"));
    let weirgate = weirgate.start_settled(Some(cores.server))?;
    let pairs: Vec<Pair> = WAYS.iter().map(|way| Pair::new(way, &weirgate, cores)).collect::<Result<_>>()?;
    process::pin(cores.client)?;

    let callers = std::env::var("WEIRGATE_BENCH_CALLERS").unwrap_or_else(|_| CALLERS.to_owned());
    let callers: Vec<usize> = callers.split(',').map(|number| number.trim().parse().unwrap()).collect();
    let mut table = Table { callers, rows: Vec::new() };
    for round in 0..rounds {
        for callers in table.callers.clone() {
            let time = Duration::from_secs_f64(if callers == AT_BAR { seconds } else { seconds / 2.0 });
            for pair in &pairs {
                // The two take turns in going first, so that a drift of the machine favours neither.
                let ours = |table: &mut Table| -> Result<()> {
                    table.add(pair.way, callers, false, pair.phase(&weirgate, callers, time)?);
                    Ok(())
                };
                if round % 2 == 0 {
                    ours(&mut table)?;
                }
                table.add(pair.way, callers, true, pair.phase(&pair.floor, callers, time)?);
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

impl Pair {
    fn new(way: &'static Way, weirgate: &Server, cores: Cores) -> Result<Pair> {
        let protocol = way.protocol;
        let data: Vec<u8> = (0..WIDTH).flat_map(|i| (i as f32 * 0.5 - 1.25).to_le_bytes()).collect();
        let input = Tensor::new("x", Datatype::Fp32, Shape::from_slice(&[1, WIDTH]), data.into()).unwrap();
        let request = InferRequest { inputs: vec![input.clone()], ..InferRequest::default() };
        let request = Request::tensors(protocol, MODEL, request)?;
        let expected = closed::runtime()?
            .block_on(async { Callers::connect(plan(weirgate.data, &request, 1)).await?.ask(0).await })?;
        assert_eq!(expected.decode()?.outputs[0].data, input.data);
        let captured = captured(protocol);
        floor::capture(&expected, &captured)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--floor").arg(captured).arg(protocol.label());
        let floor = Server::start(Some(cores.server), command, &Log::Inherit)?;
        Ok(Pair { way, request, expected, floor })
    }

    /// `callers` load one server for `time`. Every answer is compared with the expected bytes.
    fn phase(&self, server: &Server, callers: usize, time: Duration) -> Result<Sample> {
        let batches = || -> Result<f64> {
            let Some(admin) = server.admin else { return Ok(0.0) };
            Ok(process::series(&process::get(admin, "/metrics")?, "weirgate_batch_rows_count"))
        };
        closed::runtime()?.block_on(async {
            let expected = self.expected.clone();
            let plan = Plan {
                shared_connections: self.way.shared_connections,
                check: Some(Arc::new(move |_, answer| answer.body == expected.body)),
                ..plan(server.data, &self.request, callers)
            };
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

fn plan(address: SocketAddr, request: &Request, callers: usize) -> Plan {
    Plan { address, requests: Arc::new([request.clone()]), callers, shared_connections: None, check: None }
}

fn captured(protocol: Protocol) -> PathBuf {
    record::root().join("target/loadtest/noop").join(format!("answer.{}", protocol.label().replace(' ', "-")))
}

/// All samples, by way, callers and whether of the floor.
struct Table {
    callers: Vec<usize>,
    rows: Vec<(&'static Way, usize, bool, Sample)>,
}

impl Table {
    fn add(&mut self, way: &'static Way, callers: usize, floor: bool, sample: Sample) {
        self.rows.push((way, callers, floor, sample));
    }

    fn of(&self, way: &Way, callers: usize, floor: bool) -> Vec<Sample> {
        let wanted = self.rows.iter().filter(|row| (row.0.label, row.1, row.2) == (way.label, callers, floor));
        wanted.map(|row| row.3).collect()
    }

    fn spread(&self, way: &Way, callers: usize, floor: bool, field: fn(&Sample) -> f64) -> Spread {
        Spread::of(self.of(way, callers, floor).iter().map(field))
    }

    /// Ours against the floor, round by round.
    fn ratio(&self, way: &Way, callers: usize, field: fn(&Sample) -> f64) -> Spread {
        let (ours, floor) = (self.of(way, callers, false), self.of(way, callers, true));
        Spread::of(ours.iter().zip(&floor).map(|(ours, floor)| field(ours) / field(floor)))
    }

    fn print(&self) {
        println!(
            "{:<12} {:>7}  {:<22} {:<22} {:<18} {:>10} {:>7} {:>7} {:>6} {:>9}",
            "way",
            "callers",
            "server CPU µs/request",
            "floor",
            "ratio",
            "requests/s",
            "p50 µs",
            "p99 µs",
            "batch",
            "client µs"
        );
        for &callers in &self.callers {
            for way in &WAYS {
                let ours = |field: fn(&Sample) -> f64| self.spread(way, callers, false, field);
                println!(
                    "{:<12} {callers:>7}  {:<22} {:<22} {:<18} {:>10.0} {:>7.0} {:>7.0} {:>6.1} {:>9.1}",
                    way.label,
                    ours(|s| s.server_us).show(1),
                    self.spread(way, callers, true, |s| s.server_us).show(1),
                    self.ratio(way, callers, |s| s.server_us).show(1),
                    ours(|s| s.per_second).median,
                    ours(|s| s.p50_us).median,
                    ours(|s| s.p99_us).median,
                    ours(|s| s.batch).median,
                    ours(|s| s.client_us).median,
                );
            }
        }
        println!();
        for way in &WAYS {
            let cpu = self.spread(way, AT_BAR, false, |s| s.server_us).median;
            if let Some(bar) = way.bar.filter(|_| !cpu.is_nan()) {
                let verdict = if cpu <= bar { "holds" } else { "is missed" };
                println!("{:<12} {cpu:.1} µs CPU at {AT_BAR} callers: the bar of {bar:.0} {verdict}", way.label);
            }
            let alone = |floor| self.spread(way, 1, floor, |s: &Sample| s.p50_us).median;
            if !alone(false).is_nan() {
                let (ours, floor) = (alone(false), alone(true));
                println!(
                    "{:<12} {ours:.0} µs p50 for a lone caller, {:.0} more than at the floor",
                    way.label,
                    ours - floor
                );
            }
        }
    }

    fn json(&self) -> Value {
        let rows = self.rows.iter().map(|(way, callers, floor, s)| {
            json!({
                "way": way.label, "callers": callers, "server": if *floor { "floor" } else { "weirgate" },
                "server_cpu_us": s.server_us, "client_cpu_us": s.client_us, "per_second": s.per_second,
                "p50_us": s.p50_us, "p99_us": s.p99_us, "batch": s.batch,
            })
        });
        let summary = WAYS.iter().map(|way| {
            json!({
                "way": way.label, "callers": AT_BAR, "bar_us": way.bar,
                "server_cpu_us": self.spread(way, AT_BAR, false, |s| s.server_us).json(),
                "floor_cpu_us": self.spread(way, AT_BAR, true, |s| s.server_us).json(),
                "ratio": self.ratio(way, AT_BAR, |s| s.server_us).json(),
            })
        });
        json!({ "summary": summary.collect::<Vec<_>>(), "rounds": rows.collect::<Vec<_>>() })
    }
}
