//! Runs and requests, held to an objective.

use super::Slo;
use super::figure::{Figure, Rate, Share, Span, Statistic};
use super::parse::{Comparison, Term};
use crate::result::{Distribution, Run, supports};

/// The times of one request, in milliseconds from when it was due.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    pub latency: f64,
    /// Of streamed answers only.
    pub ttft: Option<f64>,
    /// The mean gap between parts; none of an answer in one part.
    pub itl: Option<f64>,
    pub tpot: Option<f64>,
}

/// What is asked of each request for it to be a good one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Limit {
    span: Span,
    is: Comparison,
    ms: f64,
}

/// Of each span what the highest quantile must be below, with a maximum as the highest of all.
pub(super) fn limits(terms: &[Term]) -> Vec<Limit> {
    let limits = terms.iter().filter_map(|term| {
        let q = match term.figure {
            Figure::Time(_, Statistic::Quantile(q)) => q,
            Figure::Time(_, Statistic::Max) => 1.0,
            _ => return None,
        };
        let (Figure::Time(span, _), Comparison::Below | Comparison::AtMost) = (term.figure, term.is) else {
            return None;
        };
        Some((q, Limit { span, is: term.is, ms: term.limit }))
    });
    let limits: Vec<(f64, Limit)> = limits.collect();
    let is_highest = |(q, limit): &&(f64, Limit)| limits.iter().all(|(other, of)| of.span != limit.span || other <= q);
    limits.iter().filter(is_highest).map(|(_, limit)| *limit).collect()
}

impl Slo {
    /// What the run missed, a term each, as `p99 81 ms is not below 50 ms`. Empty: it was met.
    pub fn missed(&self, run: &Run) -> Vec<String> {
        self.terms.iter().filter_map(|term| term.missed(run)).collect()
    }

    /// What any of several runs missed, a term each: what the first that missed it did, and how many there were.
    pub fn missed_in_rounds(&self, runs: &[Run]) -> Vec<String> {
        let missed = |term: &Term| {
            let mut rounds = runs.iter().enumerate().filter_map(|(index, run)| Some((index + 1, term.missed(run)?)));
            let (first, missed) = rounds.next()?;
            let (count, of) = (1 + rounds.count(), runs.len());
            Some(format!("{missed} in round {first}; '{term}' was missed in {count} of {of}"))
        };
        self.terms.iter().filter_map(missed).collect()
    }

    /// What of the verdict rests on few requests, a term each, whether it was met or missed.
    pub fn doubts(&self, run: &Run) -> Vec<String> {
        self.terms.iter().filter_map(|term| term.doubt(run)).collect()
    }

    /// Whether one right answer met the limits in time that are set to requests: of each span that of the highest quantile.
    ///
    /// A limit on a mean is none on a request. An answer that was not streamed can't meet a limit on its parts; one in
    /// a single part has no gaps, and meets any limit on them.
    pub fn is_good(&self, request: &Times) -> bool {
        self.limits.iter().all(|limit| {
            let value = match limit.span {
                Span::Latency => Some(request.latency),
                Span::Ttft => request.ttft,
                Span::Itl => request.itl.or(request.ttft.and(Some(0.0))),
                Span::Tpot => request.tpot.or(request.ttft.and(Some(0.0))),
            };
            value.is_some_and(|value| limit.is.holds(value, limit.ms))
        })
    }

    /// Whether it sets any limit in time to a request; without one, every right answer is a good one.
    pub fn limits_requests(&self) -> bool {
        !self.limits.is_empty()
    }

    /// What latency must be below by the objective, in milliseconds, with the terms that say so.
    pub fn latency_limits(&self) -> Vec<(String, f64)> {
        let limit = |term: &Term| match (term.figure, term.is) {
            (Figure::Time(Span::Latency, _), Comparison::Below | Comparison::AtMost) => {
                Some((term.to_string(), term.limit))
            }
            _ => None,
        };
        self.terms.iter().filter_map(limit).collect()
    }
}

impl Term {
    fn missed(&self, run: &Run) -> Option<String> {
        let Term { figure, is, limit } = self;
        let value = match value(*figure, run) {
            Ok(value) if is.holds(value, *limit) => return None,
            Ok(value) => value,
            Err(why) => return Some(format!("{figure} is not known: {why}")),
        };
        if value.is_infinite() {
            let failed = Figure::Share(Share::Errors).show(failed(run));
            return Some(format!("{figure} is that of a request that got no right answer: {failed} did not"));
        }
        let few = few(*figure, run).map_or(String::new(), |count| format!(" (of only {count} values)"));
        Some(format!("{figure} {} {} {}{few}", figure.show(value), is.broken(), figure.show(*limit)))
    }

    fn doubt(&self, run: &Run) -> Option<String> {
        let count = few(self.figure, run)?;
        Some(format!("{} rests on only {count} values, of which fewer than ten lie beyond it", self.figure))
    }
}

/// The share of the requests due that got no right answer.
fn failed(run: &Run) -> f64 {
    run.outcomes.failed() as f64 / run.outcomes.total().max(1) as f64
}

/// The figure of a run, or why the run can't tell it.
fn value(figure: Figure, run: &Run) -> Result<f64, &'static str> {
    match figure {
        Figure::Time(span, statistic) => {
            let times = distribution(span, run).ok_or("no answer was streamed")?;
            if times.count == 0 {
                return Err(match span {
                    Span::Latency => "no request was answered right",
                    Span::Ttft => "no right answer was streamed",
                    Span::Itl | Span::Tpot => "no right answer came in more than one part",
                });
            }
            match statistic {
                Statistic::Mean => Ok(times.mean),
                Statistic::Max => Ok(times.max),
                Statistic::Quantile(q) => Ok(quantile(q, times, run)),
            }
        }
        Figure::Share(_) if run.due == 0 => Err("no request was due"),
        Figure::Share(share) => {
            let outcomes = &run.outcomes;
            let of_due = |count: u64| Ok(count as f64 / run.due as f64);
            match share {
                Share::Errors => of_due(outcomes.failed()),
                Share::Shed => of_due(outcomes.shed),
                Share::Timeouts => of_due(outcomes.timeouts),
                Share::Wrong => of_due(outcomes.wrong),
                Share::Good => outcomes.good.map_or_else(|| good(run).map(|rate| rate / run.due_rate), of_due),
            }
        }
        Figure::Rate(Rate::Answers) => Ok(run.rate),
        Figure::Rate(Rate::Good) => good(run),
        Figure::Rate(Rate::Tokens) => {
            run.streams.as_ref().map(|streams| streams.output_tokens_rate).ok_or("no answer was streamed")
        }
    }
}

fn good(run: &Run) -> Result<f64, &'static str> {
    run.goodput.ok_or("the run did not count it")
}

fn distribution(span: Span, run: &Run) -> Option<&Distribution> {
    match span {
        Span::Latency => Some(&run.latency),
        Span::Ttft => run.streams.as_ref().map(|streams| &streams.ttft),
        Span::Itl => run.streams.as_ref().map(|streams| &streams.itl),
        Span::Tpot => run.streams.as_ref().map(|streams| &streams.tpot),
    }
}

/// The value at a quantile of all requests that were due. Those that got no right answer are infinitely slow, so it is a
/// higher quantile of those that did.
fn quantile(q: f64, times: &Distribution, run: &Run) -> f64 {
    let of_right = q / (1.0 - failed(run));
    if of_right > 1.0 + 1e-9 { f64::INFINITY } else { times.at(of_right).unwrap_or(times.max) }
}

/// How many values a quantile rests on, where they are too few for it.
fn few(figure: Figure, run: &Run) -> Option<u64> {
    let Figure::Time(span, Statistic::Quantile(q)) = figure else { return None };
    let times = distribution(span, run)?;
    // Those that failed are values too.
    let all = (times.count as f64 / (1.0 - failed(run))).round() as u64;
    (times.count > 0 && !supports(all, q)).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::{Outcomes, Streams};

    fn distribution(count: u64, ms: f64) -> Distribution {
        let quantiles = crate::result::QUANTILES.iter().map(|q| (*q, ms * q)).collect();
        Distribution { count, mean: ms / 2.0, min: 0.0, max: ms * 2.0, quantiles }
    }

    /// 10 000 due in 100 s: 9990 right, 4 shed, 3 errors, 2 timeouts, 1 wrong; p50 is 40 ms, p99 79.2 ms, max 160 ms.
    fn run() -> Run {
        Run {
            seconds: 100.0,
            due: 10_000,
            due_rate: 100.0,
            rate: 99.9,
            goodput: Some(90.0),
            outcomes: Outcomes { ok: 9990, shed: 4, errors: 3, timeouts: 2, wrong: 1, ..Outcomes::default() },
            latency: distribution(9990, 80.0),
            ..Run::default()
        }
    }

    fn missed(slo: &str, run: &Run) -> Vec<String> {
        slo.parse::<Slo>().unwrap().missed(run)
    }

    #[test]
    fn each_term_is_judged_by_its_own_figure() {
        let run = run();
        for met in [
            "p99<80ms",
            "p50<=60ms",
            "mean<=40ms",
            "max<161ms",
            "errors<=0.1%",
            "errors<0.1001%",
            "shed<=0.04%",
            "timeouts<=0.02%",
            "wrong<=0.01%",
            "rate>=99",
            "goodput>=90",
            "goodput>=90%",
            "p99>79ms",
            "latency.p99<80ms",
        ] {
            assert_eq!(missed(met, &run), Vec::<String>::new(), "{met}");
        }
        for (term, text) in [
            // Of ranks that lie between two the run knows of, the one above counts: p99 of all is p99.1 of right ones.
            ("p90<50ms", "p90 76 ms is not below 50 ms"),
            ("max<=0.1s", "max 160 ms is above 100 ms"),
            ("errors<0.1%", "errors 0.1 % is not below 0.1 %"),
            ("shed<=0.03%", "shed 0.04 % is above 0.03 %"),
            ("timeouts<0.01%", "timeouts 0.02 % is not below 0.01 %"),
            ("wrong<=0%", "wrong 0.01 % is above 0 %"),
            ("rate>99.9", "rate 99.9/s is not above 99.9/s"),
            ("goodput>=91%", "goodput 90 % is below 91 %"),
        ] {
            assert_eq!(missed(term, &run), [text]);
        }
        assert_eq!(missed("p99<50ms,errors<5%,max<1ms", &run).len(), 2, "a text for each that was missed");
    }

    #[test]
    fn what_the_run_can_not_tell_is_missed() {
        let nothing = Run::default();
        assert_eq!(missed("p99<1s", &nothing), ["p99 is not known: no request was answered right"]);
        assert_eq!(missed("errors<100%", &nothing), ["errors is not known: no request was due"]);
        assert_eq!(missed("ttft.p99<1s", &run()), ["ttft.p99 is not known: no answer was streamed"]);
        assert_eq!(missed("tokens>1", &run()), ["tokens is not known: no answer was streamed"]);
        let no_goodput = Run { goodput: None, ..run() };
        assert_eq!(missed("goodput>1", &no_goodput), ["goodput is not known: the run did not count it"]);
        let single = Run { streams: Some(Streams { ttft: distribution(9, 5.0), ..Streams::default() }), ..run() };
        assert_eq!(missed("ttft.mean<1s", &single), Vec::<String>::new());
        assert_eq!(missed("itl.p99<1s", &single), ["itl.p99 is not known: no right answer came in more than one part"]);
    }

    /// So many due, of which some were answered with errors, and the right ones alike.
    fn failing(ok: u64, errors: u64) -> Run {
        let outcomes = Outcomes { ok, errors, ..Outcomes::default() };
        Run { due: ok + errors, outcomes, latency: distribution(ok, 80.0), ..run() }
    }

    #[test]
    fn a_request_without_a_right_answer_is_infinitely_slow() {
        let half = "p99 is that of a request that got no right answer: 50 % did not";
        assert_eq!(missed("p99<500ms", &failing(1000, 1000)), [half]);
        assert_eq!(missed("p50<500ms", &failing(1000, 1000)), Vec::<String>::new(), "the median is a right answer yet");
        assert_eq!(missed("p50<500ms", &failing(999, 1001)).len(), 1);
        assert_eq!(missed("p99<500ms", &failing(9900, 100)), Vec::<String>::new(), "the slowest right answer");
        assert_eq!(missed("p99<500ms", &failing(9899, 101)).len(), 1);
        assert_eq!(missed("p99>500ms", &failing(9899, 101)), Vec::<String>::new(), "it is above any limit");
        // p90 of 10 000 is rank 9000, and that is p94.7 of the 9500.
        assert_eq!(missed("p90<75ms", &failing(9500, 500)), ["p90 76 ms is not below 75 ms"]);
        let streams = Streams { ttft: distribution(1000, 5.0), itl: distribution(9000, 1.0), ..Streams::default() };
        let streamed = Run { streams: Some(streams), ..failing(1000, 1000) };
        assert_eq!(missed("ttft.p90<1s,itl.p50<1s,itl.p90<1s", &streamed).len(), 2);
    }

    #[test]
    fn quantiles_with_fewer_than_ten_values_beyond_are_doubted() {
        let of = |count| failing(count, 0);
        let slo: Slo = "p99<70ms".parse().unwrap();
        assert_eq!(slo.doubts(&of(1000)), Vec::<String>::new());
        assert_eq!(slo.doubts(&of(999)), ["p99 rests on only 999 values, of which fewer than ten lie beyond it"]);
        assert_eq!(slo.missed(&of(999)), ["p99 79.2 ms is not below 70 ms (of only 999 values)"]);
        assert!(slo.doubts(&failing(500, 500)).is_empty(), "those that failed lie beyond it too");
        let median: Slo = "p50<1ms,mean<1ms,max<1ms".parse().unwrap();
        assert_eq!(median.doubts(&of(3)), Vec::<String>::new());
    }

    #[test]
    fn what_was_missed_in_some_rounds_is_told_once() {
        let slo: Slo = "p99<500ms,errors<20%,max<1s".parse().unwrap();
        let rounds = [failing(1000, 0), failing(900, 100), failing(500, 500)];
        let told = slo.missed_in_rounds(&rounds);
        assert_eq!(
            told,
            [
                "p99 is that of a request that got no right answer: 10 % did not in round 2; 'p99<500ms' was missed in 2 of 3",
                "errors 50 % is not below 20 % in round 3; 'errors<20%' was missed in 1 of 3",
            ]
        );
        assert!(slo.missed_in_rounds(&rounds[..1]).is_empty() && slo.missed_in_rounds(&[]).is_empty());
    }

    #[test]
    fn the_limit_of_the_highest_quantile_holds_for_each_good_request() {
        let slo: Slo = "p99<100ms,p50<50ms,ttft.p90<=10ms,itl.p99<5ms,mean<1ms,errors<1%".parse().unwrap();
        let good = Times { latency: 99.0, ttft: Some(10.0), itl: Some(4.0), tpot: None };
        assert!(slo.is_good(&good), "limits on the median or the mean are none on a request");
        assert!(slo.is_good(&Times { itl: None, ..good }), "one part has no gaps");
        assert!(!slo.is_good(&Times { latency: 100.0, ..good }));
        assert!(!slo.is_good(&Times { ttft: Some(10.1), ..good }));
        assert!(!slo.is_good(&Times { itl: Some(5.0), ..good }));
        assert!(!slo.is_good(&Times { ttft: None, itl: None, ..good }), "not streamed");
        assert!(slo.limits_requests());
        let most: Slo = "max<2s,p99.99<1s".parse().unwrap();
        assert!(most.is_good(&Times { latency: 1999.0, ..good }) && !most.is_good(&Times { latency: 2000.0, ..good }));
        let lines = [("p99<100ms", 100.0), ("p50<50ms", 50.0), ("mean<1ms", 1.0)];
        assert_eq!(slo.latency_limits(), lines.map(|(term, limit)| (term.to_owned(), limit)));
        let shares: Slo = "errors<1%,mean<1ms,p99>1us".parse().unwrap();
        assert!(!shares.limits_requests() && shares.is_good(&Times::default()));
    }
}
