//! One run: parts for the threads, then their windows and totals to a result.

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use super::schedule::Schedule;
use super::share::Share;
use super::worker::{Job, Part, Told};
use super::{Begin, Load, Observer, Setup, Span, Thread, Until, part};
use crate::Result;
use crate::measure::{self, Observed, Seen, Steady, Totals, Windows};
use crate::result::{LoadSummary, Run, Warmup, Window};

/// From the start of a run to its first request, for all threads to be there.
const LEAD: Duration = Duration::from_millis(10);
/// How far ahead the end of the warm-up is set, for all threads to know of it when it comes.
const NOTICE: Duration = Duration::from_millis(50);
/// Runs that measure for less have short windows.
const SHORT: Duration = Duration::from_secs(10);
const SHORT_WINDOW: Duration = Duration::from_millis(250);
const WINDOW: Duration = Duration::from_secs(1);
/// The most windows that are kept: those of long runs are longer.
const MOST_WINDOWS: u32 = 3_600;

pub(super) fn run(
    setup: &Setup,
    threads: &[Thread],
    number: u64,
    load: &Load,
    span: &Span,
    label: Option<&str>,
    observer: &mut dyn Observer,
) -> Result<Run> {
    load.check(span)?;
    let summary = summary(setup, load);
    observer.begins(&Begin { what: &summary.what, label });
    // A thread without a request of its own would have nothing to do.
    let most_senders = match load {
        Load::Closed { callers, .. } => *callers,
        Load::Open(_) => setup.most_in_flight,
    };
    let threads = &threads[..threads.len().min(most_senders)];
    let (measured_from, judged) = span.warmup();
    let start = Instant::now() + LEAD;
    let schedule = Arc::new(Schedule::new(start, measured_from, span.until, load.is_open(), setup.stop.clone()));
    let window = window(load, span);

    // Of runs before.
    setup.client.take_counts();

    let (tell, told) = mpsc::channel();
    for (index, thread) in threads.iter().enumerate() {
        let part = deal(load, &schedule, index, threads.len(), most_senders);
        let job = Job { run: number, thread: index, part, schedule: schedule.clone(), window, tell: tell.clone() };
        thread.jobs.try_send(job).map_err(|_| crate::error("a thread of the load tester has failed"))?;
    }
    drop(tell);

    let mut progress = Progress {
        windows: Windows::new(threads.len(), window, load.is_open()),
        steady: judged.then(Steady::default),
        is_steady: false,
        measured: 0,
        totals: Totals::new(),
        connections: 0,
        window,
        schedule: &schedule,
        load,
        until: span.until,
    };
    for _ in threads {
        // Where one failed, the others need not go on.
        progress.follow_one(&told, observer).inspect_err(|_| schedule.abandon())?;
    }
    let run = progress.result(setup, threads.len())?;
    observer.ends(&run);
    Ok(run)
}

/// What one of so many threads does.
fn deal(load: &Load, schedule: &Schedule, number: usize, threads: usize, most_senders: usize) -> Part {
    match load {
        Load::Open(arrivals) => Part::Open {
            share: Share::new(arrivals.times(), number, threads, schedule.requests()),
            most_senders: part(most_senders, number, threads),
        },
        Load::Closed { callers, think } => Part::Closed {
            callers: (number..*callers).step_by(threads).map(|caller| caller as u64).collect(),
            of: *callers as u64,
            think: *think,
        },
    }
}

/// What is told of the load.
fn summary(setup: &Setup, load: &Load) -> LoadSummary {
    if setup.workload.has_conversations() { load.summary_of_conversations() } else { load.summary() }
}

/// How long a window is.
fn window(load: &Load, span: &Span) -> Duration {
    let measured = match span.until {
        Until::After(time) => Some(time),
        Until::Requests(count) => {
            load.summary().rate.and_then(|rate| Duration::try_from_secs_f64(count as f64 / rate).ok())
        }
        Until::End => load.last(),
    };
    let Some(measured) = measured else { return WINDOW };
    let shortest = if measured < SHORT { SHORT_WINDOW } else { WINDOW };
    shortest.max(span.warmup().0.saturating_add(measured) / MOST_WINDOWS)
}

/// A run that goes on.
struct Progress<'a> {
    windows: Windows,
    /// Where the warm-up is judged.
    steady: Option<Steady>,
    is_steady: bool,
    /// Requests that were due in measured time, by the windows until now.
    measured: u64,
    totals: Totals,
    connections: usize,
    window: Duration,
    schedule: &'a Schedule,
    load: &'a Load,
    until: Until,
}

impl Progress<'_> {
    /// Follows the threads until one more of them is done.
    fn follow_one(&mut self, told: &mpsc::Receiver<Told>, observer: &mut dyn Observer) -> Result<()> {
        loop {
            let told = told.recv().map_err(|_| crate::error("a thread of the load tester has failed"))?;
            let done = match told {
                Told::Window(slice) => {
                    let end = self.schedule.end().saturating_duration_since(self.schedule.start());
                    self.windows.push(*slice, &(self.schedule.measured_from()..end));
                    false
                }
                Told::Failed(error) => return Err(error),
                Told::Done(done) => {
                    self.totals.add(&done.totals);
                    self.connections += done.connections;
                    self.windows.thread_is_done();
                    true
                }
            };
            while let Some((window, seen)) = self.windows.next_complete() {
                self.judge(&window, seen);
                self.measured += if window.warmup { 0 } else { window.due };
                observer.window(&window, self.share_done(&window));
            }
            if done {
                return Ok(());
            }
        }
    }

    /// Ends the warm-up with a window, once it is steady.
    fn judge(&mut self, window: &Window, seen: Seen) {
        let Some(steady) = self.steady.as_mut().filter(|_| window.warmup && !self.is_steady) else { return };
        if steady.push(seen) {
            self.is_steady = true;
            let soon = self.schedule.start().elapsed() + NOTICE;
            let windows = (soon.as_secs_f64() / self.window.as_secs_f64()).ceil();
            self.schedule.measure_from(self.window.mul_f64(windows));
        }
    }

    /// How much of the run is over at a window's end, where that is known.
    fn share_done(&self, window: &Window) -> Option<f64> {
        let end = match self.until {
            Until::After(time) => self.schedule.measured_from().saturating_add(time),
            Until::Requests(count) => return Some((self.measured as f64 / count.max(1) as f64).min(1.0)),
            Until::End => self.load.last()?,
        };
        let over = window.start + window.seconds;
        Some((over / end.as_secs_f64().max(f64::MIN_POSITIVE)).min(1.0))
    }

    fn result(self, setup: &Setup, threads: usize) -> Result<Run> {
        let stopped_at = self.schedule.stopped_at();
        if self.totals.due == 0 && self.load.last().is_some() && stopped_at.is_none() {
            return Err(crate::error(
                "all recorded arrivals were over before the warm-up: give a shorter one, as --warmup 0s",
            ));
        }
        let warmup = self.schedule.measured_from().min(stopped_at.unwrap_or(Duration::MAX));
        let mut run = self.totals.summary(self.measured(), setup.slo.is_some());
        run.outcomes.samples = setup.workload.samples();
        run.outcomes.samples.retain(|kind, _| run.outcomes.by_kind.contains_key(kind));
        let (cpu, waited_for_cpu) = self.windows.cpu();
        let limits = measure::judge(&Observed {
            threads,
            cpu,
            waited_for_cpu,
            connections: self.connections,
            most_waiting: self.windows.most_waiting(),
            most_in_flight: setup.most_in_flight,
            most_without_stream: setup.client.take_counts().most_waiting,
            lag_p99: run.lag.at(0.99),
            latency_p99: run.latency.at(0.99),
            due: self.totals.due,
            behind: self.totals.behind,
            without_socket: self.totals.without_socket,
        });
        Ok(Run {
            load: summary(setup, self.load),
            warmup: Warmup { seconds: warmup.as_secs_f64(), steady: self.steady.map(|_| self.is_steady) },
            windows: self.windows.into_complete(),
            limits,
            ..run
        })
    }

    /// The time in which requests were due that count.
    fn measured(&self) -> Duration {
        let from = self.schedule.measured_from();
        let since_start = |at: Instant| at.saturating_duration_since(self.schedule.start());
        let last_done = self.totals.last_done.map_or(from, since_start);
        let end = match self.until {
            Until::After(time) => from.saturating_add(time).min(self.load.last().unwrap_or(Duration::MAX)),
            // A closed loop's last request is due when the one before is answered: that is not when the load ends.
            Until::Requests(_) | Until::End if self.load.is_open() => self.totals.last_due.map_or(from, since_start),
            Until::Requests(_) | Until::End => last_done,
        };
        let end = end.min(self.schedule.stopped_at().unwrap_or(Duration::MAX));
        let measured = end.saturating_sub(from);
        // A single arrival takes no time to be due.
        if measured.is_zero() && self.totals.due > 0 { last_done.saturating_sub(from) } else { measured }
    }
}
