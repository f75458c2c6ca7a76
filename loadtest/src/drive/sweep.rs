//! A sweep: the search says rates, each becomes a run, and what the runs show goes back to the search.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::fixed;
use super::point::point;
use crate::Result;
use crate::arrivals::{Arrivals, Course, Gaps};
use crate::engine::{Load, Span, Stop, Until, Warmup};
use crate::result::{Run, Sweep, SweepPoint};
use crate::search::{self, Light, Point, Search, Verdict, answers_are_missing, falls_behind, saturated};
use crate::slo::Slo;

/// Who never loads a server with more than one request.
const ALONE: Load = Load::Closed { callers: 1, think: Duration::ZERO };

/// Requests of a lone caller at first.
const FEW: u64 = 3;
/// Requests that a probe of light load should have, about.
const PROBE_REQUESTS: f64 = 20.0;
/// How long a probe may take, where a single request takes no longer.
const PROBE_AT_MOST: Duration = Duration::from_secs(2);
/// Probes in a rest, and how long it may take: a server that has not recovered then gets its next point as it is.
const PROBES: usize = 10;
const REST_AT_MOST: Duration = Duration::from_secs(20);
/// A server has recovered when its median is within this factor of light load's.
const RECOVERED: f64 = 2.0;
/// Requests that a point should have at least: it bounds the rate from below where the caller does not.
const LEAST_REQUESTS: f64 = 10.0;
/// A point measures for this long at least: two of the shortest windows.
const SHORTEST: Duration = Duration::from_millis(500);
/// The warm-up of a point ends when it is steady: windows can't show that earlier than this, and need no longer.
const WARMUP: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(10);

/// What to sweep.
#[derive(Clone, Debug)]
pub struct SweepPlan {
    /// The rate to begin with; none: half of what a lone caller gets.
    pub start: Option<f64>,
    pub gaps: Gaps,
    pub seed: u64,
    /// Measured at each point, for half a second at least. Its warm-up ends when it is steady, after half of this at most,
    /// but may take a second and twice as long as a lone caller waits.
    pub duration: Duration,
    /// None: the rates that the server keeps up with are looked for.
    pub slo: Option<Slo>,
    pub limits: search::Limits,
    pub stop: Stop,
}

/// Sweeps by way of `run`, which gets what is to be run and a label for it.
///
/// # Errors
/// If nothing could be measured. An error after the first point ends the sweep with what was.
pub(super) fn sweep(plan: &SweepPlan, run: impl FnMut(&Load, &Span, &str) -> Result<Run>) -> Result<Sweep> {
    let duration = plan.duration.max(SHORTEST);
    let (light, points, sweep) = (Light::default(), Vec::new(), Sweep::default());
    let mut sweeper = Sweeper { plan, duration, run, light, points, sweep };
    let start = sweeper.lone_caller()?;
    let limits = sweeper.limits();
    let mut search = Search::new(start, limits);
    let broken = sweeper.explore(&mut search).err();
    if sweeper.points.is_empty() {
        return Err(broken.unwrap_or_else(nothing_measured));
    }
    let knee = sweeper.knee();
    let Sweeper { mut sweep, .. } = sweeper;
    sweep.points.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    sweep.best_rate = search.best();
    sweep.failed_rate = search.failed();
    sweep.knee_rate = knee;
    sweep.broken = broken.is_some();
    sweep.ended = broken.map_or_else(|| search.ended(), |error| format!("an error ended it: {error}"));
    if !sweep.broken && search.best().is_none() && search.failed() == Some(limits.floor) {
        sweep.ended +=
            &format!("; lower rates need a longer run, with {LEAST_REQUESTS} requests or more at each point");
    }
    Ok(sweep)
}

fn nothing_measured() -> std::io::Error {
    crate::error("stopped before anything was measured")
}

struct Sweeper<'a, F> {
    plan: &'a SweepPlan,
    /// Measured at each point.
    duration: Duration,
    run: F,
    light: Light,
    points: Vec<Point>,
    sweep: Sweep,
}

impl<F: FnMut(&Load, &Span, &str) -> Result<Run>> Sweeper<'_, F> {
    /// Measures what latency is without load, and says where to begin.
    fn lone_caller(&mut self) -> Result<f64> {
        // A few requests first, as nobody knows yet how long one takes. They are cold, so a quick server is asked again.
        let few = Span { warmup: Warmup::For(Duration::ZERO), until: Until::Requests(FEW) };
        let (mut run, mut p50) = self.ask_alone(&few)?;
        let measured = self.duration.min(PROBE_AT_MOST);
        if p50 * PROBE_REQUESTS <= measured.as_secs_f64() * 1e3 {
            (run, p50) = self.ask_alone(&fixed(measured / 4, measured))?;
        }
        let rate = 1e3 / p50;
        self.light.seen(&point(rate, &run));
        Ok(self.plan.start.unwrap_or(rate / 2.0))
    }

    /// A closed loop of one, and its median in milliseconds.
    fn ask_alone(&mut self, span: &Span) -> Result<(Run, f64)> {
        let run = (self.run)(&ALONE, span, "a lone caller")?;
        // What was broken off says nothing of the server.
        if self.plan.stop.is_stopped() {
            return Err(nothing_measured());
        }
        let p50 = run.latency.at(0.5).filter(|p50| *p50 > 0.0).ok_or_else(|| {
            let kinds: Vec<_> = run.outcomes.by_kind.iter().map(|(kind, count)| format!("{kind}: {count}")).collect();
            let kinds = if kinds.is_empty() { "none came".to_owned() } else { kinds.join(", ") };
            crate::error(format!("no answer to a lone caller was right ({kinds}): there is nothing to sweep"))
        })?;
        Ok((run, p50))
    }

    fn limits(&self) -> search::Limits {
        let floor = (LEAST_REQUESTS / self.duration.as_secs_f64()).min(self.plan.start.unwrap_or(f64::INFINITY));
        search::Limits { floor: floor.max(self.plan.limits.floor), ..self.plan.limits }
    }

    /// Points until the search is over, or it is stopped.
    fn explore(&mut self, search: &mut Search) -> Result<()> {
        while let Some(rate) = search.next_rate() {
            let Some(verdict) = self.point(rate)? else { break };
            search.seen(verdict);
            if !verdict.met && search.next_rate().is_some() {
                self.rest()?;
            }
        }
        Ok(())
    }

    /// One point; none if it was stopped, as half a point proves nothing.
    fn point(&mut self, rate: f64) -> Result<Option<Verdict>> {
        if self.plan.stop.is_stopped() {
            return Ok(None);
        }
        let number = self.points.len() as u64 + 1;
        let label = format!("point {number}: {}/s", search::rounded(rate));
        let SweepPlan { gaps, seed, .. } = *self.plan;
        let course = Course::Constant(rate);
        let load = Load::Open(Arrivals::Drawn { course, gaps, seed: seed.wrapping_add(number) });
        let span = Span { warmup: self.warmup(), until: Until::After(self.duration) };
        let run = (self.run)(&load, &span, &label)?;
        if self.plan.stop.is_stopped() {
            return Ok(None);
        }
        let point = point(rate, &run);
        let saturated = saturated(&point, &self.light);
        if saturated.is_empty() {
            self.light.seen(&point);
        }
        let missed = match &self.plan.slo {
            Some(slo) => slo.missed(&run).into_iter().chain(falls_behind(&point, &self.light)).collect(),
            None => saturated,
        };
        self.points.push(point);
        let verdict = Verdict { rate, met: missed.is_empty(), tester_limited: !run.limits.reached.is_empty() };
        self.sweep.points.push(SweepPoint { rate, met: verdict.met, missed, run });
        Ok(Some(verdict))
    }

    /// Until the first answers have come, a server of any capacity looks as if it did not keep up.
    fn warmup(&self) -> Warmup {
        let at_most = (self.duration / 2).clamp(*WARMUP.start(), *WARMUP.end());
        Warmup::Steady { at_most: at_most.max(2 * self.alone()) }
    }

    /// What a lone caller waits.
    fn alone(&self) -> Duration {
        let ms = self.light.p50().unwrap_or_default();
        Duration::try_from_secs_f64(ms / 1e3).unwrap_or_default()
    }

    /// Lets a server recover from what was too much: a lone caller in short runs, until its median is near that of light
    /// load.
    ///
    /// Nothing of ours is in flight between runs, but the server may still work on what timed out, collect garbage, or
    /// have scaled. A lone caller can't overload it anew, however slow it is by now.
    fn rest(&mut self) -> Result<()> {
        let light = self.light.p50().unwrap_or_default();
        let alone = self.alone();
        let measured = alone.mul_f64(PROBE_REQUESTS).min(PROBE_AT_MOST).min(self.duration);
        let probes = REST_AT_MOST.as_secs_f64() / measured.max(alone).as_secs_f64().max(f64::MIN_POSITIVE);
        let label = format!("rest after point {}", self.points.len());
        for _ in 0..(probes as usize).clamp(1, PROBES) {
            if self.plan.stop.is_stopped() {
                break;
            }
            let run = (self.run)(&ALONE, &fixed(Duration::ZERO, measured), &label)?;
            if run.latency.at(0.5).is_some_and(|p50| p50 <= light * RECOVERED + 1.0) {
                break;
            }
        }
        Ok(())
    }

    /// The knee. With an objective latency is the objective's affair, and what fails at any rate is no sign of a knee.
    fn knee(&self) -> Option<f64> {
        if self.plan.slo.is_none() {
            return search::knee(&self.points, |point| !saturated(point, &self.light).is_empty());
        }
        let right = self.points.iter().map(|point| point.answered / point.due).fold(0.0, f64::max);
        search::knee(&self.points, |point| {
            let answered = if right > 0.0 { point.answered / right } else { 0.0 };
            answers_are_missing(&Point { answered, ..*point }, &self.light)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::model::Model;

    fn plan(slo: Option<&str>) -> SweepPlan {
        SweepPlan {
            start: None,
            gaps: Gaps::Poisson,
            seed: 1,
            duration: Duration::from_secs(10),
            slo: slo.map(|slo| slo.parse().unwrap()),
            limits: search::Limits::default(),
            stop: Stop::default(),
        }
    }

    /// 4 workers of 20 ms each: 200/s.
    fn model() -> Model {
        Model::new(4, 20.0)
    }

    #[test]
    fn finds_capacity_without_an_objective() {
        let mut model = model();
        let sweep = sweep(&plan(None), |load, span, label| model.run(load, span, label)).unwrap();
        let (best, knee) = (sweep.best_rate.unwrap(), sweep.knee_rate.unwrap());
        assert!((170.0..=211.0).contains(&best), "{best}: {}", sweep.ended);
        assert!((180.0..=211.0).contains(&knee), "{knee}");
        assert!(sweep.points.is_sorted_by(|a, b| a.rate <= b.rate));
        assert!(sweep.points.iter().all(|point| point.met == point.missed.is_empty()));
        assert_eq!(model.labels[..2], ["a lone caller"; 2], "cold, then warm");
        assert_eq!(model.labels[2], "point 1: 25.0/s", "half of what a lone caller gets");
        let first_missed = model.labels.iter().position(|label| label.starts_with("rest")).unwrap();
        assert!(model.labels[first_missed - 1].starts_with("point"), "{:?}", model.labels);
    }

    #[test]
    fn finds_the_rate_that_an_objective_allows() {
        let mut model = model();
        // The model's p99 is three times its mean wait above the service time: 40 ms at about 78 % of capacity.
        let sweep = sweep(&plan(Some("p99<40ms,errors<1%")), |load, span, label| model.run(load, span, label)).unwrap();
        let (best, failed) = (sweep.best_rate.unwrap(), sweep.failed_rate.unwrap());
        let truth = model.rate_where_p99_is(40.0);
        assert!(best <= truth && truth <= failed && failed / best <= 1.05, "{best} {truth} {failed}");
        let missed = sweep.points.iter().find(|point| point.rate == failed).unwrap();
        assert!(missed.missed[0].starts_with("p99 4"), "{:?}", missed.missed);
    }

    #[test]
    fn an_objective_without_a_limit_in_time_does_not_hide_a_queue_that_grows() {
        let mut model = model();
        let sweep = sweep(&plan(Some("errors<1%")), |load, span, label| model.run(load, span, label)).unwrap();
        assert!(sweep.best_rate.unwrap() <= 211.0, "{}", sweep.ended);
        assert!(sweep.points.last().unwrap().missed[0].contains("does not keep up"));
    }

    #[test]
    fn an_objective_alone_says_what_is_too_slow() {
        // A millisecond alone and 20 in a batch, at any rate below 200/s.
        let mut batching = Model { alone_ms: Some(1.0), ..model() };
        let truth = batching.rate_where_p99_is(40.0);
        let sweep = sweep(&plan(Some("p99<40ms")), |load, span, label| batching.run(load, span, label)).unwrap();
        let (best, failed) = (sweep.best_rate.unwrap(), sweep.failed_rate.unwrap());
        assert!(best <= truth && truth <= failed && failed / best <= 1.05, "{best} {truth} {failed}");
        assert!(sweep.knee_rate.is_none_or(|knee| knee >= 180.0), "{:?}", sweep.knee_rate);
    }

    #[test]
    fn an_objective_alone_says_how_many_may_fail() {
        let mut model = Model { failing: 0.08, ..model() };
        let sweep = sweep(&plan(Some("errors<10%")), |load, span, label| model.run(load, span, label)).unwrap();
        let (best, knee) = (sweep.best_rate.unwrap(), sweep.knee_rate.unwrap());
        assert!((170.0..=211.0).contains(&best), "{best}: {}", sweep.ended);
        assert!((160.0..=211.0).contains(&knee), "{knee}: what fails at any rate is no knee");
    }

    #[test]
    fn a_slow_server_of_great_capacity_keeps_up() {
        // 2 s each, and 5000 at once: no answer comes in the first half of the time that is measured.
        for alone_ms in [None, Some(150.0)] {
            let mut slow = Model { alone_ms, ..Model::new(5000, 2000.0) };
            let limits = search::Limits { cap: 400.0, ..search::Limits::default() };
            let plan = SweepPlan { duration: Duration::from_secs(2), limits, ..plan(Some("p99<5s")) };
            let sweep = sweep(&plan, |load, span, label| slow.run(load, span, label)).unwrap();
            assert_eq!(sweep.best_rate, Some(400.0), "{}: {:?}", sweep.ended, sweep.points.last().unwrap().missed);
        }
    }

    #[test]
    fn an_overloaded_server_does_not_say_what_light_load_is() {
        // It answers at once what little it takes.
        let quick = |rate: f64, run: &mut Run| {
            if rate > 200.0 {
                run.latency.quantiles.iter_mut().for_each(|(_, value)| *value = 0.5);
            }
        };
        let mut model = model();
        let plan = SweepPlan { start: Some(800.0), ..plan(None) };
        let sweep = sweep(&plan, |load, span, label| {
            let mut run = model.run(load, span, label)?;
            if let Load::Open(Arrivals::Drawn { course: Course::Constant(rate), .. }) = load {
                quick(*rate, &mut run);
            }
            Ok(run)
        });
        // Else 20 ms would be forty times light load at every rate.
        assert!(sweep.unwrap().best_rate.unwrap() > 150.0);
    }

    #[test]
    fn an_error_ends_it_with_what_was_measured() {
        let breaking = |at: &'static str| {
            let mut model = model();
            sweep(&plan(None), move |load, span, label| {
                if label.starts_with(at) { Err(crate::error("no more threads")) } else { model.run(load, span, label) }
            })
        };
        for (at, points) in [("point 3", 2), ("rest", 5)] {
            let sweep = breaking(at).unwrap();
            assert_eq!((sweep.points.len(), sweep.broken), (points, true), "{at}");
            assert_eq!(sweep.ended, "an error ended it: no more threads");
        }
        assert_eq!(breaking("point 1").unwrap_err().to_string(), "no more threads");
    }

    #[test]
    fn a_stop_before_the_first_point_is_told_as_such() {
        for stopped_in in ["a lone caller", "point 1"] {
            let plan = plan(None);
            let mut model = model();
            let stopped = sweep(&plan, |load, span, label| {
                let run = model.run(load, span, label)?;
                if label.starts_with(stopped_in) {
                    plan.stop.stop();
                    return Ok(Run { latency: crate::result::Distribution::default(), ..run });
                }
                Ok(run)
            });
            assert_eq!(stopped.unwrap_err().to_string(), "stopped before anything was measured");
        }
    }

    #[test]
    fn short_points_are_made_long_enough_to_warm_up() {
        let mut model = model();
        let plan = SweepPlan { duration: Duration::from_millis(100), ..plan(None) };
        sweep(&plan, |load, span, label| {
            if label.starts_with("point") {
                let Warmup::Steady { at_most } = span.warmup else { panic!("{span:?}") };
                let Until::After(measured) = span.until else { panic!("{span:?}") };
                assert_eq!((at_most, measured), (Duration::from_secs(1), SHORTEST));
            }
            model.run(load, span, label)
        })
        .unwrap();
    }

    #[test]
    fn rests_are_a_lone_callers_and_few_on_a_slow_server() {
        let mut slow = Model { slow_after_overload: usize::MAX, ..Model::new(8, 8000.0) };
        let mut rests = 0;
        let plan = SweepPlan { start: Some(8.0), ..plan(None) };
        sweep(&plan, |load, span, label| {
            if label == "rest after point 1" {
                assert!(matches!(load, Load::Closed { callers: 1, .. }), "{load:?}");
                rests += 1;
            }
            slow.run(load, span, label)
        })
        .unwrap();
        assert_eq!(rests, 2);
    }

    #[test]
    fn a_slow_server_is_not_asked_twice_before_it_begins() {
        // A second each: twenty of them would take longer than a point.
        let mut model = Model::new(64, 1000.0);
        let sweep = sweep(&plan(None), |load, span, label| model.run(load, span, label)).unwrap();
        assert_eq!(model.labels[1], "point 1: 1.00/s", "half of one a second, but ten requests at least");
        assert!((50.0..=70.0).contains(&sweep.knee_rate.unwrap()), "{sweep:?}");
    }

    #[test]
    fn rests_until_the_server_has_recovered() {
        // Each overload leaves it slow for three runs.
        let mut model = Model { slow_after_overload: 3, ..model() };
        let plan = SweepPlan { start: Some(800.0), ..plan(None) };
        sweep(&plan, |load, span, label| model.run(load, span, label)).unwrap();
        let rests = |point: usize| {
            let label = format!("rest after point {point}");
            model.labels.iter().filter(|seen| **seen == label).count()
        };
        assert_eq!((rests(1), rests(2)), (4, 0), "{:?}", model.labels);
        // One that never recovers can't hold up the sweep.
        let mut broken = Model { slow_after_overload: usize::MAX, ..self::model() };
        sweep(&plan, |load, span, label| broken.run(load, span, label)).unwrap();
        assert_eq!(broken.labels.iter().filter(|label| *label == "rest after point 1").count(), PROBES);
    }

    #[test]
    fn tells_where_the_load_tester_may_have_been_the_limit() {
        let mut model = Model { tester_limit: 40.0, ..model() };
        let limited = sweep(&plan(None), |load, span, label| model.run(load, span, label)).unwrap();
        assert!(limited.ended.contains("the load tester, not the server"), "{}", limited.ended);
        let mut free = self::model();
        let free = sweep(&plan(None), |load, span, label| free.run(load, span, label)).unwrap();
        assert!(!free.ended.contains("the load tester"), "{}", free.ended);
        assert_eq!(limited.best_rate, free.best_rate);
    }

    #[test]
    fn a_server_too_slow_for_the_time_is_told() {
        let mut model = model();
        let plan = SweepPlan { start: Some(64.0), ..plan(Some("p99<10ms")) };
        let sweep = sweep(&plan, |load, span, label| model.run(load, span, label)).unwrap();
        let rates: Vec<f64> = sweep.points.iter().map(|point| point.rate).collect();
        assert_eq!(rates, [1.0, 4.0, 16.0, 64.0], "down to 10 requests in 10 s");
        assert!(sweep.ended.starts_with("met at no rate, down to 1.00/s"), "{}", sweep.ended);
        assert!(sweep.ended.contains("need a longer run"), "{}", sweep.ended);
    }

    #[test]
    fn a_stop_leaves_whole_points_only() {
        let plan = plan(None);
        let mut model = model();
        let sweep = super::sweep(&plan, |load, span, label| {
            if label.starts_with("point 3") {
                plan.stop.stop();
            }
            model.run(load, span, label)
        });
        let sweep = sweep.unwrap();
        assert_eq!((sweep.points.len(), sweep.best_rate), (2, None));
        assert_eq!(sweep.ended, "it was stopped before it was done");
    }

    #[test]
    fn a_server_that_answers_nothing_right_is_told_at_once() {
        let mut runs = 0;
        let error = sweep(&plan(None), |_, _, _| {
            runs += 1;
            let mut run = Run { seconds: 2.0, ..Run::default() };
            run.outcomes.errors = 7;
            run.outcomes.by_kind.insert("404".to_owned(), 7);
            Ok(run)
        });
        assert!(error.unwrap_err().to_string().contains("404: 7"));
        assert_eq!(runs, 1);
    }
}
