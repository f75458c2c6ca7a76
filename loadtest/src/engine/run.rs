//! One run: parts for the threads, then their windows and totals to a result.

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use super::schedule::{Schedule, Source};
use super::share::Share;
use super::worker::{Job, Part, Told};
use super::{Begin, Load, Observer, Setup, Span, Thread, Until, part};
use crate::Result;
use crate::measure::{self, Grid, Observed, Seen, Steady, Totals, Windows};
use crate::result::{LoadSummary, Run, Warmup, Window};

/// From the start of a run to its first request, for all threads to be there.
const LEAD: Duration = Duration::from_millis(10);
/// Runs that measure for less have short windows.
const SHORT: Duration = Duration::from_secs(10);
const SHORT_WINDOW: Duration = Duration::from_millis(250);
const WINDOW: Duration = Duration::from_secs(1);
/// Of runs that measure for hardly any time.
const SHORTEST_WINDOW: Duration = Duration::from_millis(10);

/// Gives a run up when it is over, however that came about: no thread goes on for nobody.
struct Running(Arc<Schedule>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

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
    let source = source(load, setup);
    let schedule = Arc::new(Schedule::new(start, measured_from, span.until, source, setup.stop.clone()));
    if let Some(end) = load.end() {
        schedule.arrivals_end(end);
    }
    let _running = Running(schedule.clone());
    let grid = Grid::new(window(load, span), measured_from);

    // Of runs before.
    setup.client.take_counts();

    let (tell, told) = mpsc::channel();
    for (index, thread) in threads.iter().enumerate() {
        let part = deal(load, span, &schedule, index, threads.len(), most_senders);
        let job = Job { run: number, thread: index, part, schedule: schedule.clone(), grid, tell: tell.clone() };
        thread.jobs.try_send(job).map_err(|_| crate::error("a thread of the load tester has failed"))?;
    }
    drop(tell);

    let mut progress = Progress {
        windows: Windows::new(threads.len(), grid, load.is_open()),
        steady: judged.then(Steady::default),
        is_steady: false,
        measured: 0,
        totals: Totals::new(),
        grid,
        schedule: &schedule,
        load,
        until: span.until,
    };
    for _ in threads {
        progress.follow_one(&told, observer)?;
    }
    let run = progress.result(setup, threads.len())?;
    observer.ends(&run);
    Ok(run)
}

fn source(load: &Load, setup: &Setup) -> Source {
    match load {
        Load::Closed { .. } => Source::Callers,
        Load::Open(_) if setup.workload.has_conversations() => Source::Conversations,
        Load::Open(_) => Source::Arrivals,
    }
}

/// What one of so many threads does.
fn deal(load: &Load, span: &Span, schedule: &Schedule, number: usize, threads: usize, most_senders: usize) -> Part {
    match load {
        Load::Open(arrivals) => {
            let times = arrivals.times_after(span.warmup().0);
            Part::Open {
                share: Share::new(times, number, threads, schedule.requests()),
                most_senders: part(most_senders, number, threads),
            }
        }
        Load::Closed { callers, think } => Part::Closed { callers: part(*callers, number, threads), think: *think },
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
        Until::End => load.end(),
    };
    match measured {
        // Not longer than what is measured, so that the load tester's own work in it is not seen for less than it was.
        Some(measured) if measured < SHORT => SHORT_WINDOW.min(measured).max(SHORTEST_WINDOW),
        _ => WINDOW,
    }
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
    grid: Grid,
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
                    self.windows.thread_is_done(done.thread);
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
    fn judge(&mut self, window: &Window, seen: Option<Seen>) {
        let Some(steady) = self.steady.as_mut().filter(|_| window.warmup && !self.is_steady) else { return };
        if seen.is_some_and(|seen| steady.push(seen)) {
            self.is_steady = true;
            self.schedule.measure_soon(&self.grid, || self.schedule.start().elapsed());
        }
    }

    /// How much of the run is over at a window's end, where that is known.
    fn share_done(&self, window: &Window) -> Option<f64> {
        let end = match self.until {
            Until::After(time) => self.schedule.measured_from().saturating_add(time),
            Until::Requests(count) => return Some((self.measured as f64 / count.max(1) as f64).min(1.0)),
            Until::End => self.load.end()?,
        };
        let over = window.start + window.seconds;
        Some((over / end.as_secs_f64().max(f64::MIN_POSITIVE)).min(1.0))
    }

    fn result(self, setup: &Setup, threads: usize) -> Result<Run> {
        let stopped_at = self.schedule.stopped_at();
        if self.totals.due == 0 && self.load.is_recorded() && stopped_at.is_none() {
            return Err(crate::error(
                "all recorded arrivals were over before the warm-up: give a shorter one, as --warmup 0s",
            ));
        }
        let warmup = self.schedule.measured_from().min(stopped_at.unwrap_or(Duration::MAX));
        let run = self.totals.summary(self.measured(), setup.slo.is_some());
        let (cpu, waited_for_cpu) = self.windows.cpu();
        let connections = setup.client.take_counts();
        let limits = measure::judge(&Observed {
            threads,
            cpu,
            waited_for_cpu,
            connections: connections.most_open,
            most_waiting: self.windows.most_waiting(),
            opened: connections.opened as u64,
            most_in_flight: setup.most_in_flight,
            most_without_stream: connections.most_waiting,
            lag_p99: self.totals.own_lag_p99(),
            latency_p99: run.latency.at(0.99),
            due: self.totals.due,
            answers: self.totals.in_time().answers,
            waited: self.totals.waited,
            // Who stops a load does not let it be sent.
            behind: if stopped_at.is_some() { 0 } else { self.totals.behind },
            without_socket: self.totals.without_socket,
            paused: self.totals.paused,
        });
        Ok(Run {
            stopped: stopped_at.is_some(),
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
        let last = || self.totals.last.map_or(from, |at| at.saturating_duration_since(self.schedule.start()));
        // Where requests follow from answers, nobody knows when one more would have been due.
        let end = self.schedule.planned_end().unwrap_or_else(last);
        end.min(self.schedule.stopped_at().unwrap_or(Duration::MAX)).saturating_sub(from)
    }
}
