//! One load on one server.

use super::about;
use super::chart::Caption;
use super::chart::axis::{Axis, nines};
use super::chart::plane::{Plane, Series, Shape};
use super::chart::rows::{Row, Rows};
use super::markup::Markup;
use super::parts::{self, Table, Tile, table};
use crate::report::number::{self, Times};
use crate::report::verdict::Verdict;
use crate::result::{Distribution, QUANTILES, Run, ServerSide, Streams, Window};

pub fn write(markup: &mut Markup, run: &Run, verdict: Option<&Verdict>) {
    if let Some(verdict) = verdict {
        parts::verdict(markup, verdict);
    }
    parts::tiles(markup, &tiles(run));
    charts(markup, run);
    tables(markup, run);
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

fn tiles(run: &Run) -> Vec<Tile> {
    let at = |distribution: &Distribution, q| {
        distribution.supported(q).map_or_else(|| number::NONE.to_owned(), number::time)
    };
    let failed = run.outcomes.failed() as f64 / run.outcomes.total().max(1) as f64;
    let mut tiles = vec![
        Tile::new(
            "Right answers",
            &format!("{} /s", number::number(run.rate)),
            format!("{} /s due", number::number(run.due_rate)),
        ),
        Tile::new("Latency p50", &at(&run.latency, 0.5), "from when due"),
        Tile::new("Latency p99", &at(&run.latency, 0.99), format!("max {}", number::time(run.latency.max))),
        Tile::new(
            "Not answered right",
            &number::share(failed),
            format!("{} of {}", number::count(run.outcomes.failed()), number::count(run.outcomes.total())),
        ),
    ];
    if let Some(goodput) = run.goodput {
        tiles.push(Tile::new("Goodput", &format!("{} /s", number::number(goodput)), "right and in time"));
    }
    if let Some(streams) = &run.streams {
        tiles.push(Tile::new("First token p50", &at(&streams.ttft, 0.5), format!("p99 {}", at(&streams.ttft, 0.99))));
        tiles.push(Tile::new("Between tokens p50", &at(&streams.itl, 0.5), format!("p99 {}", at(&streams.itl, 0.99))));
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

fn latency(run: &Run) -> Plane {
    let of = |name, class, shape, value: fn(&Window) -> Option<f64>| {
        Series::new(name, class, shape, run.windows.iter().map(|window| (middle(window), value(window))))
    };
    let series = vec![
        of("max", "calm", Shape::Dashed, |window| window.max),
        of("p99", "c2", Shape::Line, |window| window.p99),
        of("p90", "c3", Shape::Line, |window| window.p90),
        of("p50", "c1", Shape::Line, |window| window.p50),
    ];
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
        of("between tokens", "c2", &streams.itl),
        of("per token of an answer", "c3", &streams.tpot),
    ];
    let last = series.iter().filter_map(|series| series.points.last()).map(|(nines, _)| 1.0 - 1.0 / nines);
    let x = Axis::nines("percentile", last.fold(0.9, f64::max));
    let y = Axis::log_times("time", series.iter().flat_map(Series::values));
    let about = "Time to the first token (TTFT), between tokens (ITL), and per output token (TPOT).".to_owned();
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

fn tables(markup: &mut Markup, run: &Run) {
    parts::section(markup, "Figures", |markup| {
        parts::columns(markup, |markup| {
            latencies(markup, run);
            outcomes(markup, run);
            if let Some(streams) = &run.streams {
                let of = [("TTFT", &streams.ttft), ("ITL", &streams.itl), ("TPOT", &streams.tpot)];
                distributions(markup, "Streamed answers", &of);
            }
            if let Some(server) = &run.server {
                let overhead = server.overhead.iter().map(|overhead| ("server's own time", overhead));
                let revisions = server.revisions.iter().map(|(name, revision)| (name.as_str(), &revision.latency));
                distributions(markup, "As the server said", &overhead.chain(revisions).collect::<Vec<_>>());
            }
        });
        let warm = match run.warmup.steady {
            Some(true) => "until rate and latency were steady",
            Some(false) => "in which rate and latency did not become steady",
            None => "as asked for",
        };
        parts::note(
            markup,
            &format!(
                "Measured for {} s, after a warm-up of {} s {warm}. A percentile stands here only where at least ten values lie beyond it.",
                number::number(run.seconds),
                number::number(run.warmup.seconds)
            ),
        );
    });
}

/// A quantile's cell: none where too few values lie beyond it.
fn cell(distribution: &Distribution, q: f64, times: Times) -> String {
    distribution.supported(q).map_or_else(|| number::NONE.to_owned(), |value| times.show(value))
}

fn latencies(markup: &mut Markup, run: &Run) {
    let all = [&run.latency, &run.from_sent];
    let times = Times::of(all.iter().flat_map(|distribution| QUANTILES.iter().filter_map(|q| distribution.at(*q))));
    let mut rows: Vec<_> = QUANTILES
        .iter()
        .map(|q| ("", vec![number::quantile(*q), cell(&run.latency, *q, times), cell(&run.from_sent, *q, times)]))
        .collect();
    let shown = |value: fn(&Distribution) -> f64| {
        all.map(
            |distribution| {
                if distribution.count > 0 { times.show(value(distribution)) } else { number::NONE.to_owned() }
            },
        )
    };
    for (name, values) in [("max", shown(|one| one.max)), ("mean", shown(|one| one.mean))] {
        rows.push(("", [name.to_owned()].into_iter().chain(values).collect()));
    }
    let caption = format!("Latency of right answers, {}", times.unit);
    table(markup, &Table { caption: &caption, head: &["", "from due", "from sent"], rows, remarks: false });
}

fn outcomes(markup: &mut Markup, run: &Run) {
    let outcomes = &run.outcomes;
    let total = outcomes.total().max(1) as f64;
    let row = |class, name: &str, count: u64| {
        (class, vec![name.to_owned(), number::count(count), number::share(count as f64 / total)])
    };
    let mut rows = vec![row("", "answered right", outcomes.ok)];
    let kinds = [
        ("shed", outcomes.shed),
        ("errors", outcomes.errors),
        ("timed out", outcomes.timeouts),
        ("wrong answers", outcomes.wrong),
        ("not sent", outcomes.unsent),
    ];
    rows.extend(kinds.into_iter().filter(|(_, count)| *count > 0).map(|(name, count)| row("", name, count)));
    rows.extend(outcomes.by_kind.iter().map(|(name, count)| row("detail", name, *count)));
    table(markup, &Table { caption: "Outcomes", head: &["", "requests", "share"], rows, remarks: false });
    if !outcomes.samples.is_empty() {
        let samples: Vec<_> = outcomes.samples.iter().map(|(kind, said)| (kind.clone(), said.clone())).collect();
        about::pairs(markup, "For one of each, the server said", &samples);
    }
}

fn distributions(markup: &mut Markup, caption: &str, of: &[(&str, &Distribution)]) {
    const COLUMNS: [f64; 4] = [0.5, 0.9, 0.99, 0.999];
    if of.is_empty() {
        return;
    }
    let rows = of
        .iter()
        .map(|(name, distribution)| {
            let value = |q: &f64| distribution.supported(*q).map_or_else(|| number::NONE.to_owned(), number::time);
            let cells = [(*name).to_owned(), number::count(distribution.count)].into_iter();
            ("", cells.chain(COLUMNS.iter().map(value)).collect())
        })
        .collect();
    let head = &["", "values", "p50", "p90", "p99", "p99.9"];
    table(markup, &Table { caption, head, rows, remarks: false });
}
