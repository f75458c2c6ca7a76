//! One load on one server.

use super::{Kind, Table, at, of_all};
use crate::outcome::Outcome;
use crate::report::number::{self, Times};
use crate::result::{Distribution, Outcomes, QUANTILES, Run, ServerSide, Streams};

/// Above so many tokens to a part, the gap between parts says little of the time between tokens.
const TOKENS_TO_A_PART: f64 = 1.2;

/// Percentiles beyond this one need so many values that a short run need not say that it lacks them.
const HIGH: f64 = 0.99;

/// All of its tables, in the order in which people need them.
pub fn all(run: &Run) -> Vec<Table> {
    let streams = run.streams.as_ref().map(streams);
    let server = run.server.iter().flat_map(server);
    let tables = [Some(latencies(run)), others(run), Some(outcomes(&run.outcomes)), streams];
    tables.into_iter().flatten().chain(server).collect()
}

fn latencies(run: &Run) -> Table {
    if run.latency.count == 0 {
        let notes = vec!["No request was answered right.".to_owned()];
        return Table { notes, ..Table::new("latency of right answers", [""]) };
    }
    let both = [&run.latency, &run.from_sent];
    let shown = both.iter().flat_map(|one| QUANTILES.iter().filter_map(|q| one.supported(*q)).chain([one.max]));
    let times = Times::of(shown);
    let show = |value| times.show(value);
    let mut table = Table::new(format!("latency of right answers, {}", times.unit), ["", "from due", "from sent"]);
    // Where even p99 has too few values, those beyond it need no rows to say so.
    let few = both.iter().all(|one| !one.supports(HIGH));
    for q in QUANTILES.into_iter().filter(|q| !(few && *q > HIGH)) {
        table.row(Kind::Plain, [number::quantile(q)].into_iter().chain(both.map(|one| at(one, q, show))));
    }
    for (name, value) in [("max", (|one| one.max) as fn(&Distribution) -> f64), ("mean", |one| one.mean)] {
        let cells = both.map(|one| of_all(one, value(one), show));
        table.row(Kind::Plain, [name.to_owned()].into_iter().chain(cells));
    }
    table.explain_none();
    table
}

/// Times that are no latencies of right answers, where there are any.
fn others(run: &Run) -> Option<Table> {
    let failed = ("known to have failed, after due", &run.failed_latency);
    let lag = ("sent after due (lag)", &run.lag);
    let of: Vec<_> = [failed, lag].into_iter().filter(|(_, one)| one.count > 0).collect();
    (!of.is_empty()).then(|| distributions("other times", of))
}

fn outcomes(outcomes: &Outcomes) -> Table {
    let total = outcomes.total().max(1) as f64;
    let mut table = Table::new("outcomes", ["", "requests", "share"]);
    let mut row = |kind, name: &str, count: u64| {
        table.row(kind, [name.to_owned(), number::count(count), number::share(count as f64 / total)]);
    };
    row(Kind::Plain, "answered right", outcomes.ok);
    let kinds = [
        ("shed", outcomes.shed),
        ("errors", outcomes.errors),
        ("timed out", outcomes.timeouts),
        ("wrong answers", outcomes.wrong),
        ("not sent", outcomes.unsent),
    ];
    for (name, count) in kinds.into_iter().filter(|(_, count)| *count > 0) {
        row(Kind::Plain, name, count);
    }
    // A kind that has a row of its own says no more than that row.
    let timeout = Outcome::TimedOut.kind();
    let told = |kind: &str, count: u64| kind == timeout && count == outcomes.timeouts;
    for (kind, count) in outcomes.by_kind.iter().filter(|(kind, count)| !told(kind, **count)) {
        row(Kind::Detail, kind, *count);
    }
    if outcomes.given_up > 0 {
        // They are not among those that the shares are of.
        let cells = ["given up at the stop".to_owned(), number::count(outcomes.given_up), number::NONE.to_owned()];
        table.row(Kind::Plain, cells);
    }
    table.notes = outcomes.samples.iter().map(|(kind, said)| format!("{kind}, for one: {said}")).collect();
    table
}

/// A row for each distribution, every time in the unit that fits it.
fn distributions<'a>(caption: &str, of: impl IntoIterator<Item = (&'a str, &'a Distribution)>) -> Table {
    let mut table = Table::new(caption, ["", "values", "p50", "p90", "p99", "p99.9", "max"]);
    for (name, one) in of {
        let quantiles = [0.5, 0.9, 0.99, 0.999].map(|q| at(one, q, number::time));
        let cells = [name.to_owned(), number::count(one.count)].into_iter().chain(quantiles);
        table.row(Kind::Plain, cells.chain([of_all(one, one.max, number::time)]));
    }
    table
}

fn streams(streams: &Streams) -> Table {
    let of = [
        ("to the first token (TTFT)", &streams.ttft),
        ("between parts (ITL)", &streams.itl),
        ("per output token (TPOT)", &streams.tpot),
    ];
    let mut table = distributions("streamed answers", of);
    let (rate, all) = (number::number(streams.output_tokens_rate), number::count(streams.output_tokens));
    let prompt = number::count(streams.prompt_tokens);
    table.notes.push(format!("{rate} output tokens/s; {all} output and {prompt} prompt tokens, {}.", counted(streams)));
    table.notes.extend(several_to_a_part(streams));
    table
}

/// Who counted the tokens.
fn counted(streams: &Streams) -> String {
    let (server, parts) = (streams.answers_counted_by_server, streams.answers_counted_by_parts);
    let answers = |count: u64| format!("{} {}", number::count(count), if count == 1 { "answer" } else { "answers" });
    match (server, parts) {
        // A result that doesn't say how many.
        (0, 0) if streams.counted_by_server => "by the server's count".to_owned(),
        (0, 0) => "not all by the server's count: else each part was taken for one".to_owned(),
        (server, 0) => format!("of {} by the server's count", answers(server)),
        (0, parts) => format!("of {} with each part taken for one", answers(parts)),
        (server, parts) => {
            format!(
                "of {} by the server's count and of {} with each part taken for one",
                answers(server),
                answers(parts)
            )
        }
    }
}

/// That the server puts several tokens into a part, where it does.
fn several_to_a_part(streams: &Streams) -> Option<String> {
    // The first part of each answer, and one after each gap.
    let parts = streams.ttft.count + streams.itl.count;
    let each = streams.output_tokens as f64 / parts as f64;
    (parts > 0 && each > TOKENS_TO_A_PART).then(|| {
        let each = number::short((each * 10.0).round() / 10.0);
        format!("The server sent {each} tokens in a part: the time between parts is not that between tokens.")
    })
}

/// What the server says of itself, and what the load tester measured of each of its revisions.
fn server(server: &ServerSide) -> impl Iterator<Item = Table> {
    let overhead = server.overhead.iter().map(|overhead| ("its own time, without queue, batch and model", overhead));
    let revisions = server.revisions.iter().map(|(name, revision)| (name.as_str(), &revision.latency));
    let tables = [distributions("the server says", overhead), distributions("latency by revision", revisions)];
    tables.into_iter().filter(|table| !table.rows.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    fn row<'a>(tables: &'a [Table], name: &str) -> Option<&'a [String]> {
        tables.iter().flat_map(|table| &table.rows).find(|row| row.cells[0] == name).map(|row| row.cells.as_slice())
    }

    #[test]
    fn what_failed_and_what_was_late_have_their_times() {
        let mut run = fixture::run(120.0, 40, 180.0, 60.0, 1);
        let tables = all(&run);
        assert!(tables[0].caption.starts_with("latency of right answers"), "{}", tables[0].caption);
        let failed = row(&tables, "known to have failed, after due").unwrap();
        assert_eq!(failed[1], number::count(run.failed_latency.count));
        let lag = row(&tables, "sent after due (lag)").unwrap();
        let shown = [0.5, 0.99].map(|q| number::time(run.lag.at(q).unwrap()));
        assert_eq!([&lag[2], &lag[4]], [&shown[0], &shown[1]]);
        run.failed_latency = Distribution::default();
        assert_eq!(row(&all(&run), "known to have failed, after due"), None);
    }

    #[test]
    fn what_the_server_says_and_what_was_measured_of_its_revisions_stand_apart() {
        let crate::result::Findings::Run { run } = fixture::streamed().findings else { panic!("no run") };
        let tables = all(&run);
        let of = |caption: &str| tables.iter().find(|table| table.caption == caption).unwrap();
        let names = |table: &Table| table.rows.iter().map(|row| row.cells[0].clone()).collect::<Vec<_>>();
        assert_eq!(names(of("the server says")), ["its own time, without queue, batch and model"]);
        assert_eq!(names(of("latency by revision")), ["example-00001", "example-00002"]);
    }

    #[test]
    fn a_run_of_few_answers_has_no_rows_for_what_it_can_not_tell() {
        let names = |count| {
            let (latency, from_sent) = (fixture::distribution(count, 1.0, 1.0), fixture::distribution(count, 1.0, 1.0));
            latencies(&Run { latency, from_sent, ..Run::default() }).rows.into_iter().map(|row| row.cells[0].clone())
        };
        assert!(!names(20).any(|name| name.starts_with("p99.")) && names(20).any(|name| name == "p99"));
        assert!(names(1000).any(|name| name == "p99.99"));
        let none = latencies(&Run::default());
        assert!(none.rows.is_empty() && none.notes == ["No request was answered right."], "{none:?}");
    }

    #[test]
    fn a_kind_that_is_its_row_is_told_once() {
        let by_kind = [("timeout", 3), ("500", 1)].map(|(kind, count)| (kind.to_owned(), count)).into();
        let tables = [outcomes(&Outcomes { ok: 1, errors: 1, timeouts: 3, by_kind, ..Outcomes::default() })];
        let names: Vec<_> = tables[0].rows.iter().map(|row| row.cells[0].as_str()).collect();
        assert_eq!(names, ["answered right", "errors", "timed out", "500"]);
    }

    #[test]
    fn requests_given_up_at_a_stop_are_neither_right_nor_failed() {
        let given_up = Outcomes { ok: 60, errors: 20, given_up: 20, ..Outcomes::default() };
        let tables = [outcomes(&given_up)];
        assert_eq!(row(&tables, "given up at the stop").unwrap()[1..], ["20", number::NONE]);
        assert_eq!(row(&tables, "errors").unwrap()[1..], ["20", "25.0 %"]);
        assert_eq!(given_up.failed(), 20);
    }

    #[test]
    fn it_says_who_counted_the_tokens_of_how_many_answers() {
        let both = Streams { answers_counted_by_server: 4000, answers_counted_by_parts: 1, ..Streams::default() };
        let text = "of 4,000 answers by the server's count and of 1 answer with each part taken for one";
        assert_eq!(counted(&both), text);
        let old = Streams { counted_by_server: true, ..Streams::default() };
        assert_eq!(counted(&old), "by the server's count");
    }

    #[test]
    fn several_tokens_in_a_part_are_remarked() {
        let of = |output_tokens| Streams {
            ttft: fixture::distribution(100, 1.0, 1.0),
            itl: fixture::distribution(900, 1.0, 1.0),
            output_tokens,
            ..Streams::default()
        };
        assert_eq!(several_to_a_part(&of(1200)), None);
        assert!(several_to_a_part(&of(2400)).unwrap().starts_with("The server sent 2.4 tokens in a part"));
        assert_eq!(several_to_a_part(&Streams { output_tokens: 5, ..Streams::default() }), None);
        assert!(streams(&of(2400)).rows.iter().any(|row| row.cells[0] == "between parts (ITL)"));
    }
}
