//! A search over rates.

use super::chart::Caption;
use super::chart::axis::Axis;
use super::chart::plane::{Mark, Plane, Series, Shape};
use super::markup::Markup;
use super::parts::{self, Table, Tile, table};
use super::run;
use crate::report::number::{self, Times};
use crate::result::{Sweep, SweepPoint};
use crate::slo::Slo;

pub fn write(markup: &mut Markup, sweep: &Sweep, slo: Option<&str>) {
    let best = sweep.points.iter().rev().find(|point| Some(point.rate) == sweep.best_rate);
    verdict(markup, sweep, slo);
    parts::tiles(markup, &tiles(sweep, best));
    parts::charts(markup, |markup| {
        if !sweep.points.is_empty() {
            latency(sweep, slo).draw(markup);
            answers(sweep).draw(markup);
        }
    });
    parts::section(markup, "Rates", |markup| points(markup, sweep, slo.is_some()));
    if let Some(best) = best {
        let title = format!("At {}/s, the highest rate that met the objective", number::short(best.rate));
        parts::section(markup, &title, |markup| run::charts(markup, &best.run));
    }
}

fn verdict(markup: &mut Markup, sweep: &Sweep, slo: Option<&str>) {
    let Some(slo) = slo else { return };
    let ended = (!sweep.ended.is_empty()).then(|| sweep.ended.clone());
    let reasons: Vec<String> = ended.into_iter().collect();
    match sweep.best_rate {
        Some(best) => {
            let sentence = format!("Up to {} requests a second meet {slo}", number::short(best));
            parts::banner(markup, "met", "✓", &sentence, &reasons);
        }
        None => parts::banner(markup, "missed", "✗", &format!("No rate that was tried meets {slo}"), &reasons),
    }
}

fn tiles(sweep: &Sweep, best: Option<&SweepPoint>) -> Vec<Tile> {
    let rate =
        |rate: Option<f64>| rate.map_or_else(|| number::NONE.to_owned(), |rate| format!("{} /s", number::number(rate)));
    let most = sweep.points.iter().map(|point| point.run.rate).reduce(f64::max);
    let missed = sweep.failed_rate.map_or_else(String::new, |missed| format!("missed from {}", rate(Some(missed))));
    let mut tiles = vec![
        Tile::new("Meets the objective", &rate(sweep.best_rate), missed),
        Tile::new("Knee", &rate(sweep.knee_rate), "latency begins to climb"),
        Tile::new("Most right answers", &rate(most), "at any rate tried"),
    ];
    if let Some((best, p99)) = best.and_then(|best| Some((best, best.run.latency.at(0.99)?))) {
        let p50 = best.run.latency.at(0.5).map_or_else(String::new, |p50| format!("p50 {}", number::time(p50)));
        tiles.push(Tile::new("p99 at that rate", &number::time(p99), p50));
    }
    tiles
}

/// The rates that matter, as marks.
fn marks(sweep: &Sweep) -> Vec<Mark> {
    let mark =
        |at, name: &str, class| Mark { at, upright: true, name: format!("{name} {}/s", number::short(at)), class };
    let knee = sweep.knee_rate.map(|at| mark(at, "knee", "calm"));
    let best = sweep.best_rate.map(|at| mark(at, "meets the objective", "good"));
    let failed = sweep.failed_rate.map(|at| mark(at, "misses it", "bad"));
    [knee, best, failed].into_iter().flatten().collect()
}

fn offered(sweep: &Sweep) -> Axis {
    Axis::from_zero("offered, requests a second", sweep.points.iter().map(|point| point.rate), |rate| {
        format!("{} /s offered", number::number(rate))
    })
}

fn latency(sweep: &Sweep, slo: Option<&str>) -> Plane {
    let of = |q| move |point: &SweepPoint| (point.rate, point.run.latency.at(q));
    let missed = sweep.points.iter().filter(|point| !point.met).map(of(0.99));
    let mut series = vec![
        Series::new("p99", "c2", Shape::Line, sweep.points.iter().map(of(0.99))),
        Series::new("p50", "c1", Shape::Line, sweep.points.iter().map(of(0.5))),
    ];
    if sweep.points.iter().any(|point| !point.met) {
        series.push(Series::new("objective missed", "bad", Shape::Rings, missed));
    }
    let limits = slo.and_then(|slo| slo.parse::<Slo>().ok()).map(|slo| slo.latency_limits()).unwrap_or_default();
    let values = series.iter().flat_map(Series::values).chain(limits.iter().map(|(_, limit)| *limit));
    let y = Axis::log_times("latency", values);
    let limits = limits.into_iter().map(|(name, at)| Mark { at, upright: false, name, class: "calm" });
    let marks = marks(sweep).into_iter().chain(limits).collect();
    let about = "Of right answers, from when each was due, by the rate that was offered.".to_owned();
    let caption = Caption { id: "sweep-latency", title: "Latency by rate", about };
    Plane { caption, x: offered(sweep), y, series, bands: Vec::new(), marks }
}

fn answers(sweep: &Sweep) -> Plane {
    let failed = |point: &SweepPoint| (point.run.due_rate - point.run.rate).max(0.0);
    let series = vec![
        Series::new("offered", "calm", Shape::Dashed, sweep.points.iter().map(|point| (point.rate, Some(point.rate)))),
        Series::new(
            "answered right",
            "c1",
            Shape::Line,
            sweep.points.iter().map(|point| (point.rate, Some(point.run.rate))),
        ),
        Series::new(
            "not answered right",
            "bad",
            Shape::Line,
            sweep.points.iter().map(|point| (point.rate, Some(failed(point)))),
        ),
    ];
    let y = Axis::from_zero("requests a second", series.iter().flat_map(Series::values), |rate| {
        format!("{} /s", number::number(rate))
    });
    let about = "Where the curve leaves the dashed line, more load gives no more answers.".to_owned();
    let caption = Caption { id: "sweep-answers", title: "Answers by rate", about };
    Plane { caption, x: offered(sweep), y, series, bands: Vec::new(), marks: marks(sweep) }
}

/// A table of them; without an objective nothing is said of one.
fn points(markup: &mut Markup, sweep: &Sweep, judged: bool) {
    const COLUMNS: [f64; 2] = [0.5, 0.99];
    let values = sweep.points.iter().flat_map(|point| COLUMNS.iter().filter_map(|q| point.run.latency.at(*q)));
    let times = Times::of(values);
    let rows = sweep
        .points
        .iter()
        .map(|point| {
            let outcomes = &point.run.outcomes;
            let at = |q| point.run.latency.at(q).map_or_else(|| number::NONE.to_owned(), |value| times.show(value));
            let class = match point.rate {
                rate if Some(rate) == sweep.best_rate => "best",
                _ if !point.met => "not",
                _ => "",
            };
            let cells = vec![
                number::number(point.rate),
                number::number(point.run.rate),
                at(0.5),
                at(0.99),
                number::share(outcomes.shed as f64 / outcomes.total().max(1) as f64),
                number::share((outcomes.failed() - outcomes.shed) as f64 / outcomes.total().max(1) as f64),
                match (judged, point.met) {
                    (false, _) => number::NONE.to_owned(),
                    (true, true) => "met".to_owned(),
                    (true, false) => point.missed.join("; "),
                },
            ];
            (class, cells)
        })
        .collect();
    let (p50, p99) = (format!("p50, {}", times.unit), format!("p99, {}", times.unit));
    let head = ["offered /s", "right /s", &p50, &p99, "shed", "failed", "objective"];
    table(markup, &Table { caption: "Every rate that was tried", head: &head, rows, remarks: true });
}
