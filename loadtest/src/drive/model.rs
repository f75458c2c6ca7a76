//! A server that is only a formula, for the drivers' tests: M/D/c, with a backlog where it is overloaded.

use crate::Result;
use crate::arrivals::{Arrivals, Course};
use crate::engine::{Load, Span, Until, Warmup};
use crate::result::{Distribution, Outcomes, QUANTILES, Run, Window};

pub(super) struct Model {
    pub(super) workers: f64,
    pub(super) service_ms: f64,
    /// What a lone caller waits, where that is not the same.
    pub(super) alone_ms: Option<f64>,
    /// The share of answers that are errors, at any rate.
    pub(super) failing: f64,
    /// From this rate on the load tester is at its own limit.
    pub(super) tester_limit: f64,
    /// Runs that are ten times as slow after one that was overloaded.
    pub(super) slow_after_overload: usize,
    pub(super) slow: usize,
    /// Of all runs so far.
    pub(super) labels: Vec<String>,
}

impl Model {
    pub(super) fn new(workers: u32, service_ms: f64) -> Model {
        let (tester_limit, slow_after_overload) = (f64::INFINITY, 0);
        let workers = f64::from(workers);
        let (alone_ms, failing, labels) = (None, 0.0, Vec::new());
        Model { workers, service_ms, alone_ms, failing, tester_limit, slow_after_overload, slow: 0, labels }
    }

    fn capacity(&self) -> f64 {
        self.workers * 1e3 / self.service_ms
    }

    fn alone(&self) -> f64 {
        self.alone_ms.unwrap_or(self.service_ms)
    }

    /// Of waiting, in milliseconds: half of M/M/c's in Sakasegawa's approximation.
    fn mean_wait(&self, rate: f64) -> f64 {
        let load = rate / self.capacity();
        let queue = load.powf((2.0 * (self.workers + 1.0)).sqrt() - 1.0) / (self.workers * (1.0 - load));
        self.service_ms * queue / 2.0
    }

    fn p99(&self, rate: f64) -> f64 {
        self.service_ms + 3.0 * self.mean_wait(rate)
    }

    pub(super) fn rate_where_p99_is(&self, ms: f64) -> f64 {
        let (mut low, mut high) = (0.0, self.capacity());
        for _ in 0..60 {
            let middle = (low + high) / 2.0;
            if self.p99(middle) < ms { low = middle } else { high = middle }
        }
        low
    }

    pub(super) fn run(&mut self, load: &Load, span: &Span, label: &str) -> Result<Run> {
        self.labels.push(label.to_owned());
        let seconds = match span.until {
            Until::After(time) => time.as_secs_f64(),
            Until::Requests(count) => count as f64 * self.alone() / 1e3,
            Until::End => return Err(crate::error("a model's load has no end")),
        };
        let warmup = match span.warmup {
            Warmup::For(time) | Warmup::Steady { at_most: time } => time.as_secs_f64(),
        };
        let rate = match load {
            Load::Closed { callers, .. } => (*callers as f64).min(self.workers) * 1e3 / self.alone(),
            Load::Open(Arrivals::Drawn { course: Course::Constant(rate), .. }) => *rate,
            Load::Open(_) => return Err(crate::error("a model knows constant rates")),
        };
        let overloaded = matches!(load, Load::Open(_)) && rate >= self.capacity();
        let (p50, p99) = if matches!(load, Load::Closed { .. }) {
            // Each has a worker to itself.
            (self.alone(), self.alone())
        } else if overloaded {
            let backlog = (rate / self.capacity() - 1.0) * seconds * 1e3;
            let full = self.p99(0.9 * self.capacity());
            (full + backlog / 2.0, full + backlog)
        } else {
            (self.service_ms + self.mean_wait(rate), self.p99(rate))
        };
        let slower = if self.slow > 0 { 10.0 } else { 1.0 };
        self.slow = if overloaded { self.slow_after_overload } else { self.slow.saturating_sub(1) };
        let quantiles = QUANTILES.iter().map(|q| (*q, if *q < 0.99 { p50 } else { p99 } * slower)).collect();
        let due = (rate * seconds) as u64;
        let errors = (due as f64 * self.failing) as u64;
        let mut run = Run {
            seconds,
            due,
            due_rate: rate,
            // Those of the backlog are answered after the end.
            outcomes: Outcomes { ok: due - errors, errors, ..Outcomes::default() },
            rate,
            latency: Distribution { count: due, mean: p50, min: self.service_ms, max: p99 * slower, quantiles },
            ..Run::default()
        };
        run.warmup.seconds = warmup;
        run.windows = self.windows(warmup, seconds, rate);
        if rate >= self.tester_limit {
            run.limits.reached.push("a thread was busy all the time".to_owned());
        }
        Ok(run)
    }

    /// One a second. The first answers come after the time of service, and the backlog is worked off after the end, at the
    /// same speed.
    fn windows(&self, warmup: f64, seconds: f64, rate: f64) -> Vec<Window> {
        let (latency, answered) = (self.service_ms / 1e3, rate.min(self.capacity()));
        let load_ends = warmup + seconds;
        let drained = latency + load_ends * rate / answered;
        let ended_by = |at: f64| (answered * (at - latency).max(0.0)).min(rate * load_ends);
        let due_by = |at: f64| rate * at.min(load_ends);
        let mut windows = Vec::new();
        let mut start = 0.0;
        while start < drained {
            let edges = [warmup, load_ends, drained].into_iter().filter(|edge| *edge > start);
            let next = edges.fold(start + 1.0, f64::min);
            let ended = (ended_by(next).round() - ended_by(start).round()) as u64;
            let failed = (ended as f64 * self.failing).round() as u64;
            windows.push(Window {
                start,
                seconds: next - start,
                warmup: start < warmup,
                due: (due_by(next).round() - due_by(start).round()) as u64,
                ok: ended - failed,
                failed,
                ..Window::default()
            });
            start = next;
        }
        windows
    }
}
