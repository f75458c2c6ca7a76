//! How fast is `weirgate loadtest`, against wrk (HTTP/1.1) and h2load (HTTP/2), and do they measure the same?
//!
//! The number that matters: requests/s on one core against a server that answers with fixed bytes, at least 0.8 times
//! wrk's. Beside it the CPU time of the client per request, which also counts where the server is the limit: a client
//! that kept its core busy for less than all of the time waited for the server, and is told. And the latencies, as ours and
//! wrk tell them.
//!
//! The machine: client on one core, server on another, each rival a process of its own, with its start and end in its CPU
//! time. Ours is the real command (`WEIRGATE_BIN`), with all it measures. Rounds of the rivals alternate, in changing order;
//! medians and spreads are over rounds. `apt-get install wrk nghttp2-client` brings the rivals; a protocol whose rival is not
//! there is left out.
//!
//! `WEIRGATE_BENCH_ROUNDS` (5), `WEIRGATE_BENCH_SECONDS` (3) and `WEIRGATE_BENCH_CONNECTIONS` (16,64) change how long it
//! takes.

#![allow(clippy::unwrap_used)]

mod rivals;
mod stub;

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use weirgate_loadtest::process::{Cores, Log, Server, spawn_on};
use weirgate_loadtest::request::{Protocol, Request, framed};
use weirgate_loadtest::stats::Spread;
use weirgate_loadtest::{Result, floor, record};
use weirgate_protocol::{oip, v2};

use self::rivals::{Load, Measured, Rival};

const PROTOCOLS: [Protocol; 2] = [Protocol::V2, Protocol::Grpc];
const CONNECTIONS: &str = "16,64";
/// Of wrk's requests/s.
const BAR: f64 = 0.8;
/// A client that used less of its core waited for the server.
const BUSY: f64 = 0.95;
/// What is asked: Identity of FP32 [1, 8], as the load tester is given it.
const ASKED: &str =
    r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,8],"data":[-1.25,-0.75,-0.25,0.25,0.75,1.25,1.75,2.25]}]}"#;
/// What the server says.
const BODY: &str = r#"{"model_name":"identity","model_version":"1","outputs":[{"name":"y","datatype":"FP32","shape":[1,8],"data":[-1.25,-0.75,-0.25,0.25,0.75,1.25,1.75,2.25]}]}"#;

/// One run of a rival.
#[derive(Clone, Copy)]
struct Sample {
    per_second: f64,
    cpu_us: f64,
    /// Share of its core.
    busy: f64,
    p50_us: Option<f64>,
    p99_us: Option<f64>,
}

struct Row {
    protocol: Protocol,
    connections: usize,
    rival: Rival,
    sample: Sample,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if let ["--stub", protocol] = &arguments.iter().map(String::as_str).collect::<Vec<_>>()[1..] {
        return serve(known(protocol));
    }
    if !record::binary().is_file() {
        return Err(std::io::Error::other(format!("{}: not there: build it first", record::binary().display())));
    }
    let rounds = record::number("WEIRGATE_BENCH_ROUNDS", 5.0) as usize;
    let seconds = record::number("WEIRGATE_BENCH_SECONDS", 3.0).max(1.0) as u32;
    let machine = record::machine();
    println!("client: {rounds} rounds of {seconds} s; commit {}\nmachine: {machine}\n", record::commit());
    let connections = std::env::var("WEIRGATE_BENCH_CONNECTIONS").unwrap_or_else(|_| CONNECTIONS.to_owned());
    let connections: Vec<usize> = connections.split(',').map(|number| number.trim().parse().unwrap()).collect();

    let cores = Cores::pick()?;
    let mut rows = Vec::new();
    for protocol in PROTOCOLS {
        let rival = Rival::of(protocol);
        if !rival.is_installed() {
            println!("{} is not installed: {protocol} is left out", rival.label());
            continue;
        }
        let mut stub = Command::new(std::env::current_exe()?);
        stub.arg("--stub").arg(protocol.label());
        let stub = Server::start(Some(cores.server), stub, &Log::Inherit)?;
        let request = request(protocol)?;
        for round in 0..rounds {
            for &connections in &connections {
                let load = Load { address: stub.data, request: &request, json: ASKED, connections, seconds };
                // The two take turns in going first, so that a drift of the machine favours neither.
                let order = if round % 2 == 0 { [Rival::Ours, rival] } else { [rival, Rival::Ours] };
                for rival in order {
                    rows.push(Row { protocol, connections, rival, sample: run(rival, &load, cores.client)? });
                }
            }
            eprintln!("{protocol}: round {} of {rounds} done", round + 1);
        }
    }
    let summary = summary(&connections, &rows);
    let rows = rows.iter().map(|Row { protocol, connections, rival, sample }| {
        json!({
            "protocol": protocol, "connections": connections, "client": rival.label(),
            "per_second": sample.per_second, "cpu_us": sample.cpu_us, "busy": sample.busy, "p50_us": sample.p50_us, "p99_us": sample.p99_us,
        })
    });
    record::write("client", &machine, &json!({ "summary": summary, "rounds": rows.collect::<Vec<_>>() }))
}

fn known(protocol: &str) -> Protocol {
    PROTOCOLS.into_iter().find(|known| known.label() == protocol).unwrap()
}

fn request(protocol: Protocol) -> Result<Request> {
    let tensors =
        v2::decode_request(&bytes::Bytes::from_static(ASKED.as_bytes()), None).map_err(std::io::Error::other)?;
    Request::tensors(protocol, "identity", tensors)
}

fn serve(protocol: Protocol) -> Result<()> {
    if protocol == Protocol::V2 {
        let length = BODY.len();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
        return stub::serve(format!("{head}{BODY}").as_bytes());
    }
    // HTTP/2 has no shortcut: frames and compressed heads are to be read and written.
    let captured = rivals::folder()?.join("answer");
    let answer =
        v2::decode_response(&bytes::Bytes::from_static(BODY.as_bytes()), None).map_err(std::io::Error::other)?;
    let message = framed(&oip::encode_response(answer, true).map_err(std::io::Error::other)?)?;
    std::fs::write(&captured, [b"content-type application/grpc\n\n", &message[..]].concat())?;
    floor::serve(&captured, protocol)
}

/// One run of a rival as a child process on `core`.
fn run(rival: Rival, load: &Load<'_>, core: usize) -> Result<Sample> {
    let folder = rivals::folder()?;
    let mut command = rival.command(load, &folder)?;
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let before = children_cpu_time()?;
    let output = spawn_on(Some(core), command)?.wait_with_output()?;
    let cpu = (children_cpu_time()? - before).as_secs_f64();
    let Measured { answered, seconds, p50_us, p99_us } =
        rival.measured(&String::from_utf8_lossy(&output.stdout), &folder)?;
    Ok(Sample { per_second: answered / seconds, cpu_us: cpu * 1e6 / answered, busy: cpu / seconds, p50_us, p99_us })
}

/// CPU time of all children that have ended: exact to a hundredth of a second.
fn children_cpu_time() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name, in brackets, can have spaces in it; `cutime` and `cstime` are the 14th and 15th fields after it.
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields.split_ascii_whitespace()).unwrap();
    let ticks: u64 = fields.skip(13).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    Ok(Duration::from_secs(ticks) / rustix::param::clock_ticks_per_second() as u32)
}

fn summary(connections: &[usize], rows: &[Row]) -> Vec<Value> {
    println!(
        "\n{:<9} {:>11}  {:<8} {:<27} {:<19} {:>5}  {:<18} {:<18} {:<21} {:<21}",
        "protocol",
        "connections",
        "client",
        "requests/s",
        "CPU µs/request",
        "busy",
        "rate ratio",
        "CPU ratio",
        "p50 µs",
        "p99 µs"
    );
    let mut summary = Vec::new();
    for protocol in PROTOCOLS {
        for &connections in connections {
            let of = |rival: Rival| {
                let row =
                    move |row: &&Row| (row.protocol, row.connections, row.rival) == (protocol, connections, rival);
                rows.iter().filter(row).map(|row| row.sample).collect::<Vec<Sample>>()
            };
            let (ours, theirs) = (of(Rival::Ours), of(Rival::of(protocol)));
            if ours.is_empty() {
                continue;
            }
            // Round by round.
            let ratio = |field: fn(&Sample) -> f64| {
                Spread::of(ours.iter().zip(&theirs).map(|(ours, theirs)| field(ours) / field(theirs)))
            };
            let (rate, cpu) = (ratio(|s| s.per_second), ratio(|s| s.cpu_us));
            for (rival, samples) in [(Rival::Ours, &ours), (Rival::of(protocol), &theirs)] {
                let spread = |field: fn(&Sample) -> f64| Spread::of(samples.iter().map(field));
                let ratios = if rival == Rival::Ours { [rate.show(2), cpu.show(2)] } else { Default::default() };
                println!(
                    "{:<9} {connections:>11}  {:<8} {:<27} {:<19} {:>5.2}  {:<18} {:<18} {:<21} {:<21}",
                    protocol.label(),
                    rival.label(),
                    spread(|s| s.per_second).show(0),
                    spread(|s| s.cpu_us).show(2),
                    spread(|s| s.busy).median,
                    ratios[0],
                    ratios[1],
                    latency(samples, |s| s.p50_us),
                    latency(samples, |s| s.p99_us),
                );
            }
            let waited = ours.iter().chain(&theirs).any(|sample| sample.busy < BUSY);
            if waited {
                println!("{:<21}  in some rounds a client was not the limit: go by CPU time", "");
            }
            if protocol == Protocol::V2 {
                let verdict = if rate.median >= BAR { "holds" } else { "is missed" };
                println!("{:<21}  {:.2} times wrk's rate: the bar of {BAR} {verdict}", "", rate.median);
            }
            summary.push(json!({
                "protocol": protocol, "connections": connections, "against": Rival::of(protocol).label(),
                "rate_ratio": rate.json(), "cpu_ratio": cpu.json(), "waited": waited,
            }));
        }
    }
    summary
}

/// The spread over rounds, where the client tells it.
fn latency(samples: &[Sample], field: fn(&Sample) -> Option<f64>) -> String {
    let told: Option<Vec<f64>> = samples.iter().map(field).collect();
    told.map_or_else(String::new, |told| Spread::of(told).show(0))
}
