//! Two servers in turn: pairs of runs close in time, so that what drifts meets both alike.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::Result;
use crate::arrivals::Arrivals;
use crate::compare;
use crate::engine::{Load, Span, Stop, Warmup};
use crate::result::{Ab, Run, Side};

/// The warm-up of all rounds but the first: connections, caches and compilers are warm, only the load itself is new.
const AGAIN: Duration = Duration::from_millis(500);

/// What to do with both.
#[derive(Clone, Debug)]
pub struct AbPlan {
    pub load: Load,
    /// Of each run. Its warm-up is that of the first round; later ones take half a second at most.
    pub span: Span,
    /// Pairs of runs.
    pub rounds: usize,
    pub seed: u64,
    pub stop: Stop,
}

/// Compares by way of `run`, which gets whom to load with what, and a label. A stop drops the pair that it broke.
pub(super) fn ab(plan: &AbPlan, mut run: impl FnMut(Side, &Load, &Span, &str) -> Result<Run>) -> Result<Ab> {
    let mut random = StdRng::seed_from_u64(plan.seed);
    let mut ab = Ab::default();
    for round in 0..plan.rounds {
        let load = load(&plan.load, round);
        let span = span(&plan.span, round);
        let order = if random.random() { [Side::A, Side::B] } else { [Side::B, Side::A] };
        let mut pair = (None, None);
        for side in order {
            let (name, seen) = match side {
                Side::A => ("a", &mut pair.0),
                Side::B => ("b", &mut pair.1),
            };
            if !plan.stop.is_stopped() {
                *seen = Some(run(side, &load, &span, &format!("{name}, round {} of {}", round + 1, plan.rounds))?);
            }
        }
        let (Some(a), Some(b), false) = (pair.0, pair.1, plan.stop.is_stopped()) else { break };
        ab.a.push(a);
        ab.b.push(b);
    }
    ab.ratios = compare::pairs(&ab.a, &ab.b);
    Ok(ab)
}

/// The same arrivals for both of a pair, and others in each round.
fn load(load: &Load, round: usize) -> Load {
    match load {
        Load::Open(Arrivals::Drawn { course, gaps, seed }) => {
            let seed = seed.wrapping_add(round as u64);
            Load::Open(Arrivals::Drawn { course: course.clone(), gaps: *gaps, seed })
        }
        other => other.clone(),
    }
}

fn span(span: &Span, round: usize) -> Span {
    let warmup = match span.warmup {
        first if round == 0 => first,
        Warmup::For(time) => Warmup::For(time.min(AGAIN)),
        Warmup::Steady { at_most } => Warmup::For(at_most.min(AGAIN)),
    };
    Span { warmup, until: span.until }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrivals::{Course, Gaps};
    use crate::engine::Until;

    fn plan(rounds: usize) -> AbPlan {
        AbPlan {
            load: Load::Open(Arrivals::Drawn { course: Course::Constant(100.0), gaps: Gaps::Poisson, seed: 7 }),
            span: Span {
                warmup: Warmup::Steady { at_most: Duration::from_secs(10) },
                until: Until::After(Duration::from_secs(5)),
            },
            rounds,
            seed: 1,
            stop: Stop::default(),
        }
    }

    /// What was asked for: who, the seed of the arrivals, the warm-up and the label.
    type Asked = (Side, u64, Warmup, String);

    fn record(asked: &mut Vec<Asked>, side: Side, load: &Load, span: &Span, label: &str) -> Run {
        let Load::Open(Arrivals::Drawn { seed, .. }) = load else { panic!("{load:?}") };
        asked.push((side, *seed, span.warmup, label.to_owned()));
        Run { due: *seed, rate: if side == Side::A { 1.0 } else { 2.0 }, ..Run::default() }
    }

    #[test]
    fn pairs_in_changing_order_under_the_same_load() {
        let mut asked = Vec::new();
        let ab = ab(&plan(40), |side, load, span, label| Ok(record(&mut asked, side, load, span, label))).unwrap();
        assert_eq!((ab.a.len(), ab.b.len()), (40, 40));
        assert!(ab.a.iter().all(|run| run.rate == 1.0) && ab.b.iter().all(|run| run.rate == 2.0), "sides mixed up");
        for (round, pair) in asked.chunks(2).enumerate() {
            assert_ne!(pair[0].0, pair[1].0);
            assert_eq!((pair[0].1, pair[1].1), (7 + round as u64, 7 + round as u64));
            let steady = |asked: &Asked| matches!(asked.2, Warmup::Steady { .. });
            assert_eq!((steady(&pair[0]), steady(&pair[1])), (round == 0, round == 0));
        }
        let a_first = asked.chunks(2).filter(|pair| pair[0].0 == Side::A).count();
        assert!((8..=32).contains(&a_first), "{a_first} of 40");
        let label = if asked[2].0 == Side::A { "a, round 2 of 40" } else { "b, round 2 of 40" };
        assert_eq!(asked[2].3, label);
    }

    #[test]
    fn a_stop_leaves_whole_pairs() {
        for stopped_in in 1..=6 {
            let plan = plan(3);
            let mut asked = Vec::new();
            let ab = ab(&plan, |side, load, span, label| {
                let run = record(&mut asked, side, load, span, label);
                if asked.len() == stopped_in {
                    plan.stop.stop();
                }
                Ok(run)
            });
            let ab = ab.unwrap();
            assert_eq!(ab.a.len(), (stopped_in - 1) / 2, "stopped in run {stopped_in}");
            assert_eq!((ab.b.len(), asked.len()), (ab.a.len(), stopped_in));
        }
    }

    #[test]
    fn a_run_that_fails_ends_it() {
        let mut runs = 0;
        let failed = ab(&plan(3), |_, _, _, _| {
            runs += 1;
            Err(crate::error("can't connect"))
        });
        assert!(failed.is_err());
        assert_eq!(runs, 1);
    }
}
