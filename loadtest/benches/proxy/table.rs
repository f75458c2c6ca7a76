//! What was measured, and whether the bars hold.

use serde_json::{Value, json};
use weirgate_loadtest::stats::Spread;

use super::phases::{Sample, Way};
use super::rivals::Rival;

/// Of nginx's CPU time.
const BARS: [(Way, f64); 2] = [(Way::Json, 1.35), (Way::Stream, 1.15)];

#[derive(Default)]
pub struct Table {
    pub rows: Vec<(Way, Rival, Sample)>,
    /// Medians of a lone caller without a proxy, one for each round.
    pub direct: Vec<f64>,
    /// Bytes for each idle stream.
    pub idle: Vec<(Rival, f64)>,
}

impl Table {
    fn of(&self, way: Way, rival: Rival) -> Vec<Sample> {
        self.rows.iter().filter(|row| (row.0, row.1) == (way, rival)).map(|row| row.2).collect()
    }

    fn spread(&self, way: Way, rival: Rival, field: fn(&Sample) -> f64) -> Spread {
        Spread::of(self.of(way, rival).iter().map(field))
    }

    /// One's CPU time against another's, round by round.
    fn ratio(&self, way: Way, rival: Rival, other: Rival) -> Spread {
        let (ours, theirs) = (self.of(way, rival), self.of(way, other));
        Spread::of(ours.iter().zip(&theirs).map(|(ours, theirs)| ours.cpu_us / theirs.cpu_us))
    }

    /// What a lone caller waits longer than without a proxy, in µs, round by round.
    fn added(&self, rival: Rival) -> Spread {
        let lone = self.of(Way::Lone, rival);
        Spread::of(lone.iter().zip(&self.direct).map(|(sample, direct)| sample.p50_us - direct))
    }

    pub fn print(&self) {
        println!(
            "\n{:<15} {:<11} {:<24} {:<20} {:>10} {:>8}",
            "what", "proxy", "proxy CPU µs", "of nginx's", "calls/s", "p50 µs"
        );
        for way in Way::ALL {
            for rival in Rival::ALL {
                if self.of(way, rival).is_empty() {
                    continue;
                }
                let spread = |field: fn(&Sample) -> f64| self.spread(way, rival, field);
                let ratio = self.ratio(way, rival, Rival::Nginx);
                println!(
                    "{:<15} {:<11} {:<24} {:<20} {:>10.0} {:>8.0}",
                    way.label(),
                    rival.label(),
                    spread(|s| s.cpu_us).show(2),
                    if ratio.median.is_nan() { String::new() } else { ratio.show(2) },
                    spread(|s| s.per_second).median,
                    spread(|s| s.p50_us).median,
                );
            }
        }
        println!("\n{:<11} {:<24} {:>16}", "proxy", "added to a lone p50, µs", "KiB/idle stream");
        for (rival, bytes) in &self.idle {
            println!("{:<11} {:<24} {:>16.1}", rival.label(), self.added(*rival).show(1), bytes / 1024.0);
        }
        println!("without one: a lone p50 of {} µs", Spread::of(self.direct.iter().copied()).show(1));
        for (way, bar) in BARS {
            let ratio = self.ratio(way, Rival::Weirgate, Rival::Nginx).median;
            if !ratio.is_nan() {
                let verdict = if ratio <= bar { "holds" } else { "is missed" };
                println!("{}: {ratio:.2} times nginx's CPU time: the bar of {bar} {verdict}", way.label());
            }
        }
    }

    pub fn json(&self) -> Value {
        let rounds = self.rows.iter().map(|(way, rival, sample)| {
            json!({
                "what": way.label(), "proxy": rival.label(), "cpu_us": sample.cpu_us,
                "per_second": sample.per_second, "p50_us": sample.p50_us,
            })
        });
        let ratios = BARS.iter().flat_map(|(way, bar)| {
            Rival::ALL.into_iter().filter(|rival| *rival != Rival::Weirgate).map(move |rival| {
                json!({
                    "what": way.label(), "against": rival.label(), "bar": (rival == Rival::Nginx).then_some(bar),
                    "cpu_ratio": self.ratio(*way, Rival::Weirgate, rival).json(),
                })
            })
        });
        let idle = self.idle.iter().map(|(rival, bytes)| {
            json!({"proxy": rival.label(), "bytes_per_stream": bytes, "added_p50_us": self.added(*rival).json()})
        });
        json!({
            "ratios": ratios.collect::<Vec<_>>(), "idle": idle.collect::<Vec<_>>(), "direct_p50_us": self.direct,
            "rounds": rounds.collect::<Vec<_>>(),
        })
    }
}
