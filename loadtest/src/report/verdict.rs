//! What is to be told before any number: whether the figures are the server's own, and whether the objective was met.

use crate::result::{Findings, Report, Run};
use crate::slo::Slo;

/// An objective, and what a run missed of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub slo: String,
    /// A term each; empty if all were met.
    pub missed: Vec<String>,
    /// What was judged on fewer values than it should be.
    pub doubts: Vec<String>,
}

/// The verdict on a single run. None without an objective; a sweep and an A/B run have theirs elsewhere.
pub fn of(report: &Report) -> Option<Verdict> {
    let (Some(text), Findings::Run { run }) = (&report.slo, &report.findings) else { return None };
    let (missed, doubts) = match text.parse::<Slo>() {
        Ok(slo) => (slo.missed(run), slo.doubts(run)),
        Err(error) => (vec![format!("this version can't read the objective: {error}")], Vec::new()),
    };
    Some(Verdict { slo: text.clone(), missed, doubts })
}

/// Where the load tester was itself the limit, a sentence each with the run it was in.
pub fn limits(report: &Report) -> Vec<String> {
    let of = |label: String, run: &Run| {
        run.limits.reached.iter().map(|reached| format!("{label}{reached}")).collect::<Vec<_>>()
    };
    let round = |side: &'static str| move |(index, run)| of(format!("{side}, round {}: ", index + 1), run);
    match &report.findings {
        Findings::Run { run } => of(String::new(), run),
        Findings::Sweep { sweep } => sweep
            .points
            .iter()
            .flat_map(|point| of(format!("at {}/s: ", super::number::short(point.rate)), &point.run))
            .collect(),
        Findings::Ab { ab } => {
            let a = ab.a.iter().enumerate().flat_map(round("A"));
            a.chain(ab.b.iter().enumerate().flat_map(round("B"))).collect()
        }
    }
}
