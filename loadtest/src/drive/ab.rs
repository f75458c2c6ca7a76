//! Two servers in turn: pairs of runs close in time, so that what drifts meets both alike.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::Result;
use crate::arrivals::Arrivals;
use crate::compare;
use crate::engine::{Load, Span, Stop, Warmup};
use crate::result::{Ab, Run, Side};
use crate::slo::Slo;

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
    /// Both are held to it, in every round.
    pub slo: Option<Slo>,
    pub stop: Stop,
}

/// Compares by way of `run`, which gets whom to load with what, and a label. A stop or an error drops the pair that it
/// broke.
///
/// # Errors
/// If a run of the first pair fails. A later one ends the comparison with the pairs before it.
pub(super) fn ab(plan: &AbPlan, mut run: impl FnMut(Side, &Load, &Span, &str) -> Result<Run>) -> Result<Ab> {
    // By chance who begins, and then in turn: so neither is the first of a pair more often than the other, but for one.
    let a_begins: bool = StdRng::seed_from_u64(plan.seed).random();
    let mut ab = Ab::default();
    for round in 0..plan.rounds {
        let a_first = a_begins == round.is_multiple_of(2);
        match pair(plan, round, a_first, &mut run) {
            Ok(Some((a, b))) => {
                ab.a.push(a);
                ab.b.push(b);
            }
            Ok(None) => break,
            Err(error) if ab.a.is_empty() => return Err(error),
            Err(error) => {
                ab.ended = Some(format!("an error ended it after {round} of {} rounds: {error}", plan.rounds));
                break;
            }
        }
    }
    ab.ratios = compare::pairs(&ab.a, &ab.b);
    if let Some(slo) = &plan.slo {
        (ab.missed_a, ab.missed_b) = (slo.missed_in_rounds(&ab.a), slo.missed_in_rounds(&ab.b));
    }
    Ok(ab)
}

/// One run on each; none if it was stopped.
fn pair(
    plan: &AbPlan,
    round: usize,
    a_first: bool,
    run: &mut impl FnMut(Side, &Load, &Span, &str) -> Result<Run>,
) -> Result<Option<(Run, Run)>> {
    let (load, span) = (load(&plan.load, round), span(&plan.span, round));
    let mut side = |side: Side| -> Result<Option<Run>> {
        let name = if side == Side::A { "a" } else { "b" };
        let seen = run(side, &load, &span, &format!("{name}, round {} of {}", round + 1, plan.rounds))?;
        Ok((!plan.stop.is_stopped()).then_some(seen))
    };
    if plan.stop.is_stopped() {
        return Ok(None);
    }
    let (first, second) = if a_first { (Side::A, Side::B) } else { (Side::B, Side::A) };
    let Some(first) = side(first)? else { return Ok(None) };
    let Some(second) = side(second)? else { return Ok(None) };
    Ok(Some(if a_first { (first, second) } else { (second, first) }))
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
            slo: None,
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
    fn who_begins_is_chance_and_then_they_take_turns() {
        let mut began = [0, 0];
        for seed in 0..64 {
            let mut firsts = Vec::new();
            let plan = AbPlan { seed, ..plan(5) };
            let mut runs = 0;
            ab(&plan, |side, _, _, _| {
                if runs % 2 == 0 {
                    firsts.push(side);
                }
                runs += 1;
                Ok(Run::default())
            })
            .unwrap();
            let a = firsts.iter().filter(|side| **side == Side::A).count();
            assert!(a.abs_diff(firsts.len() - a) <= 1, "{firsts:?}");
            began[usize::from(firsts[0] == Side::B)] += 1;
        }
        assert!(began.iter().all(|count| *count >= 16), "{began:?}");
    }

    #[test]
    fn an_error_leaves_the_pairs_before_it() {
        for failing in 1..=4 {
            let mut runs = 0;
            let ab = ab(&plan(3), |_, _, _, _| {
                runs += 1;
                if runs == failing { Err(crate::error("can't connect")) } else { Ok(Run::default()) }
            });
            assert_eq!(runs, failing);
            match ab {
                Err(error) => assert!(failing <= 2 && error.to_string() == "can't connect"),
                Ok(ab) => {
                    assert_eq!((ab.a.len(), ab.b.len()), (1, 1));
                    let ended = "an error ended it after 1 of 3 rounds: can't connect";
                    assert_eq!(ab.ended.as_deref(), Some(ended));
                }
            }
        }
    }

    #[test]
    fn each_side_is_held_to_the_objective() {
        let plan = AbPlan { slo: Some("rate>5,errors<1%".parse().unwrap()), ..plan(3) };
        let mut asked = Vec::new();
        let ab = ab(&plan, |side, load, span, label| {
            let mut run = record(&mut asked, side, load, span, label);
            run.outcomes.ok = 10;
            run.rate = if side == Side::B && label.starts_with("b, round 2") { 1.0 } else { 10.0 };
            Ok(run)
        })
        .unwrap();
        assert!(ab.missed_a.is_empty(), "{:?}", ab.missed_a);
        assert_eq!(ab.missed_b, ["rate 1/s is not above 5/s in round 2; 'rate>5' was missed in 1 of 3"]);
    }
}
