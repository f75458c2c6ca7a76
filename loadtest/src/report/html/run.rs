//! One load on one server.

use super::chart::Caption;
use super::chart::axis::{Axis, nines};
use super::chart::plane::{Plane, Series, Shape};
use super::chart::rows::{Row, Rows};
use super::markup::Markup;
use super::parts::{self, Tile};
use crate::report::tables::at;
use crate::report::{number, tables, verdict};
use crate::result::{Distribution, Run, ServerSide, Streams, Window, supports};

pub fn write(markup: &mut Markup, run: &Run, slo: Option<&str>) {
    parts::tiles(markup, &tiles(run, verdict::goodput(run, slo)));
    charts(markup, run);
    figures(markup, run);
}

/// All charts that the run has figures for.
pub fn charts(markup: &mut Markup, run: &Run) {
    parts::charts(markup, |markup| {
        if !run.windows.is_empty() {
            latency(run).draw(markup);
            answers(run).draw(markup);
        }
        if run.latency.count > 0 {
            percentiles(run).draw(markup);
        }
        if !run.windows.is_empty() {
            in_flight(run).draw(markup);
        }
        if let Some(streams) = &run.streams {
            parts_of_answers(streams).draw(markup);
            tokens(run).draw(markup);
        }
        if let Some(server) = run.server.as_ref().filter(|server| server.revisions.len() > 1) {
            revisions(server).draw(markup);
        }
    });
}

fn tiles(run: &Run, goodput: Option<f64>) -> Vec<Tile> {
    let at = |distribution: &Distribution, q| at(distribution, q, number::time);
    let failed = run.outcomes.failed() as f64 / run.outcomes.total().max(1) as f64;
    let mut tiles = vec![
        Tile::new(
            "Right answers",
            &format!("{} /s", number::number(run.rate)),
            format!("{} /s due", number::number(run.due_rate)),
        ),
        Tile::new("Latency p50", &at(&run.latency, 0.5), "of right answers, from when due"),
        Tile::new("Latency p99", &at(&run.latency, 0.99), format!("max {}", number::time(run.latency.max))),
        Tile::new(
            "Not answered right",
            &number::share(failed),
            format!("{} of {}", number::count(run.outcomes.failed()), number::count(run.outcomes.total())),
        ),
    ];
    if let Some(goodput) = goodput {
        tiles.push(Tile::new("Goodput", &format!("{} /s", number::number(goodput)), "right and in time"));
    }
    if let Some(streams) = &run.streams {
        tiles.push(Tile::new("First token p50", &at(&streams.ttft, 0.5), format!("p99 {}", at(&streams.ttft, 0.99))));
        tiles.push(Tile::new("Between parts p50", &at(&streams.itl, 0.5), format!("p99 {}", at(&streams.itl, 0.99))));
        let rate = format!("{} /s", number::number(streams.output_tokens_rate));
        tiles.push(Tile::new("Output tokens", &rate, format!("{} in all", number::count(streams.output_tokens))));
    }
    if let Some(overhead) = run.server.as_ref().and_then(|server| server.overhead.as_ref()) {
        tiles.push(Tile::new("Server's own time p50", &at(overhead, 0.5), format!("p99 {}", at(overhead, 0.99))));
    }
    tiles
}

fn middle(window: &Window) -> f64 {
    window.start + window.seconds / 2.0
}

fn over_time(run: &Run) -> (Axis, Vec<(f64, f64, &'static str)>) {
    let end = run.windows.last().map_or(0.0, |window| window.start + window.seconds);
    let warm = run.windows.iter().filter(|window| window.warmup).map(|window| window.start + window.seconds);
    let bands = warm.reduce(f64::max).map(|warm| (0.0, warm, "warm-up"));
    (Axis::until("seconds since the start", end, |at| format!("{at:.1} s")), bands.into_iter().collect())
}

/// Right answers in the middle one of the windows. Percentiles that so few don't support are guesses in most windows.
fn usual_answers(windows: &[Window]) -> u64 {
    let mut answers: Vec<u64> = windows.iter().map(|window| window.ok).collect();
    answers.sort_unstable();
    answers.get(answers.len() / 2).copied().unwrap_or_default()
}

fn latency(run: &Run) -> Plane {
    let of = |name, class, shape, value: fn(&Window) -> Option<f64>| {
        Series::new(name, class, shape, run.windows.iter().map(|window| (middle(window), value(window))))
    };
    let mut series = vec![of("max", "calm", Shape::Dashed, |window| window.max)];
    let answers = usual_answers(&run.windows);
    if supports(answers, 0.99) {
        series.push(of("p99", "c2", Shape::Line, |window| window.p99));
    }
    if supports(answers, 0.9) {
        series.push(of("p90", "c3", Shape::Line, |window| window.p90));
    }
    series.push(of("p50", "c1", Shape::Line, |window| window.p50));
    let (x, bands) = over_time(run);
    let y = Axis::log_times("latency", series.iter().flat_map(Series::values));
    let about = "Of right answers, from when each was due, by when they came.".to_owned();
    let caption = Caption { id: "latency", title: "Latency over time", about };
    Plane { caption, x, y, series, bands, marks: Vec::new() }
}

fn answers(run: &Run) -> Plane {
    let of = |name, class, shape, value: fn(&Window) -> u64| {
        let rate = move |window: &Window| (window.seconds > 0.0).then(|| value(window) as f64 / window.seconds);
        Series::new(name, class, shape, run.windows.iter().map(|window| (middle(window), rate(window))))
    };
    let mut series = vec![
        of("due", "calm", Shape::Dashed, |window| window.due),
        of("answered right", "c1", Shape::Steps, |window| window.ok),
    ];
    if run.windows.iter().any(|window| window.shed > 0) {
        series.push(of("shed", "c4", Shape::Steps, |window| window.shed));
    }
    if run.windows.iter().any(|window| window.failed > 0) {
        series.push(of("failed", "bad", Shape::Steps, |window| window.failed));
    }
    let (x, bands) = over_time(run);
    let y = Axis::from_zero("requests a second", series.iter().flat_map(Series::values), number::number);
    let about = "What was due, and what became of it.".to_owned();
    let caption = Caption { id: "answers", title: "Answers over time", about };
    Plane { caption, x, y, series, bands, marks: Vec::new() }
}

fn in_flight(run: &Run) -> Plane {
    let points = run.windows.iter().map(|window| (middle(window), Some(window.in_flight as f64)));
    let series = vec![Series::new("in flight", "c1", Shape::Line, points)];
    let (x, bands) = over_time(run);
    let y = Axis::from_zero("requests", series.iter().flat_map(Series::values), number::number);
    let about = "Sent and not yet answered; where it grows, the server falls behind.".to_owned();
    let caption = Caption { id: "in-flight", title: "Requests in flight", about };
    Plane { caption, x, y, series, bands, marks: Vec::new() }
}

fn tokens(run: &Run) -> Plane {
    let rate = |window: &Window| (window.seconds > 0.0).then(|| window.output_tokens as f64 / window.seconds);
    let points = run.windows.iter().map(|window| (middle(window), rate(window)));
    let series = vec![Series::new("output tokens", "c1", Shape::Steps, points)];
    let (x, bands) = over_time(run);
    let y = Axis::from_zero("tokens a second", series.iter().flat_map(Series::values), number::number);
    let about = "Output tokens of the answers that came to their end.".to_owned();
    let caption = Caption { id: "tokens", title: "Output tokens over time", about };
    Plane { caption, x, y, series, bands, marks: Vec::new() }
}

/// The quantiles that stand on enough values.
fn supported(distribution: &Distribution) -> Vec<(f64, f64)> {
    distribution.quantiles.iter().copied().filter(|(q, _)| distribution.supports(*q)).collect()
}

fn percentiles(run: &Run) -> Plane {
    let of = |name, class, shape, distribution: &Distribution| {
        let points = supported(distribution).into_iter().map(|(q, value)| (nines(q), Some(value)));
        Series::new(name, class, shape, points)
    };
    let series = vec![
        of("from when sent", "c3", Shape::Dashed, &run.from_sent),
        of("from when due", "c1", Shape::Line, &run.latency),
    ];
    let last = supported(&run.latency).last().map_or(0.9, |(q, _)| *q);
    let y = Axis::log_times("latency", series.iter().flat_map(Series::values));
    let about = "A gap between the curves is waiting that a closed loop would not have seen.".to_owned();
    let caption = Caption { id: "percentiles", title: "Latency by percentile", about };
    Plane { caption, x: Axis::nines("percentile", last), y, series, bands: Vec::new(), marks: Vec::new() }
}

fn parts_of_answers(streams: &Streams) -> Plane {
    let of = |name, class, distribution: &Distribution| {
        let points = supported(distribution).into_iter().map(|(q, value)| (nines(q), Some(value)));
        Series::new(name, class, Shape::Line, points)
    };
    let series = vec![
        of("to the first token", "c1", &streams.ttft),
        of("between parts", "c2", &streams.itl),
        of("per token of an answer", "c3", &streams.tpot),
    ];
    let last = series.iter().filter_map(|series| series.points.last()).map(|(nines, _)| 1.0 - 1.0 / nines);
    let x = Axis::nines("percentile", last.fold(0.9, f64::max));
    let y = Axis::log_times("time", series.iter().flat_map(Series::values));
    let about =
        "Time to the first token (TTFT), between parts with text (ITL), and per output token (TPOT).".to_owned();
    let caption = Caption { id: "streams", title: "Streamed answers", about };
    Plane { caption, x, y, series, bands: Vec::new(), marks: Vec::new() }
}

fn revisions(server: &ServerSide) -> Rows {
    let total = server.revisions.values().map(|revision| revision.answers).sum::<u64>().max(1);
    let rows = server.revisions.iter().map(|(name, revision)| {
        let at = revision.answers as f64 / total as f64;
        let p99 =
            revision.latency.supported(0.99).map_or_else(String::new, |p99| format!(" · p99 {}", number::time(p99)));
        Row { name: name.clone(), note: format!("{}{p99}", number::share(at)), class: "c1", at, spread: None }
    });
    let rows = rows.collect();
    let about = "Which revision answered, as the server said.".to_owned();
    let caption = Caption { id: "revisions", title: "Revisions", about };
    Rows { caption, axis: Axis::shares("share of answers"), rows, against: None, legend: Vec::new() }
}

fn figures(markup: &mut Markup, run: &Run) {
    parts::section(markup, "Figures", |markup| {
        parts::columns(markup, |markup| tables::run::all(run).iter().for_each(|table| parts::table(markup, table)));
        let (seconds, warmup) = (number::number(run.seconds), number::number(run.warmup.seconds));
        let warm = match run.warmup.steady {
            _ if run.warmup.seconds == 0.0 => "without a warm-up".to_owned(),
            Some(true) => format!("after a warm-up of {warmup} s until rate and latency were steady"),
            Some(false) => format!("after a warm-up of {warmup} s in which rate and latency did not become steady"),
            None => format!("after a warm-up of {warmup} s as asked for"),
        };
        parts::note(markup, &format!("Measured for {seconds} s, {warm}."));
    });
}
