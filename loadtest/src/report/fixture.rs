//! Results from formulas, for the tests of all that reads results: a run with streams and revisions, a sweep, an A/B run.

use std::collections::BTreeMap;

use serde_json::json;

use crate::request::Protocol;
use crate::result::{
    Ab, Distribution, Findings, Limits, LoadSummary, Outcomes, Report, Revision, Run, SCHEMA, ServerSide, Streams,
    Sweep, SweepPoint, Warmup, Window, WorkloadSummary,
};

const QUANTILES: [f64; 22] = [
    0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.975, 0.99, 0.995, 0.9975, 0.999,
    0.9995, 0.9999, 1.0,
];

/// Four digits: the files stay small, are the same whatever the mathematical library, and are read as they were written.
fn rounded(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap()
}

/// The value of an exponential tail over a base, which grows a little faster than exponentially.
fn quantile(q: f64, base: f64, tail: f64) -> f64 {
    base + tail * (-(1.0 - q.min(0.99995)).ln()).powf(1.25)
}

pub fn distribution(count: u64, base: f64, tail: f64) -> Distribution {
    let quantiles: Vec<_> = QUANTILES.iter().map(|&q| (q, rounded(quantile(q, base, tail)))).collect();
    let (min, max) = (quantiles[0].1, quantiles[quantiles.len() - 1].1);
    Distribution { count, mean: rounded(base + tail * 1.13), min, max, quantiles }
}

/// Something between -1 and 1 that looks like chance.
fn noise(seed: u64) -> f64 {
    (seed as f64 * 12.9898).sin() * 43.0 % 1.0
}

/// An open loop of `seconds` at a rate; `seed` sets one apart from the next.
pub fn run(rate: f64, seconds: usize, base: f64, tail: f64, seed: u64) -> Run {
    let windows = (0..seconds + 3).map(|index| window(index, rate, base, tail, seed)).collect::<Vec<_>>();
    let measured = || windows.iter().filter(|window| !window.warmup);
    let ok = measured().map(|window| window.ok).sum::<u64>();
    let due = measured().map(|window| window.due).sum::<u64>();
    let shed = measured().map(|window| window.shed).sum::<u64>();
    let failed = measured().map(|window| window.failed).sum::<u64>();
    let mut by_kind = BTreeMap::new();
    for (kind, count) in [("429", shed), ("500", failed)] {
        if count > 0 {
            by_kind.insert(kind.to_owned(), count);
        }
    }
    Run {
        load: LoadSummary { what: format!("open, poisson, {rate}/s"), open: true, rate: Some(rate), callers: None },
        warmup: Warmup { seconds: 3.0, steady: Some(true) },
        seconds: seconds as f64,
        stopped: false,
        due,
        due_rate: rounded(due as f64 / seconds as f64),
        outcomes: Outcomes { ok, shed, errors: failed, by_kind, ..Outcomes::default() },
        rate: rounded(ok as f64 / seconds as f64),
        goodput: None,
        latency: distribution(ok, base, tail),
        from_sent: distribution(ok, base * 0.98, tail * 0.8),
        lag: distribution(due, 0.01, 0.02),
        failed_latency: if shed + failed > 0 { distribution(shed + failed, 0.5, 0.4) } else { Distribution::default() },
        streams: None,
        server: None,
        windows,
        limits: Limits {
            threads: 1,
            cpu: Some(0.31),
            waited_for_cpu: Some(0.01),
            connections: 24,
            opened: 31,
            most_waiting: 3,
            reached: Vec::new(),
            remarks: Vec::new(),
        },
    }
}

fn window(index: usize, rate: f64, base: f64, tail: f64, seed: u64) -> Window {
    let chance = |salt: u64| noise(seed * 1000 + index as u64 * 10 + salt);
    let cold = (3.0 - index as f64).max(0.0) * 0.6;
    let due = (rate * (1.0 + 0.06 * chance(1))) as u64;
    // A server that falls behind for two seconds, once.
    let behind = if index % 17 == 12 { 2.5 } else { 1.0 };
    let shed = if behind > 1.0 { due / 25 } else { 0 };
    let failed = u64::from(index % 7 == 5);
    let at = |q, salt| Some(rounded(quantile(q, base, tail) * (1.0 + cold) * behind * (1.0 + 0.1 * chance(salt))));
    Window {
        start: index as f64,
        seconds: 1.0,
        warmup: index < 3,
        due,
        ok: due.saturating_sub(shed + failed),
        shed,
        failed,
        p50: at(0.5, 2),
        p90: at(0.9, 3),
        p99: at(0.99, 4),
        max: at(0.9995, 5),
        in_flight: (rate * base / 1000.0 * behind * (1.3 + 0.3 * chance(7))) as u64 + 1,
        output_tokens: 0,
        client_cpu: Some(rounded(0.3 + 0.02 * chance(6))),
    }
}

fn report(protocol: Protocol, streams: bool, slo: &str, findings: Findings) -> Report {
    Report {
        schema: SCHEMA.to_owned(),
        version: "0.1.0".to_owned(),
        started: "2026-03-14T09:26:53Z".to_owned(),
        machine: json!({"cpu": "Example CPU @ 2.8 GHz", "cores": 8, "kernel": "6.8.0", "load_average": 0.4}),
        target: "http://127.0.0.1:8080".to_owned(),
        target_b: None,
        workload: WorkloadSummary {
            protocol,
            model: Some("example".to_owned()),
            what: if streams {
                "synthetic prompts of 128 words"
            } else {
                "random tensors from the server's metadata, 8 rows"
            }
            .to_owned(),
            streams,
            distinct_requests: Some(64),
            mean_bytes: 3120.0,
        },
        options: BTreeMap::from([("duration".to_owned(), json!("30s")), ("seed".to_owned(), json!(1))]),
        slo: Some(slo.to_owned()),
        findings,
    }
}

/// Streamed answers of two revisions; misses its objective.
pub fn streamed() -> Report {
    let mut run = run(120.0, 40, 180.0, 60.0, 1);
    for window in &mut run.windows {
        window.output_tokens = window.ok * 96;
    }
    let ok = run.outcomes.ok;
    run.goodput = Some(rounded(run.rate * 0.9));
    run.streams = Some(Streams {
        ttft: distribution(ok, 22.0, 14.0),
        itl: distribution(ok * 95, 1.4, 0.5),
        tpot: distribution(ok, 1.6, 0.3),
        output_tokens: ok * 96,
        output_tokens_rate: rounded(run.rate * 96.0),
        prompt_tokens: ok * 131,
        counted_by_server: true,
        answers_counted_by_server: ok,
        answers_counted_by_parts: 0,
    });
    let canary = ok / 10;
    run.server = Some(ServerSide {
        overhead: Some(distribution(ok, 0.06, 0.02)),
        revisions: BTreeMap::from([
            (
                "example-00001".to_owned(),
                Revision { answers: ok - canary, latency: distribution(ok - canary, 178.0, 58.0) },
            ),
            ("example-00002".to_owned(), Revision { answers: canary, latency: distribution(canary, 199.0, 71.0) }),
        ]),
    });
    report(Protocol::Chat, true, "p99<300ms,errors<0.1%", Findings::Run { run: Box::new(run) })
}

/// A server that is full at about 900 requests a second.
pub fn sweep() -> Report {
    const FULL: f64 = 900.0;
    let point = |(index, rate): (usize, f64)| {
        let used = rate / FULL;
        let wait = if used < 0.95 { 1.0 / (1.0 - used) } else { 20.0 + (used - 0.95) * 400.0 };
        let mut run = run(rate, 12, 3.0 + wait * 0.4, 0.9 * wait, index as u64 + 2);
        if used > 1.0 {
            run.rate = rounded(FULL * (1.0 - 0.05 * (used - 1.0)));
            let ok = (run.rate * run.seconds) as u64;
            run.outcomes.shed += run.outcomes.ok.saturating_sub(ok);
            run.outcomes.by_kind.insert("429".to_owned(), run.outcomes.shed);
            run.outcomes.ok = ok;
        }
        let p99 = run.latency.at(0.99).unwrap();
        let met = p99 < 50.0;
        let missed = if met { Vec::new() } else { vec![format!("p99 {p99:.0} ms is not below 50 ms")] };
        SweepPoint { rate, met, missed, run }
    };
    let rates = [50.0, 100.0, 200.0, 400.0, 600.0, 700.0, 760.0, 800.0, 860.0, 1000.0, 1200.0];
    let points: Vec<_> = rates.into_iter().enumerate().map(point).collect();
    let best_rate = points.iter().filter(|point| point.met).map(|point| point.rate).reduce(f64::max);
    let failed_rate = points.iter().filter(|point| !point.met).map(|point| point.rate).reduce(f64::min);
    let ended = "the highest rate that meets the objective is known to within 6 %".to_owned();
    let sweep = Sweep { points, best_rate, failed_rate, knee_rate: Some(700.0), ended, broken: false };
    report(Protocol::V2Binary, false, "p99<50ms,errors<5%", Findings::Sweep { sweep })
}

/// Two servers of which B is faster, and as often right.
pub fn ab() -> Report {
    let side = |base: f64, seed: u64| {
        (0..5).map(move |round| run(300.0, 8, base * (1.0 + 0.02 * noise(seed + round)), 2.0, seed + round))
    };
    let (a, b): (Vec<_>, Vec<_>) = (side(9.0, 20).collect(), side(7.0, 40).collect());
    let mut ratios = crate::compare::pairs(&a, &b);
    for ratio in &mut ratios {
        for number in [&mut ratio.a, &mut ratio.b, &mut ratio.ratio, &mut ratio.least, &mut ratio.greatest] {
            *number = rounded(*number);
        }
    }
    let missed_a = vec!["p99 22.7 ms is not below 20 ms (in 5 of 5 rounds)".to_owned()];
    let ab = Ab { a, b, ratios, missed_a, ..Ab::default() };
    let mut report = report(Protocol::V2, false, "p99<20ms", Findings::Ab { ab });
    report.target_b = Some("http://127.0.0.1:8081".to_owned());
    report
}

/// A result whose every text from outside tries to break out of where it is put.
pub fn hostile() -> Report {
    let nasty = "</script><script>alert(1)</script>\"'<img src=http://x.example/ onerror=1>\u{1b}[2J";
    let mut report = streamed();
    report.target = nasty.to_owned();
    report.version = nasty.to_owned();
    report.machine = json!({ nasty: nasty });
    report.workload.model = Some(nasty.to_owned());
    report.workload.what = nasty.to_owned();
    report.options.insert(nasty.to_owned(), json!(nasty));
    report.slo = Some(nasty.to_owned());
    if let Findings::Run { run } = &mut report.findings {
        run.load.what = nasty.to_owned();
        run.outcomes.by_kind.insert(nasty.to_owned(), 3);
        run.limits.reached.push(nasty.to_owned());
        run.limits.remarks.push(nasty.to_owned());
        (run.stopped, run.outcomes.given_up) = (true, 7);
        run.outcomes.samples.insert(nasty.to_owned(), nasty.to_owned());
        let server = run.server.as_mut().unwrap();
        let revision = server.revisions.remove("example-00002").unwrap();
        server.revisions.insert(nasty.to_owned(), revision);
    }
    report
}

/// The files that the browser test shows are these results; `WEIRGATE_UPDATE_FIXTURES=1` writes them anew.
#[test]
fn the_browsers_fixtures_are_these() {
    let folder = crate::record::root().join("tests/browser/fixtures");
    for (name, report) in [("run", streamed()), ("sweep", sweep()), ("ab", ab()), ("hostile", hostile())] {
        let path = folder.join(format!("{name}.json"));
        if std::env::var_os("WEIRGATE_UPDATE_FIXTURES").is_some() {
            report.write(&path).unwrap();
        }
        let read = Report::read(&path).unwrap_or_else(|error| panic!("{error}: WEIRGATE_UPDATE_FIXTURES=1 writes it"));
        let differs = serde_json::to_value(&read).unwrap() != serde_json::to_value(&report).unwrap();
        assert!(
            !differs,
            "{} is not what the formulas give: WEIRGATE_UPDATE_FIXTURES=1 writes it anew",
            path.display()
        );
        assert!(std::fs::metadata(&path).unwrap().len() < 100_000);
    }
}
