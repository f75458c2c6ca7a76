//! What is to be told before any number: whether the figures are the server's own, and whether the objective was met.

use crate::result::{Findings, Report, Run};
use crate::slo::Slo;

/// An objective, and what a run missed of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub slo: String,
    /// A term each; empty if all were met.
    pub missed: Vec<String>,
}

/// The verdict on a single run. None without an objective; a sweep and an A/B run have theirs elsewhere.
pub fn of(report: &Report) -> Option<Verdict> {
    let (Some(text), Findings::Run { run }) = (&report.slo, &report.findings) else { return None };
    let missed = match text.parse::<Slo>() {
        Ok(slo) => slo.missed(run),
        Err(error) => vec![format!("this version can't read the objective: {error}")],
    };
    Some(Verdict { slo: text.clone(), missed })
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

/// The limits that an objective sets to latency, in milliseconds, with the words that set them: lines on a drawing. What
/// else an objective holds has no place there and is passed over.
pub fn latency_limits(slo: &str) -> Vec<(String, f64)> {
    let limit = |term: &str| {
        let (figure, limit) = term.split_once('<')?;
        let figure = figure.trim().trim_start_matches("latency.");
        let is_latency = matches!(figure, "mean" | "max") || figure.strip_prefix('p')?.parse::<f64>().is_ok();
        let limit = limit.trim_start_matches('=').trim();
        let unit = limit.find(|char: char| char.is_ascii_alphabetic() || char == 'µ')?;
        let factor = match &limit[unit..] {
            "us" | "µs" => 1e-3,
            "ms" => 1.0,
            "s" => 1e3,
            _ => return None,
        };
        let limit: f64 = limit[..unit].trim().parse().ok()?;
        (is_latency && limit > 0.0).then(|| (term.trim().to_owned(), limit * factor))
    };
    slo.split(',').filter_map(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_latency_are_drawn_and_no_others() {
        let limits = latency_limits("p99<50ms, latency.p99.9<=1.5s,max<800us,errors<0.1%,ttft.p50<20ms,rate>100");
        let limits: Vec<_> = limits.iter().map(|(name, limit)| (name.as_str(), *limit)).collect();
        assert_eq!(limits, [("p99<50ms", 50.0), ("latency.p99.9<=1.5s", 1500.0), ("max<800us", 0.8)]);
        assert!(latency_limits("").is_empty());
    }
}
