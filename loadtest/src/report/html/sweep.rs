//! A search over rates.

use super::chart::Caption;
use super::chart::axis::Axis;
use super::chart::plane::{Mark, Plane, Series, Shape};
use super::markup::Markup;
use super::parts::{self, Tile};
use super::run;
use crate::report::verdict::{self, Words};
use crate::report::{number, tables};
use crate::result::{Sweep, SweepPoint};
use crate::slo::Slo;

pub fn write(markup: &mut Markup, sweep: &Sweep, slo: Option<&str>) {
    let best = sweep.points.iter().rev().find(|point| Some(point.rate) == sweep.best_rate);
    let words = verdict::words(slo);
    parts::tiles(markup, &tiles(sweep, best, &words));
    parts::charts(markup, |markup| {
        if !sweep.points.is_empty() {
            latency(sweep, slo, &words).draw(markup);
            answers(sweep, &words).draw(markup);
        }
    });
    parts::section(markup, "Rates", |markup| parts::table(markup, &tables::sweep::points(sweep, &words)));
    if let Some(best) = best {
        let title = format!("At {}/s, the highest rate that {}", number::short(best.rate), words.best);
        parts::section(markup, &title, |markup| run::charts(markup, &best.run));
    }
}

fn tiles(sweep: &Sweep, best: Option<&SweepPoint>, words: &Words) -> Vec<Tile> {
    let rate =
        |rate: Option<f64>| rate.map_or_else(|| number::NONE.to_owned(), |rate| format!("{} /s", number::number(rate)));
    let most = sweep.points.iter().map(|point| point.run.rate).reduce(f64::max);
    let missed = sweep.failed_rate.map_or_else(String::new, |missed| format!("{} {}", words.from, rate(Some(missed))));
    let mut tiles = vec![
        Tile::new(words.best, &rate(sweep.best_rate), missed),
        Tile::new("Knee", &rate(sweep.knee_rate), "latency begins to climb"),
        Tile::new("Most right answers", &rate(most), "at any rate tried"),
    ];
    if let Some(latency) = best.map(|best| &best.run.latency) {
        let p50 = tables::at(latency, 0.5, number::time);
        tiles.push(match latency.supported(0.99) {
            Some(p99) => Tile::new("Latency p99 at that rate", &number::time(p99), format!("p50 {p50}")),
            None => Tile::new("Latency p50 at that rate", &p50, format!("max {}", number::time(latency.max))),
        });
    }
    tiles
}

/// The rates that matter, as marks.
fn marks(sweep: &Sweep, words: &Words) -> Vec<Mark> {
    let mark =
        |at, name: &str, class| Mark { at, upright: true, name: format!("{name} {}/s", number::short(at)), class };
    let knee = sweep.knee_rate.map(|at| mark(at, "knee", "calm"));
    let best = sweep.best_rate.map(|at| mark(at, words.best, "good"));
    let failed = sweep.failed_rate.map(|at| mark(at, words.failed, "bad"));
    [knee, best, failed].into_iter().flatten().collect()
}

fn offered(sweep: &Sweep) -> Axis {
    Axis::from_zero("offered, requests a second", sweep.points.iter().map(|point| point.rate), |rate| {
        format!("{} /s offered", number::number(rate))
    })
}

fn latency(sweep: &Sweep, slo: Option<&str>, words: &Words) -> Plane {
    let max = |point: &SweepPoint| Some(point.run.latency.max).filter(|_| point.run.latency.count > 0);
    let p99 = |point: &SweepPoint| point.run.latency.supported(0.99);
    let all = |value: &dyn Fn(&SweepPoint) -> Option<f64>| {
        sweep.points.iter().map(|point| (point.rate, value(point))).collect::<Vec<_>>()
    };
    let mut series = vec![
        Series::new("max", "calm", Shape::Dashed, all(&max)),
        Series::new("p99", "c2", Shape::Line, all(&p99)),
        Series::new("p50", "c1", Shape::Line, all(&|point| point.run.latency.at(0.5))),
    ];
    // Where no point has enough values there is no curve.
    series.retain(|series| series.values().next().is_some());
    if sweep.points.iter().any(|point| !point.met) {
        let missed = all(&|point| p99(point).or(max(point)).filter(|_| !point.met));
        series.push(Series::new(words.legend, "bad", Shape::Rings, missed));
    }
    let limits = slo.and_then(|slo| slo.parse::<Slo>().ok()).map(|slo| slo.latency_limits()).unwrap_or_default();
    let values = series.iter().flat_map(Series::values).chain(limits.iter().map(|(_, limit)| *limit));
    let y = Axis::log_times("latency", values);
    let limits = limits.into_iter().map(|(name, at)| Mark { at, upright: false, name, class: "calm" });
    let marks = marks(sweep, words).into_iter().chain(limits).collect();
    let about = "Of right answers, from when each was due, by the rate that was offered.".to_owned();
    let caption = Caption { id: "sweep-latency", title: "Latency by rate", about };
    Plane { caption, x: offered(sweep), y, series, bands: Vec::new(), marks }
}

fn answers(sweep: &Sweep, words: &Words) -> Plane {
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
    Plane { caption, x: offered(sweep), y, series, bands: Vec::new(), marks: marks(sweep, words) }
}
