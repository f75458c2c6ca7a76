//! A sweep: the search says rates, each becomes a run, and what the runs show goes back to the search.

use std::time::Duration;

use super::fixed;
use crate::Result;
use crate::arrivals::{Arrivals, Course, Gaps};
use crate::engine::{Load, Span, Stop, Until, Warmup};
use crate::result::{Run, Sweep, SweepPoint};
use crate::search::{self, Light, Point, Search, Verdict, saturated};
use crate::slo::Slo;

/// Requests of a lone caller at first.
const FEW: u64 = 3;
/// Requests that a probe of light load should have, about.
const PROBE_REQUESTS: f64 = 20.0;
/// How long a probe may take, however low the rate.
const PROBE_AT_MOST: Duration = Duration::from_secs(2);
/// Probes in a rest at most: a server that has not recovered after them gets its next point as it is.
const PROBES: usize = 10;
/// A server has recovered when its median is within this factor of light load's.
const RECOVERED: f64 = 2.0;
/// Requests that a point should have at least: it bounds the rate from below where the caller does not.
const LEAST_REQUESTS: f64 = 10.0;

/// What to sweep.
#[derive(Clone, Debug)]
pub struct SweepPlan {
    /// The rate to begin with; none: half of what a lone caller gets.
    pub start: Option<f64>,
    pub gaps: Gaps,
    pub seed: u64,
    /// Measured at each point. Its warm-up ends when it is steady, after half of this at most.
    pub duration: Duration,
    /// None: the rates that the server keeps up with are looked for.
    pub slo: Option<Slo>,
    pub limits: search::Limits,
    pub stop: Stop,
}

/// Sweeps by way of `run`, which gets what is to be run and a label for it.
pub(super) fn sweep(plan: &SweepPlan, run: impl FnMut(&Load, &Span, &str) -> Result<Run>) -> Result<Sweep> {
    let mut sweeper = Sweeper { plan, run, light: Light::default(), points: Vec::new(), sweep: Sweep::default() };
    let start = sweeper.lone_caller()?;
    let limits = sweeper.limits();
    let mut search = Search::new(start, limits);
    while let Some(rate) = search.next_rate() {
        let Some(verdict) = sweeper.point(rate)? else { break };
        search.seen(verdict);
        if search.next_rate().is_some() {
            sweeper.rest()?;
        }
    }
    let Sweeper { light, points, mut sweep, .. } = sweeper;
    sweep.points.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    sweep.best_rate = search.best();
    sweep.failed_rate = search.failed();
    sweep.knee_rate = search::knee(&points, &light);
    sweep.ended = search.ended();
    if search.best().is_none() && search.failed() == Some(limits.floor) {
        sweep.ended +=
            &format!("; lower rates need a longer run, with {LEAST_REQUESTS} requests or more at each point");
    }
    Ok(sweep)
}

struct Sweeper<'a, F> {
    plan: &'a SweepPlan,
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
        let measured = self.plan.duration.min(PROBE_AT_MOST);
        if !self.plan.stop.is_stopped() && p50 * PROBE_REQUESTS <= measured.as_secs_f64() * 1e3 {
            (run, p50) = self.ask_alone(&fixed(measured / 4, measured))?;
        }
        let rate = 1e3 / p50;
        self.light.seen(&point(rate, &run));
        Ok(self.plan.start.unwrap_or(rate / 2.0))
    }

    /// A closed loop of one, and its median in milliseconds.
    fn ask_alone(&mut self, span: &Span) -> Result<(Run, f64)> {
        let load = Load::Closed { callers: 1, think: Duration::ZERO };
        let run = (self.run)(&load, span, "a lone caller")?;
        let p50 = run.latency.at(0.5).filter(|p50| *p50 > 0.0).ok_or_else(|| {
            let kinds: Vec<_> = run.outcomes.by_kind.iter().map(|(kind, count)| format!("{kind}: {count}")).collect();
            let kinds = if kinds.is_empty() { "none came".to_owned() } else { kinds.join(", ") };
            crate::error(format!("no answer to a lone caller was right ({kinds}): there is nothing to sweep"))
        })?;
        Ok((run, p50))
    }

    fn limits(&self) -> search::Limits {
        let floor = (LEAST_REQUESTS / self.plan.duration.as_secs_f64()).min(self.plan.start.unwrap_or(f64::INFINITY));
        search::Limits { floor: floor.max(self.plan.limits.floor), ..self.plan.limits }
    }

    /// One point; none if it was stopped, as half a point proves nothing.
    fn point(&mut self, rate: f64) -> Result<Option<Verdict>> {
        if self.plan.stop.is_stopped() {
            return Ok(None);
        }
        let number = self.points.len() as u64 + 1;
        let label = format!("point {number}: {}/s", search::rounded(rate));
        let warmup = Warmup::Steady { at_most: self.plan.duration / 2 };
        let span = Span { warmup, until: Until::After(self.plan.duration) };
        let load = self.load(rate, number);
        let run = (self.run)(&load, &span, &label)?;
        if self.plan.stop.is_stopped() {
            return Ok(None);
        }
        let point = point(rate, &run);
        self.light.seen(&point);
        self.points.push(point);
        let mut missed = self.plan.slo.as_ref().map(|slo| slo.missed(&run)).unwrap_or_default();
        missed.extend(saturated(&point, &self.light));
        let verdict = Verdict { rate, met: missed.is_empty(), tester_limited: !run.limits.reached.is_empty() };
        self.sweep.points.push(SweepPoint { rate, met: verdict.met, missed, run });
        Ok(Some(verdict))
    }

    /// Lets an overloaded server recover: short runs at light load, until its median is near that of light load.
    ///
    /// Nothing of ours is in flight between runs, but the server may still work on what timed out, collect garbage, or
    /// have scaled.
    fn rest(&mut self) -> Result<()> {
        let overloaded = self.points.last().is_some_and(|point| !saturated(point, &self.light).is_empty());
        let (Some(rate), Some(light), true) = (self.light.rate(), self.light.p50(), overloaded) else { return Ok(()) };
        // The lightest may be a lone caller, who keeps a server with one worker busy all the time.
        let rate = rate / 2.0;
        let measured = Duration::from_secs_f64(PROBE_REQUESTS / rate).min(PROBE_AT_MOST).min(self.plan.duration);
        let label = format!("rest after point {}", self.points.len());
        for probe in 0..PROBES {
            if self.plan.stop.is_stopped() {
                break;
            }
            let load = self.load(rate, u64::MAX - probe as u64);
            let run = (self.run)(&load, &fixed(Duration::ZERO, measured), &label)?;
            if run.latency.at(0.5).is_some_and(|p50| p50 <= light * RECOVERED + 1.0) {
                break;
            }
        }
        Ok(())
    }

    fn load(&self, rate: f64, number: u64) -> Load {
        let SweepPlan { gaps, seed, .. } = *self.plan;
        Load::Open(Arrivals::Drawn { course: Course::Constant(rate), gaps, seed: seed.wrapping_add(number) })
    }
}

/// What a run says to the search. Answers count when they came, so that a queue that grows shows as answers missing;
/// the run's own counts would include those that came after its end.
fn point(rate: f64, run: &Run) -> Point {
    let end = run.warmup.seconds + run.seconds;
    let windows = || run.windows.iter().filter(|window| !window.warmup && window.start + window.seconds <= end + 1e-3);
    let seconds: f64 = windows().map(|window| window.seconds).sum();
    let p50 = run.latency.at(0.5);
    if seconds < run.seconds / 2.0 {
        // Shorter than two windows: the run's own counts are all there is.
        return Point { rate, due: run.due as f64, answered: run.outcomes.ok as f64, seconds: run.seconds, p50 };
    }
    let due = windows().map(|window| window.due).sum::<u64>() as f64;
    let answered = windows().map(|window| window.ok).sum::<u64>() as f64;
    Point { rate, due, answered, seconds, p50 }
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
