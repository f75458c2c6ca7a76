//! What is to be told before any number: whether the figures are the server's own, whether it was measured to the end, and
//! whether the objective was met. The terminal and the page each show it in their own way.

use super::number;
use crate::result::{Ab, Findings, Report, Run, Side, Sweep, SweepPoint};
use crate::slo::Slo;

/// A sentence, and the reasons for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub kind: Kind,
    pub sentence: String,
    pub reasons: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The figures may not mean what they seem to.
    Warned,
    /// It is not all that was planned.
    Stopped,
    Met,
    Missed,
    /// Neither good nor bad.
    Told,
    /// That some requests failed, where no objective judges it.
    Failed,
}

impl Kind {
    /// A character that stands for it where colours don't.
    pub fn sign(self) -> &'static str {
        match self {
            Kind::Warned => "!",
            Kind::Stopped => "■",
            Kind::Met => "✓",
            Kind::Missed => "✗",
            Kind::Told => "⇄",
            Kind::Failed => "○",
        }
    }
}

/// How what a sweep found is called: rates meet an objective, or without one the server keeps up with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    pub column: &'static str,
    /// Of one rate, in a table.
    pub met: &'static str,
    pub missed: &'static str,
    /// Of the highest rate that did, and the lowest that did not, on their own.
    pub best: &'static str,
    pub failed: &'static str,
    /// What stands before the lowest rate that did not.
    pub from: &'static str,
    /// Of the rates that did not, in a chart's legend.
    pub legend: &'static str,
}

pub fn words(slo: Option<&str>) -> Words {
    match slo {
        Some(_) => Words {
            column: "objective",
            met: "met",
            missed: "missed",
            best: "meets the objective",
            failed: "misses it",
            from: "missed from",
            legend: "objective missed",
        },
        None => Words {
            column: "verdict",
            met: "keeps up",
            missed: "falls behind",
            best: "keeps up",
            failed: "falls behind",
            from: "falls behind from",
            legend: "falls behind",
        },
    }
}

/// All that is to be told, the most important first.
pub fn notices(report: &Report) -> Vec<Notice> {
    let mut notices: Vec<Notice> = limited(report).into_iter().collect();
    match &report.findings {
        Findings::Run { run } => {
            notices.extend(stopped(run));
            notices.extend(match report.slo.as_deref() {
                Some(slo) => Some(objective(slo, run)),
                None => failed(run),
            });
        }
        Findings::Sweep { sweep } => {
            notices.extend(broken(sweep));
            notices.push(searched(sweep, report.slo.as_deref()));
        }
        Findings::Ab { ab } => notices.extend(compared(ab, report.slo.as_deref())),
    }
    notices
}

/// Where the load tester was itself the limit and the findings rest on it, a sentence each with the run it was in. Of a
/// sweep only the points at the rates that it found count.
pub fn limits(report: &Report) -> Vec<String> {
    match &report.findings {
        Findings::Run { run } => run.limits.reached.clone(),
        Findings::Sweep { sweep } => {
            let points = sweep.points.iter().filter(|point| is_decisive(sweep, point));
            points.flat_map(|point| labelled(&at(point), &point.run.limits.reached)).collect()
        }
        Findings::Ab { ab } => rounds(ab, |run| &run.limits.reached),
    }
}

/// What is worth knowing beside the figures: what the load tester remarks of itself, and where it was at its limit without
/// the findings resting on it.
pub fn asides(report: &Report) -> Vec<String> {
    match &report.findings {
        Findings::Run { run } => run.limits.remarks.clone(),
        Findings::Sweep { sweep } => {
            let of = |point: &SweepPoint| {
                let limits = &point.run.limits;
                let reached = if is_decisive(sweep, point) { &[][..] } else { &limits.reached };
                let reached = labelled(&format!("{}the load tester was at its limit: ", at(point)), reached);
                [reached, labelled(&at(point), &limits.remarks)].concat()
            };
            sweep.points.iter().flat_map(of).collect()
        }
        Findings::Ab { ab } => rounds(ab, |run| &run.limits.remarks),
    }
}

/// Right answers in time a second; none where the objective sets no limit in time to a request.
pub fn goodput(run: &Run, slo: Option<&str>) -> Option<f64> {
    let limits_requests = slo.and_then(|slo| slo.parse::<Slo>().ok()).is_some_and(|slo| slo.limits_requests());
    run.goodput.filter(|_| limits_requests)
}

fn is_decisive(sweep: &Sweep, point: &SweepPoint) -> bool {
    [sweep.best_rate, sweep.failed_rate].contains(&Some(point.rate))
}

fn at(point: &SweepPoint) -> String {
    format!("at {}/s: ", number::short(point.rate))
}

fn labelled(label: &str, sentences: &[String]) -> Vec<String> {
    sentences.iter().map(|sentence| format!("{label}{sentence}")).collect()
}

fn rounds(ab: &Ab, of: fn(&Run) -> &Vec<String>) -> Vec<String> {
    let side = |name, runs: &[Run]| {
        let runs = runs.iter().enumerate();
        runs.flat_map(|(index, run)| labelled(&format!("{name}, round {}: ", index + 1), of(run))).collect::<Vec<_>>()
    };
    [side("A", &ab.a), side("B", &ab.b)].concat()
}

fn limited(report: &Report) -> Option<Notice> {
    let reasons = limits(report);
    let of = match &report.findings {
        Findings::Sweep { .. } => "the rates found",
        Findings::Run { .. } | Findings::Ab { .. } => "these figures",
    };
    let sentence = format!("the load tester was at its own limit: {of} say more of it than of the server");
    (!reasons.is_empty()).then_some(Notice { kind: Kind::Warned, sentence, reasons })
}

fn stopped(run: &Run) -> Option<Notice> {
    let given_up = match run.outcomes.given_up {
        0 => String::new(),
        1 => "; 1 request was given up at the stop".to_owned(),
        more => format!("; {} requests were given up at the stop", number::count(more)),
    };
    let seconds = number::short(run.seconds);
    let sentence = format!("stopped early: {seconds} s of the planned run were measured{given_up}");
    run.stopped.then_some(Notice { kind: Kind::Stopped, sentence, reasons: Vec::new() })
}

fn failed(run: &Run) -> Option<Notice> {
    let (failed, total) = (run.outcomes.failed(), run.outcomes.total());
    let share = number::share(failed as f64 / total.max(1) as f64);
    let sentence = format!("{share} of the requests got no right answer");
    (failed > 0).then_some(Notice { kind: Kind::Failed, sentence, reasons: Vec::new() })
}

fn broken(sweep: &Sweep) -> Option<Notice> {
    let sentence = sweep.ended.clone();
    sweep.broken.then_some(Notice { kind: Kind::Stopped, sentence, reasons: Vec::new() })
}

fn objective(slo: &str, run: &Run) -> Notice {
    let (missed, doubts) = match slo.parse::<Slo>() {
        Ok(slo) => (slo.missed(run), slo.doubts(run)),
        Err(error) => (vec![format!("this version can't read the objective: {error}")], Vec::new()),
    };
    held("objective", slo, missed, doubts)
}

fn held(what: &str, slo: &str, missed: Vec<String>, doubts: Vec<String>) -> Notice {
    let (kind, is) = if missed.is_empty() { (Kind::Met, "met") } else { (Kind::Missed, "missed") };
    Notice { kind, sentence: format!("{what} {is}: {slo}"), reasons: [missed, doubts].concat() }
}

fn searched(sweep: &Sweep, slo: Option<&str>) -> Notice {
    let rate = |rate: f64| format!("{} requests/s", number::short(rate));
    let sentence = match (slo, sweep.best_rate) {
        (Some(slo), Some(best)) => format!("up to {} meet {slo}", rate(best)),
        (Some(slo), None) => format!("no rate that was tried meets {slo}"),
        (None, Some(best)) => format!("the server keeps up with {}", rate(best)),
        (None, None) => "the server keeps up with no rate that was tried".to_owned(),
    };
    let kind = if sweep.best_rate.is_some() { Kind::Met } else { Kind::Missed };
    let knee = match sweep.knee_rate {
        Some(knee) => format!("the knee is at {}", rate(knee)),
        None => "no knee was found".to_owned(),
    };
    let ended = (!sweep.ended.is_empty() && !sweep.broken).then(|| format!("it ended: {}", sweep.ended));
    Notice { kind, sentence, reasons: [Some(knee), ended].into_iter().flatten().collect() }
}

fn compared(ab: &Ab, slo: Option<&str>) -> Vec<Notice> {
    let stopped = |sentence| Notice { kind: Kind::Stopped, sentence, reasons: Vec::new() };
    let ended = ab.ended.clone().map(stopped);
    let better = |side| ab.ratios.iter().filter(|ratio| ratio.better == Some(side)).count();
    let of = ab.ratios.len();
    let sentence = match (better(Side::A), better(Side::B)) {
        (0, 0) => "A and B can't be told apart by any figure".to_owned(),
        (0, b) => format!("B is better by {b} of {of} figures; by no figure is A"),
        (a, 0) => format!("A is better by {a} of {of} figures; by no figure is B"),
        (a, b) => format!("A is better by {a} of {of} figures, B by {b}"),
    };
    let told = Notice { kind: Kind::Told, sentence, reasons: Vec::new() };
    // Without a round there is nothing to judge.
    let sides = slo.filter(|_| !ab.a.is_empty()).map_or_else(Vec::new, |slo| {
        let side =
            |name: &str, missed: &[String]| held(&format!("{name}: objective"), slo, missed.to_vec(), Vec::new());
        vec![side("A", &ab.missed_a), side("B", &ab.missed_b)]
    });
    ended.into_iter().chain([told]).chain(sides).collect()
}

#[cfg(test)]
mod tests;
