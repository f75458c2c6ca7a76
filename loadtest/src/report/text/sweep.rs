//! A search over rates.

use super::table::{Page, Table};
use crate::report::number::{self, Times};
use crate::result::{Sweep, SweepPoint};

pub fn write(page: &mut Page, sweep: &Sweep, slo: Option<&str>) {
    let rate = |rate: f64| format!("{} requests/s", number::short(rate));
    let knee =
        sweep.knee_rate.map_or_else(|| "no knee was found".to_owned(), |knee| format!("the knee is at {}", rate(knee)));
    let found = match (slo, sweep.best_rate) {
        (Some(slo), Some(best)) => format!("up to {} meet {slo}; {knee}", rate(best)),
        (Some(slo), None) => format!("NO rate that was tried meets {slo}; {knee}"),
        (None, _) => knee,
    };
    page.sentence("", &found);
    if !sweep.ended.is_empty() {
        page.sentence("", &format!("it ended: {}", sweep.ended));
    }
    page.blank();

    let values = sweep.points.iter().flat_map(|point| [0.5, 0.99].map(|q| point.run.latency.at(q))).flatten();
    let times = Times::of(values);
    let (p50, p99) = (format!("p50, {}", times.unit), format!("p99, {}", times.unit));
    let mut table = Table::new(["offered/s", "right/s", &p50, &p99, "shed", "failed", "objective"]).with_remarks();
    for point in &sweep.points {
        table.row(cells(point, sweep, slo.is_some(), times));
    }
    page.table(&table);
}

fn cells(point: &SweepPoint, sweep: &Sweep, judged: bool, times: Times) -> [String; 7] {
    let outcomes = &point.run.outcomes;
    let total = outcomes.total().max(1) as f64;
    let at = |q| point.run.latency.at(q).map_or_else(|| number::NONE.to_owned(), |value| times.show(value));
    let mut remark = match (judged, point.met) {
        (false, _) => String::new(),
        (true, true) => "met".to_owned(),
        (true, false) => point.missed.join("; "),
    };
    for (name, rate) in [("best", sweep.best_rate), ("knee", sweep.knee_rate)] {
        if rate == Some(point.rate) {
            remark += &format!("  <- {name}");
        }
    }
    [
        number::number(point.rate),
        number::number(point.run.rate),
        at(0.5),
        at(0.99),
        number::share(outcomes.shed as f64 / total),
        number::share((outcomes.failed() - outcomes.shed) as f64 / total),
        remark,
    ]
}
