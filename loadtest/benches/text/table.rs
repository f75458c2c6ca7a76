//! What was measured, and whether the bars hold.

use serde_json::{Value, json};
use weirgate_loadtest::process::Memory;
use weirgate_loadtest::stats::Spread;

use super::phases::{Phase, Sample};
use super::rivals::Rival;

#[derive(Default)]
pub struct Table {
    pub rows: Vec<(Phase, Rival, Sample)>,
    /// Resident bytes, and when.
    pub memory: Vec<(Rival, &'static str, u64)>,
}

impl Table {
    fn of(&self, phase: Phase, rival: Rival) -> Vec<Sample> {
        self.rows.iter().filter(|row| (row.0, row.1) == (phase, rival)).map(|row| row.2).collect()
    }

    fn spread(&self, phase: Phase, rival: Rival, field: fn(&Sample) -> f64) -> Spread {
        Spread::of(self.of(phase, rival).iter().map(field))
    }

    /// How many times llama.cpp's time is of ours, round by round: of the processor's, and of a call's.
    fn ratio(&self, phase: Phase, field: fn(&Sample) -> f64) -> Spread {
        let (ours, theirs) = (self.of(phase, Rival::Weirgate), self.of(phase, Rival::LlamaCpp));
        Spread::of(ours.iter().zip(&theirs).map(|(ours, theirs)| field(theirs) / field(ours)))
    }

    pub fn print(&self) {
        println!(
            "\n{:<32} {:<10} {:<24} {:<24} {:>10} {:>10}",
            "what", "server", "CPU µs/token", "llama.cpp's to ours", "tokens/s", "p50 ms"
        );
        for phase in Phase::ALL {
            for rival in Rival::ALL {
                let samples = self.of(phase, rival);
                if samples.is_empty() {
                    continue;
                }
                let has_cpu = samples.iter().all(|sample| sample.cpu_us.is_some());
                let cpu = |sample: &Sample| sample.cpu_us.unwrap_or(f64::NAN);
                let ratio = if has_cpu { self.ratio(phase, cpu) } else { self.ratio(phase, |sample| sample.p50_ms) };
                let shown = rival == Rival::Weirgate && !ratio.median.is_nan();
                println!(
                    "{:<32} {:<10} {:<24} {:<24} {:>10.0} {:>10.1}",
                    phase.label(),
                    rival.label(),
                    if has_cpu { self.spread(phase, rival, cpu).show(1) } else { String::new() },
                    if shown { ratio.show(2) } else { String::new() },
                    self.spread(phase, rival, |sample| sample.tokens_per_second).median,
                    self.spread(phase, rival, |sample| sample.p50_ms).median,
                );
            }
        }
        for (rival, when, bytes) in &self.memory {
            println!("{}, {when}: {:.0} MiB resident", rival.label(), Memory::mib(*bytes));
        }
    }

    pub fn json(&self) -> Value {
        let rounds = self.rows.iter().map(|(phase, rival, sample)| {
            json!({
                "what": phase.label(), "server": rival.label(), "cpu_us_per_token": sample.cpu_us,
                "tokens_per_second": sample.tokens_per_second, "p50_ms": sample.p50_ms,
            })
        });
        let memory = self
            .memory
            .iter()
            .map(|(rival, when, bytes)| json!({"server": rival.label(), "when": when, "resident": bytes}));
        json!({"rounds": rounds.collect::<Vec<_>>(), "memory": memory.collect::<Vec<_>>()})
    }
}
