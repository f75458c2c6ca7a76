//! Runs and requests, held to an objective.

use super::Slo;
use super::figure::{Figure, Rate, Share, Span, Statistic};
use super::parse::{Comparison, Term};
use crate::result::{Distribution, Run};

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

impl Slo {
    /// What the run missed, a term each, as `p99 81 ms is not below 50 ms`. Empty: it was met.
    pub fn missed(&self, run: &Run) -> Vec<String> {
        self.terms.iter().filter_map(|term| term.missed(run)).collect()
    }

    /// What of the verdict rests on few requests, a term each, whether it was met or missed.
    pub fn doubts(&self, run: &Run) -> Vec<String> {
        self.terms.iter().filter_map(|term| term.doubt(run)).collect()
    }

    /// Whether one right answer met every limit in time that is set to requests, whatever the quantile.
    ///
    /// A limit on a mean is none on a request. An answer that was not streamed can't meet a limit on its parts; one in
    /// a single part has no gaps, and meets any limit on them.
    pub fn is_good(&self, request: &Times) -> bool {
        self.limits().all(|(span, is, limit)| {
            let value = match span {
                Span::Latency => Some(request.latency),
                Span::Ttft => request.ttft,
                Span::Itl => request.itl.or(request.ttft.and(Some(0.0))),
                Span::Tpot => request.tpot.or(request.ttft.and(Some(0.0))),
            };
            value.is_some_and(|value| is.holds(value, limit))
        })
    }

    /// Whether it sets any limit in time to a request; without one, every right answer is a good one.
    pub fn limits_requests(&self) -> bool {
        self.limits().next().is_some()
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

    fn limits(&self) -> impl Iterator<Item = (Span, Comparison, f64)> {
        self.terms.iter().filter_map(|term| match (term.figure, term.is) {
            (Figure::Time(_, Statistic::Mean), _) => None,
            (Figure::Time(span, _), Comparison::Below | Comparison::AtMost) => Some((span, term.is, term.limit)),
            _ => None,
        })
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
        let few = few(*figure, run).map_or(String::new(), |count| format!(" (the greatest of only {count})"));
        Some(format!("{figure} {} {} {}{few}", figure.show(value), is.broken(), figure.show(*limit)))
    }

    fn doubt(&self, run: &Run) -> Option<String> {
        let count = few(self.figure, run)?;
        Some(format!("{} rests on only {count} values, and is judged by the greatest of them", self.figure))
    }
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
                Statistic::Quantile(_) if few(figure, run).is_some() => Ok(times.max),
                Statistic::Quantile(q) => times.at(q).ok_or("the run has no such quantile"),
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

/// How many values a quantile rests on, where they are too few to tell it from the greatest.
fn few(figure: Figure, run: &Run) -> Option<u64> {
    let Figure::Time(span, Statistic::Quantile(q)) = figure else { return None };
    let count = distribution(span, run)?.count;
    // In whole parts of ten thousand, as 1 / (1 - 0.99) is a little more than 100.
    let above = ((1.0 - q) * 1e4).round() as u64;
    (count > 0 && count * above < 10_000).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::{Outcomes, Streams};

    fn distribution(count: u64, ms: f64) -> Distribution {
        let quantiles = crate::result::QUANTILES.iter().map(|q| (*q, ms * q)).collect();
        Distribution { count, mean: ms / 2.0, min: 0.0, max: ms * 2.0, quantiles }
    }

    /// 1000 due in 10 s: 990 right, 4 shed, 3 errors, 2 timeouts, 1 wrong; p50 is 40 ms, p99 79.2 ms, max 160 ms.
    fn run() -> Run {
        Run {
            seconds: 10.0,
            due: 1000,
            due_rate: 100.0,
            rate: 99.0,
            goodput: Some(90.0),
            outcomes: Outcomes { ok: 990, shed: 4, errors: 3, timeouts: 2, wrong: 1, ..Outcomes::default() },
            latency: distribution(990, 80.0),
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
            "p50<=40ms",
            "mean<=40ms",
            "max<161ms",
            "errors<=1%",
            "errors<1.001%",
            "shed<=0.4%",
            "timeouts<=0.2%",
            "wrong<=0.1%",
            "rate>=99",
            "goodput>=90",
            "goodput>=90%",
            "p99>79ms",
            "latency.p99<80ms",
        ] {
            assert_eq!(missed(met, &run), Vec::<String>::new(), "{met}");
        }
        for (term, text) in [
            ("p99<50ms", "p99 79.2 ms is not below 50 ms"),
            ("p50<40ms", "p50 40 ms is not below 40 ms"),
            ("max<=0.1s", "max 160 ms is above 100 ms"),
            ("errors<1%", "errors 1 % is not below 1 %"),
            ("shed<=0.3%", "shed 0.4 % is above 0.3 %"),
            ("timeouts<0.1%", "timeouts 0.2 % is not below 0.1 %"),
            ("wrong<=0%", "wrong 0.1 % is above 0 %"),
            ("rate>99", "rate 99/s is not above 99/s"),
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

    #[test]
    fn few_values_are_judged_by_the_greatest() {
        // Hundred are just enough for a p99.
        let enough = Run { latency: distribution(100, 80.0), ..run() };
        let few = Run { latency: distribution(99, 80.0), ..run() };
        let slo: Slo = "p99<100ms".parse().unwrap();
        assert_eq!((slo.missed(&enough), slo.doubts(&enough)), (vec![], vec![]));
        assert_eq!(slo.missed(&few), ["p99 160 ms is not below 100 ms (the greatest of only 99)"]);
        let generous: Slo = "p99<1s".parse().unwrap();
        assert!(generous.missed(&few).is_empty());
        assert_eq!(generous.doubts(&few), ["p99 rests on only 99 values, and is judged by the greatest of them"]);
    }

    #[test]
    fn limits_of_any_quantile_hold_for_each_good_request() {
        let slo: Slo = "p50<100ms,p99<50ms,ttft.p90<=10ms,itl.p99<5ms,mean<1ms,errors<1%".parse().unwrap();
        let good = Times { latency: 49.0, ttft: Some(10.0), itl: Some(4.0), tpot: None };
        assert!(slo.is_good(&good), "a limit on the mean is none on a request");
        assert!(slo.is_good(&Times { itl: None, ..good }), "one part has no gaps");
        assert!(!slo.is_good(&Times { latency: 50.0, ..good }));
        assert!(!slo.is_good(&Times { ttft: Some(10.1), ..good }));
        assert!(!slo.is_good(&Times { itl: Some(5.0), ..good }));
        assert!(!slo.is_good(&Times { ttft: None, itl: None, ..good }), "not streamed");
        assert!(slo.limits_requests());
        let lines = [("p50<100ms", 100.0), ("p99<50ms", 50.0), ("mean<1ms", 1.0)];
        assert_eq!(slo.latency_limits(), lines.map(|(term, limit)| (term.to_owned(), limit)));
        let shares: Slo = "errors<1%,mean<1ms,p99>1us".parse().unwrap();
        assert!(!shares.limits_requests() && shares.is_good(&Times::default()));
    }
}
