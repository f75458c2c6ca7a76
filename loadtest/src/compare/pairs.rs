//! Rounds of an A/B run.

use super::better;
use super::figures::{FIGURES, Figure};
use crate::result::{Ratio, Run};
use crate::stats::Spread;

/// With fewer pairs nothing is called better.
const LEAST_PAIRS: usize = 3;

/// When a figure counts as better, in words.
pub const PAIRS_RULE: &str = "Each round is a pair, so what drifts over the run cancels out. One side counts as better only \
    if it was so in every one of at least 3 rounds. By chance alone that happens to one figure in 4 with 3 rounds, to one in \
    16 with 5, and to one in 512 with 10.";

/// Figures of several runs on A and as many on B, in pairs by index.
///
/// A figure is left out unless every run has it. One side counts as better if all pairs, of which there must be at least
/// three, say so: [`PAIRS_RULE`] tells how often that is wrong.
pub fn pairs(a: &[Run], b: &[Run]) -> Vec<Ratio> {
    FIGURES.iter().filter_map(|figure| ratio(figure, a, b)).collect()
}

fn ratio(figure: &Figure, a: &[Run], b: &[Run]) -> Option<Ratio> {
    let all = |runs: &[Run], value: fn(&Run) -> Option<f64>| runs.iter().map(value).collect::<Option<Vec<f64>>>();
    let of_pairs = a.iter().zip(b).map(|(a, b)| Some((figure.compared)(b)? / (figure.compared)(a)?));
    let spread = Spread::of(of_pairs.collect::<Option<Vec<f64>>>()?);
    // Nothing is a multiple of a rate of zero.
    if !(spread.median.is_finite() && spread.max.is_finite()) {
        return None;
    }
    let (a, b) = (all(a, figure.value)?, all(b, figure.value)?);
    // That nobody failed is not worth a row.
    if a.iter().chain(&b).all(|value| *value == 0.0) {
        return None;
    }
    let enough = a.len().min(b.len()) >= LEAST_PAIRS;
    Some(Ratio {
        figure: figure.name.to_owned(),
        unit: figure.unit.to_owned(),
        better: better(spread.min, spread.max, figure.higher_is_better).filter(|_| enough),
        a: Spread::of(a).median,
        b: Spread::of(b).median,
        ratio: spread.median,
        least: spread.min,
        greatest: spread.max,
        higher_is_better: figure.higher_is_better,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture::run;
    use crate::result::Side;

    fn runs(bases: &[f64]) -> Vec<Run> {
        bases.iter().map(|base| run(200.0, 10, *base, 0.0, 1)).collect()
    }

    fn p50(a: &[f64], b: &[f64]) -> Ratio {
        pairs(&runs(a), &runs(b)).into_iter().find(|ratio| ratio.figure == "latency p50").unwrap()
    }

    #[test]
    fn drift_over_the_rounds_cancels_out() {
        let ratio = p50(&[10.0, 20.0, 40.0], &[9.0, 18.0, 36.0]);
        assert!((ratio.least - 0.9).abs() < 1e-9 && (ratio.greatest - 0.9).abs() < 1e-9, "{ratio:?}");
        assert_eq!((ratio.a, ratio.b, ratio.better), (20.0, 18.0, Some(Side::B)));
    }

    #[test]
    fn one_round_that_says_otherwise_leaves_them_equal() {
        let ratio = p50(&[10.0, 10.0, 10.0, 10.0], &[8.0, 8.0, 8.0, 10.1]);
        assert_eq!((ratio.ratio, ratio.better), (0.8, None));
        assert_eq!((ratio.least, ratio.greatest), (0.8, 1.01));
    }

    #[test]
    fn two_rounds_prove_nothing() {
        assert_eq!(p50(&[10.0, 10.0], &[5.0, 5.0]).better, None);
        assert_eq!(p50(&[10.0, 10.0, 10.0], &[20.0, 20.0, 20.0]).better, Some(Side::A));
    }

    #[test]
    fn more_answers_are_better_and_more_failures_worse() {
        let mut a = runs(&[10.0; 3]);
        let mut b = runs(&[10.0; 3]);
        for run in &mut b {
            run.rate *= 2.0;
        }
        for run in a.iter_mut().chain(&mut b) {
            run.outcomes = crate::result::Outcomes { ok: 1000, ..Default::default() };
        }
        let of = |a: &[Run], b: &[Run], name| pairs(a, b).into_iter().find(|ratio| ratio.figure == name);
        assert_eq!(of(&a, &b, "right answers").unwrap().better, Some(Side::B));
        assert_eq!(of(&a, &b, "not answered right"), None, "nobody failed");
        for run in &mut b {
            run.outcomes.errors = 9;
        }
        let failed = of(&a, &b, "not answered right").unwrap();
        assert_eq!((failed.a, failed.better), (0.0, Some(Side::A)));
        assert!(failed.ratio.is_finite() && failed.ratio > 10.0, "{failed:?}");
    }

    #[test]
    fn a_server_that_answers_nothing_is_worse() {
        let a = runs(&[10.0; 3]);
        let dead: Vec<Run> = a.iter().map(|run| Run { due: run.due, ..Run::default() }).collect();
        let of = |a: &[Run], b: &[Run]| pairs(a, b).into_iter().find(|ratio| ratio.figure == "right answers");
        let rate = of(&a, &dead).unwrap();
        assert_eq!((rate.b, rate.ratio, rate.greatest, rate.better), (0.0, 0.0, 0.0, Some(Side::A)));
        assert_eq!((of(&dead, &a), of(&dead, &dead)), (None, None), "there is no ratio to nothing");
    }

    #[test]
    fn quantiles_that_stand_on_few_values_are_not_compared() {
        let names = |rate| {
            pairs(&[run(rate, 4, 1.0, 1.0, 1)], &[run(rate, 4, 1.0, 1.0, 2)]).into_iter().map(|ratio| ratio.figure)
        };
        assert!(!names(50.0).any(|name| name == "latency p99"));
        assert!(names(500.0).any(|name| name == "latency p99"));
        assert!(pairs(&[], &[]).is_empty());
    }
}
