//! One load on one server.

use super::table::{Page, Table};
use crate::report::number::{self, Times};
use crate::result::{Distribution, Outcomes, QUANTILES, Run, ServerSide, Streams};

/// How the load was made and for how long, in a line.
pub fn how(run: &Run) -> String {
    let warm = match run.warmup.steady {
        Some(true) => "until it was steady",
        Some(false) => "and it did NOT become steady",
        None => "as asked for",
    };
    let (seconds, warmup) = (number::number(run.seconds), number::number(run.warmup.seconds));
    format!("{}; measured {seconds} s after a warm-up of {warmup} s {warm}", run.load.what)
}

pub fn write(page: &mut Page, run: &Run) {
    latencies(page, run);
    rates(page, run);
    outcomes(page, &run.outcomes);
    if let Some(streams) = &run.streams {
        streamed(page, streams);
    }
    if let Some(server) = &run.server {
        server_side(page, server);
    }
    client(page, run);
}

/// A quantile, unless too few values lie beyond it for it to mean anything.
fn at(distribution: &Distribution, q: f64, show: impl Fn(f64) -> String) -> String {
    distribution.supported(q).map_or_else(|| number::NONE.to_owned(), show)
}

fn latencies(page: &mut Page, run: &Run) {
    let both = [&run.latency, &run.from_sent];
    let times = Times::of(both.iter().flat_map(|one| QUANTILES.iter().filter_map(|q| one.at(*q))));
    let mut table = Table::new([&format!("latency, {}", times.unit), "from due", "from sent"]);
    for q in QUANTILES {
        table.row([number::quantile(q)].into_iter().chain(both.map(|one| at(one, q, |value| times.show(value)))));
    }
    for (name, value) in [("max", (|one| one.max) as fn(&Distribution) -> f64), ("mean", |one| one.mean)] {
        let show = |one: &Distribution| if one.count > 0 { times.show(value(one)) } else { number::NONE.to_owned() };
        table.row([name.to_owned()].into_iter().chain(both.map(show)));
    }
    page.table(&table);
    if QUANTILES.iter().any(|q| !run.latency.supports(*q)) {
        page.sentence("  ", &format!("{} fewer than ten values lie beyond", number::NONE));
        page.blank();
    }
}

fn rates(page: &mut Page, run: &Run) {
    let mut table = Table::new(["rates", "per second"]);
    let due = if run.load.open { "due" } else { "sent" };
    table.row([due.to_owned(), number::number(run.due_rate)]);
    table.row(["answered right".to_owned(), number::number(run.rate)]);
    if let Some(goodput) = run.goodput {
        table.row(["right and in time (goodput)".to_owned(), number::number(goodput)]);
    }
    page.table(&table);
}

fn outcomes(page: &mut Page, outcomes: &Outcomes) {
    let total = outcomes.total().max(1) as f64;
    let mut table = Table::new(["outcomes", "requests", "share"]);
    let mut row = |name: &str, count: u64| {
        table.row([name.to_owned(), number::count(count), number::share(count as f64 / total)]);
    };
    row("answered right", outcomes.ok);
    let kinds = [
        ("shed", outcomes.shed),
        ("errors", outcomes.errors),
        ("timed out", outcomes.timeouts),
        ("wrong answers", outcomes.wrong),
        ("not sent", outcomes.unsent),
    ];
    for (name, count) in kinds.into_iter().filter(|(_, count)| *count > 0) {
        row(name, count);
    }
    for (kind, count) in &outcomes.by_kind {
        row(&format!("  {kind}"), *count);
    }
    page.table(&table);
    for (kind, said) in &outcomes.samples {
        page.sentence("  ", &format!("{kind}, for one: {said}"));
    }
    if !outcomes.samples.is_empty() {
        page.blank();
    }
}

/// A row for each distribution, every number in the unit that fits it.
fn distributions<'a>(page: &mut Page, name: &str, of: impl IntoIterator<Item = (&'a str, &'a Distribution)>) {
    const COLUMNS: [f64; 4] = [0.5, 0.9, 0.99, 0.999];
    let mut table = Table::new([name, "values", "p50", "p90", "p99", "p99.9"]);
    for (name, one) in of {
        let cells = [name.to_owned(), number::count(one.count)].into_iter();
        table.row(cells.chain(COLUMNS.map(|q| at(one, q, number::time))));
    }
    page.table(&table);
}

fn streamed(page: &mut Page, streams: &Streams) {
    let of = [
        ("to the first token (TTFT)", &streams.ttft),
        ("between tokens (ITL)", &streams.itl),
        ("per output token (TPOT)", &streams.tpot),
    ];
    distributions(page, "streams", of);
    let counted = if streams.counted_by_server { "by the server's count" } else { "each part taken for one" };
    let (rate, all) = (number::number(streams.output_tokens_rate), number::count(streams.output_tokens));
    let prompt = number::count(streams.prompt_tokens);
    page.sentence("  ", &format!("output {rate} tokens/s; {all} output and {prompt} prompt tokens, {counted}"));
    page.blank();
}

fn server_side(page: &mut Page, server: &ServerSide) {
    let overhead = server.overhead.iter().map(|overhead| ("its own time", overhead));
    let revisions = server.revisions.iter().map(|(name, revision)| (name.as_str(), &revision.latency));
    distributions(page, "the server says", overhead.chain(revisions));
}

fn client(page: &mut Page, run: &Run) {
    let limits = &run.limits;
    let text = format!(
        "load tester: {} thread{}, the busiest {} on a core and {} waiting for one; {} connections, {} due requests waiting \
         for one at most",
        limits.threads,
        if limits.threads == 1 { "" } else { "s" },
        limits.cpu.map_or_else(|| "no one knows how much".to_owned(), number::share),
        limits.waited_for_cpu.map_or_else(|| "no one knows how much".to_owned(), number::share),
        number::count(limits.connections as u64),
        number::count(limits.most_waiting),
    );
    page.sentence("", &text);
}
