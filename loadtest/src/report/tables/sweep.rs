//! The rates that were tried.

use super::{Kind, Table, at, of_all};
use crate::report::number::{self, Times};
use crate::report::verdict::Words;
use crate::result::{Sweep, SweepPoint};

/// Why that column can be near the rate offered where answers came at a lower one.
const RIGHT: &str = "right/s counts all requests that were due while it measured and answered right, however late.";

const QUANTILES: [f64; 2] = [0.5, 0.99];

/// A row for each, with what it missed.
pub fn points(sweep: &Sweep, words: &Words) -> Table {
    let runs = || sweep.points.iter().map(|point| &point.run.latency);
    let shown = runs().flat_map(|latency| QUANTILES.iter().filter_map(|q| latency.supported(*q)).chain([latency.max]));
    let times = Times::of(shown);
    let [p50, p99, max] = ["p50", "p99", "max"].map(|name| format!("{name}, {}", times.unit));
    let head = ["offered/s", "right/s", &p50, &p99, &max, "shed", "failed", words.column];
    let mut table = Table { remarks: true, ..Table::new("every rate that was tried", head) };
    for (index, point) in sweep.points.iter().enumerate() {
        let kind = match point.rate {
            rate if Some(rate) == sweep.best_rate && point.met => Kind::Best,
            _ if !point.met => Kind::Missed,
            _ => Kind::Plain,
        };
        table.row(kind, cells(point, &marks(sweep, index), words, times));
    }
    table.explain_none();
    table.notes.push(RIGHT.to_owned());
    table
}

/// What a rate is among all. Each counts as best only when it was so twice; the second time confirms it.
fn marks(sweep: &Sweep, index: usize) -> String {
    let point = &sweep.points[index];
    let same = |before: &&SweepPoint| before.rate == point.rate;
    let mut marks = String::new();
    if sweep.best_rate == Some(point.rate) && point.met {
        let again = sweep.points[..index].iter().filter(same).any(|before| before.met);
        marks += if again { " ← best, confirmed" } else { " ← best" };
    }
    if sweep.knee_rate == Some(point.rate) && !sweep.points[..index].iter().any(|before| same(&before)) {
        marks += " ← knee";
    }
    marks
}

fn cells(point: &SweepPoint, marks: &str, words: &Words, times: Times) -> [String; 8] {
    let (outcomes, latency) = (&point.run.outcomes, &point.run.latency);
    let total = outcomes.total().max(1) as f64;
    let show = |value| times.show(value);
    let mut remark = match (point.met, point.missed.is_empty()) {
        (true, _) => words.met.to_owned(),
        (false, true) => words.missed.to_owned(),
        (false, false) => point.missed.join("; "),
    };
    remark += marks;
    [
        number::number(point.rate),
        number::number(point.run.rate),
        at(latency, QUANTILES[0], show),
        at(latency, QUANTILES[1], show),
        of_all(latency, latency.max, show),
        number::share(outcomes.shed as f64 / total),
        number::share((outcomes.failed() - outcomes.shed) as f64 / total),
        remark,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;
    use crate::report::verdict;
    use crate::result::{Distribution, Findings};

    fn sweep() -> Sweep {
        let Findings::Sweep { sweep } = fixture::sweep().findings else { panic!("no sweep") };
        sweep
    }

    #[test]
    fn a_p99_on_few_values_is_left_out() {
        let mut sweep = sweep();
        sweep.points[0].run.latency = Distribution { count: 999, ..fixture::distribution(999, 1.0, 1.0) };
        sweep.points[1].run.latency = Distribution { count: 1000, ..fixture::distribution(1000, 1.0, 1.0) };
        let table = points(&sweep, &verdict::words(Some("p99<50ms")));
        assert_eq!(table.rows[0].cells[3], number::NONE);
        assert_ne!(table.rows[0].cells[4], number::NONE, "its greatest value is no guess");
        assert_ne!(table.rows[1].cells[3], number::NONE);
        assert_eq!(table.notes.len(), 2, "{:?}", table.notes);
    }

    #[test]
    fn without_an_objective_rates_keep_up_or_say_why_not() {
        let mut sweep = sweep();
        let last = sweep.points.last_mut().unwrap();
        last.missed = vec![
            "right answers came at 880/s while requests were due at 1200/s: the server does not keep up".to_owned(),
        ];
        let table = points(&sweep, &verdict::words(None));
        assert_eq!(table.rows[0].cells[7], "keeps up");
        assert!(table.rows.last().unwrap().cells[7].starts_with("right answers came at 880/s"));
    }

    #[test]
    fn the_best_rate_and_the_knee_are_marked() {
        let table = points(&sweep(), &verdict::words(Some("p99<50ms")));
        let marked = |mark: &str| table.rows.iter().filter(|row| row.cells[7].ends_with(mark)).count();
        assert_eq!((marked("met ← best"), marked("met ← knee")), (1, 1));
        assert_eq!(table.rows.iter().filter(|row| row.kind == Kind::Best).count(), 1);
        // Each rate that counts was met twice.
        let mut twice = sweep();
        let best = twice.points.iter().position(|point| Some(point.rate) == twice.best_rate).unwrap();
        twice.points.insert(best + 1, twice.points[best].clone());
        let told: Vec<_> = points(&twice, &verdict::words(Some("p99<50ms"))).rows[best..best + 2]
            .iter()
            .map(|row| row.cells[7].clone())
            .collect();
        assert_eq!(told, ["met ← best", "met ← best, confirmed"]);
    }
}
