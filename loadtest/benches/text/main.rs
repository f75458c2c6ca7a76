//! How fast is a language model served, beside llama.cpp's own server on the same file?
//!
//! The numbers that matter: processor time per prompt token and per token of an answer, of the whole server. The bars are half of
//! llama.cpp's speed in decodes, and all of it in prompts. Beside them tokens a second, how long a newcomer waits for its first
//! token while others are answered, and memory.
//!
//! The model is SmolLM2-135M-Instruct in Q4_1. Each server computes with one thread, on one core that it shares with its own
//! HTTP; callers are on another. Prompts are tokens, no two alike, so that no cache of prompts helps. Rounds of both alternate, in
//! changing order; medians and spreads are over rounds, ratios are taken within a round.
//!
//! `WEIRGATE_FOREIGN_PYTHON` names a Python with the package xllamacpp; without it Weirgate is measured alone.
//! `WEIRGATE_BENCH_ROUNDS` (3) and `WEIRGATE_BENCH_SECONDS` (5) change how long it takes.

#![allow(clippy::unwrap_used)]

mod phases;
mod rivals;
mod table;

use std::time::Duration;

use weirgate_loadtest::process::{self, Cores};
use weirgate_loadtest::{Result, record};

use self::phases::Phase;
use self::rivals::Rival;
use self::table::Table;

fn main() -> Result<()> {
    let rounds = record::number("WEIRGATE_BENCH_ROUNDS", 3.0) as usize;
    let time = Duration::from_secs_f64(record::number("WEIRGATE_BENCH_SECONDS", 5.0));
    let machine = record::machine();
    println!("text: {rounds} rounds of {time:?}; commit {}\nmachine: {machine}\n", record::commit());
    let cores = Cores::pick()?;
    process::pin(cores.client)?;
    let known: Vec<Rival> = Rival::ALL.into_iter().filter(|rival| rival.is_there()).collect();
    if known.len() < Rival::ALL.len() {
        println!("llama.cpp is left out: no Python with xllamacpp at WEIRGATE_FOREIGN_PYTHON\n");
    }
    let mut table = Table::default();
    let mut servers = Vec::new();
    for rival in known {
        let server = rival.start(cores.server)?;
        table.memory.push((rival, "loaded", server.memory()?.resident));
        servers.push((rival, server));
    }
    for round in 0..rounds {
        for phase in Phase::ALL {
            // Each goes first in its turn, so that a drift of the machine favours nobody.
            for turn in 0..servers.len() {
                let (rival, server) = &servers[(round + turn) % servers.len()];
                let sample = phases::run(phase, server, round, time);
                let sample = sample.map_err(|error| {
                    std::io::Error::other(format!("{} of {}: {error}", phase.label(), rival.label()))
                })?;
                table.rows.push((phase, *rival, sample));
            }
        }
        eprintln!("round {} of {rounds} done", round + 1);
    }
    for (rival, server) in &servers {
        table.memory.push((*rival, "at the end", server.memory()?.resident));
    }
    table.print();
    record::write("text", &machine, &table.json())
}
