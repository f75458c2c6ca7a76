//! The rates that were tried.

use super::{Kind, Table, at, of_all};
use crate::report::number::{self, Times};
use crate::report::verdict::Words;
use crate::result::{Sweep, SweepPoint};

const QUANTILES: [f64; 2] = [0.5, 0.99];

/// A row for each, with what it missed.
pub fn points(sweep: &Sweep, words: &Words) -> Table {
    let runs = || sweep.points.iter().map(|point| &point.run.latency);
    let shown = runs().flat_map(|latency| QUANTILES.iter().filter_map(|q| latency.supported(*q)).chain([latency.max]));
    let times = Times::of(shown);
    let [p50, p99, max] = ["p50", "p99", "max"].map(|name| format!("{name}, {}", times.unit));
    let head = ["offered/s", "right/s", &p50, &p99, &max, "shed", "failed", words.column];
    let mut table = Table { remarks: true, ..Table::new("every rate that was tried", head) };
    for point in &sweep.points {
        let kind = match point.rate {
            rate if Some(rate) == sweep.best_rate && point.met => Kind::Best,
            _ if !point.met => Kind::Missed,
            _ => Kind::Plain,
        };
        table.row(kind, cells(point, sweep, words, times));
    }
    table.explain_none();
    table
}

fn cells(point: &SweepPoint, sweep: &Sweep, words: &Words, times: Times) -> [String; 8] {
    let (outcomes, latency) = (&point.run.outcomes, &point.run.latency);
    let total = outcomes.total().max(1) as f64;
    let show = |value| times.show(value);
    let mut remark = match (point.met, point.missed.is_empty()) {
        (true, _) => words.met.to_owned(),
        (false, true) => words.missed.to_owned(),
        (false, false) => point.missed.join("; "),
    };
    for (name, rate) in [("best", sweep.best_rate), ("knee", sweep.knee_rate)] {
        if rate == Some(point.rate) {
            remark += &format!(" ← {name}");
        }
    }
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
        assert_eq!(table.notes.len(), 1, "{:?}", table.notes);
    }

    #[test]
    fn without_an_objective_rates_keep_up_or_say_why_not() {
        let mut sweep = sweep();
        let last = sweep.points.last_mut().unwrap();
        last.missed = vec!["880/s answered right of 1200/s due: the server does not keep up".to_owned()];
        let table = points(&sweep, &verdict::words(None));
        assert_eq!(table.rows[0].cells[7], "keeps up");
        assert!(table.rows.last().unwrap().cells[7].starts_with("880/s answered right"));
    }

    #[test]
    fn the_best_rate_and_the_knee_are_marked() {
        let table = points(&sweep(), &verdict::words(Some("p99<50ms")));
        let marked = |mark: &str| table.rows.iter().filter(|row| row.cells[7].ends_with(mark)).count();
        assert_eq!((marked("met ← best"), marked("met ← knee")), (1, 1));
        assert_eq!(table.rows.iter().filter(|row| row.kind == Kind::Best).count(), 1);
    }
}
