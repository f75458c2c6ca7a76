//! What does a call cost that is passed on to somebody else's server, against nginx and HAProxy?
//!
//! The numbers that matter: CPU time of the proxy per chat in JSON at 16 callers, at most 1.35 times nginx's, and per chunk
//! of a streamed one, at most 1.15 times. Beside them what a lone caller waits longer than without a proxy, and the memory
//! that 1,000 idle streams take.
//!
//! Weirgate has everything on that is on by default, and routes by the `model` in the body between two services. nginx and
//! HAProxy keep their connections, write no log and decide nothing; nginx passes pieces on as they come. The floor is a bare
//! hyper proxy. All pass to the same server, which answers each chat alike: whole, or in 64 chunks, one each millisecond.
//!
//! The machine: the proxy on one core, callers and upstream on another. Rounds of all alternate, in changing order; medians
//! and spreads are over rounds, ratios are taken within a round. `scripts/setup-rivals` installs nginx and HAProxy; one that
//! is not there is left out.
//!
//! `WEIRGATE_BENCH_ROUNDS` (5), `WEIRGATE_BENCH_SECONDS` (3) and `WEIRGATE_BENCH_STREAMS` (1,000) change how long it takes.

#![allow(clippy::unwrap_used)]

mod floor;
mod phases;
mod rivals;
mod table;

use std::time::Duration;

use weirgate_loadtest::process::{self, Cores};
use weirgate_loadtest::synthetic::{Behaviour, Synthetic, Tokens};
use weirgate_loadtest::{Result, record};

use self::phases::{CHUNKS, Way};
use self::rivals::Rival;
use self::table::Table;

/// Between two chunks.
const GAP: Duration = Duration::from_millis(1);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, upstream] = &arguments[..]
        && flag == "--proxy"
    {
        return floor::serve(upstream.parse().unwrap());
    }
    let rounds = record::number("WEIRGATE_BENCH_ROUNDS", 5.0) as usize;
    let time = Duration::from_secs_f64(record::number("WEIRGATE_BENCH_SECONDS", 3.0));
    let streams = record::number("WEIRGATE_BENCH_STREAMS", 1_000.0) as usize;
    let machine = record::machine();
    println!("proxy: {rounds} rounds of {time:?}; commit {}\nmachine: {machine}\n", record::commit());
    for rival in Rival::ALL.into_iter().filter(|rival| !rival.is_installed()) {
        println!("{} is not installed and left out: run scripts/setup-rivals, or make build", rival.label());
    }

    let cores = Cores::pick()?;
    process::pin(cores.client)?;
    let mut behaviour = Behaviour::constant(Duration::ZERO);
    behaviour.tokens = Tokens { count: CHUNKS, gap: GAP };
    let streaming = Synthetic::start(behaviour.clone())?;
    // Not streamed, all tokens are waited for: a whole answer comes from a server whose tokens take no time.
    behaviour.tokens.gap = Duration::ZERO;
    let whole = Synthetic::start(behaviour.clone())?;
    behaviour.tokens = Tokens { count: 2, gap: Duration::from_secs(3_600) };
    let idle = Synthetic::start(behaviour)?;

    let mut table = Table::default();
    let installed: Vec<Rival> = Rival::ALL.into_iter().filter(|rival| rival.is_installed()).collect();
    for rival in &installed {
        table.idle.push((*rival, phases::memory(*rival, &idle, streams, cores)?));
    }
    let start = |upstream: &Synthetic, name: &str| -> Result<Vec<_>> {
        installed.iter().map(|rival| Ok((*rival, rival.start(name, upstream.address(), cores.server)?))).collect()
    };
    let (whole_behind, streaming_behind) = (start(&whole, "proxy-whole")?, start(&streaming, "proxy-stream")?);
    for round in 0..rounds {
        for way in Way::ALL {
            let (direct, behind) =
                if way == Way::Stream { (&streaming, &streaming_behind) } else { (&whole, &whole_behind) };
            if way == Way::Lone {
                table.direct.push(phases::direct(direct.address(), time / 2)?);
            }
            // Each goes first in its turn, so that a drift of the machine favours nobody.
            for turn in 0..behind.len() {
                let (rival, server) = &behind[(round + turn) % behind.len()];
                table.rows.push((way, *rival, phases::load(way, server, time)?));
            }
        }
        eprintln!("round {} of {rounds} done", round + 1);
    }
    table.print();
    record::write("proxy", &machine, &table.json())
}
