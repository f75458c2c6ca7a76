//! Slices of all threads, merged to windows.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use super::cpu::Cpu;
use super::grid::Grid;
use super::histogram::{Histogram, Packed};
use super::slice::Slice;
use super::steady::Seen;
use crate::result::Window;

/// The part of a window's length that the last one must have to stand alone.
const ALONE: f64 = 0.5;
/// The most windows that are kept. When there are so many, each two become one.
const MOST: usize = 3_600;

/// Gathers slices until all threads have told of a window.
#[derive(Debug)]
pub struct Windows {
    grid: Grid,
    open: bool,
    /// By thread: the index of the next slice that it tells of.
    next: Vec<u64>,
    gathering: BTreeMap<u64, Merged>,
    complete: Vec<Complete>,
    most: usize,
    /// How many slices follow each other in a window.
    slices: u64,
    /// By thread, in measured time.
    cpu: Vec<(Cpu, Duration)>,
    most_waiting: u64,
}

/// The slices of one index, as far as they are known.
#[derive(Debug)]
struct Merged {
    slice: Slice,
    busiest: Option<f64>,
    warmup: bool,
}

/// A window of which all threads have told.
#[derive(Debug)]
struct Complete {
    window: Window,
    /// Of right answers.
    latency: Packed,
    slices: u64,
}

impl Windows {
    pub fn new(threads: usize, grid: Grid, open: bool) -> Windows {
        Windows {
            grid,
            open,
            next: vec![0; threads],
            gathering: BTreeMap::new(),
            complete: Vec::new(),
            most: MOST,
            slices: 1,
            cpu: vec![(Cpu::default(), Duration::ZERO); threads],
            most_waiting: 0,
        }
    }

    /// Takes a slice. `measured` is the time in which requests are due that are measured, since the start.
    pub fn push(&mut self, slice: Slice, measured: &Range<Duration>) {
        let seconds = slice.length.as_secs_f64();
        let busiest = slice.cpu.filter(|_| seconds > 0.0).map(|cpu| (cpu.on.as_secs_f64() / seconds).min(1.0));
        let start = self.grid.start(slice.index);
        let warmup = start < measured.start;
        // Waiting for the last answers is hardly any work.
        if measured.contains(&start)
            && let (Some(cpu), Some((of_thread, time))) = (slice.cpu, self.cpu.get_mut(slice.thread))
        {
            *of_thread += cpu;
            *time += slice.length;
        }
        if let Some(next) = self.next.get_mut(slice.thread) {
            *next = slice.index + 1;
        }
        match self.gathering.get_mut(&slice.index) {
            Some(merged) => merged.add(&slice, busiest),
            None => {
                self.gathering.insert(slice.index, Merged { slice, busiest, warmup });
            }
        }
    }

    /// A thread will tell of no more windows.
    pub fn thread_is_done(&mut self, thread: usize) {
        if let Some(next) = self.next.get_mut(thread) {
            *next = u64::MAX;
        }
    }

    /// The next window that all threads have told of, and what of it is judged for the warm-up: nothing, if it is shorter
    /// than others.
    ///
    /// A last one that is too short to stand alone becomes part of the one before, without a word.
    pub fn next_complete(&mut self) -> Option<(Window, Option<Seen>)> {
        loop {
            let first = self.gathering.first_entry()?;
            if self.next.iter().any(|next| next <= first.key()) {
                return None;
            }
            let merged = first.remove();
            if !merged.warmup {
                self.most_waiting = self.most_waiting.max(merged.slice.most_waiting);
            }
            let length = merged.slice.length;
            let is_short = length.as_secs_f64() < ALONE * self.grid.full().as_secs_f64();
            let told = self.keep(merged.complete(self.grid.start(merged.slice.index)), is_short);
            if let Some(window) = told {
                let seen = Seen {
                    due: self.open.then_some(window.due),
                    ended: window.ok + window.shed + window.failed,
                    p50: window.p50,
                };
                return Some((window, (length >= self.grid.full()).then_some(seen)));
            }
        }
    }

    /// Keeps a window, or makes it part of the last. Returns the last if it is whole now.
    fn keep(&mut self, next: Complete, is_short: bool) -> Option<Window> {
        let slices = self.slices;
        let goes_on =
            |last: &mut Complete| last.window.warmup == next.window.warmup && (is_short || last.slices < slices);
        let last = match self.complete.pop_if(goes_on) {
            Some(last) => {
                let was_whole = last.slices == slices;
                let last = self.complete.push_mut(last.followed_by(&next));
                if was_whole {
                    return None;
                }
                last
            }
            None => {
                if self.complete.len() >= self.most {
                    self.halve();
                }
                self.complete.push_mut(next)
            }
        };
        (last.slices >= self.slices).then(|| last.window.clone())
    }

    /// Makes one of each two, but none of a window of the warm-up and one that is measured.
    fn halve(&mut self) {
        self.slices *= 2;
        let mut halved: Vec<Complete> = Vec::with_capacity(self.complete.len() / 2 + 1);
        for next in self.complete.drain(..) {
            let goes_on = |last: &mut Complete| last.window.warmup == next.window.warmup && last.slices < self.slices;
            match halved.pop_if(goes_on) {
                Some(last) => halved.push(last.followed_by(&next)),
                None => halved.push(next),
            }
        }
        // One that is left over has been told of, and stays as it is.
        halved.iter_mut().for_each(|complete| complete.slices = self.slices);
        self.complete = halved;
    }

    /// Share of the measured time that the busiest thread was on a core, and that a thread waited for one, of the one
    /// that waited most. None where the system doesn't tell.
    pub fn cpu(&self) -> (Option<f64>, Option<f64>) {
        let share = |of: fn(&Cpu) -> Duration| {
            let shares = self.cpu.iter().filter(|(_, time)| !time.is_zero());
            let shares = shares.map(|(cpu, time)| (of(cpu).as_secs_f64() / time.as_secs_f64()).min(1.0));
            shares.max_by(f64::total_cmp)
        };
        (share(|cpu| cpu.on), share(|cpu| cpu.waited))
    }

    /// Most requests that waited for a connection in a window after the warm-up.
    pub fn most_waiting(&self) -> u64 {
        self.most_waiting
    }

    pub fn into_complete(self) -> Vec<Window> {
        self.complete.into_iter().map(|complete| complete.window).collect()
    }
}

impl Merged {
    /// What another thread tells of the same window.
    fn add(&mut self, other: &Slice, busy: Option<f64>) {
        let slice = &mut self.slice;
        slice.length = slice.length.max(other.length);
        slice.in_flight += other.in_flight;
        slice.most_waiting += other.most_waiting;
        slice.due += other.due;
        slice.ok += other.ok;
        slice.shed += other.shed;
        slice.failed += other.failed;
        slice.output_tokens += other.output_tokens;
        slice.latency.add(&other.latency);
        self.busiest = [self.busiest, busy].into_iter().flatten().max_by(f64::total_cmp);
    }

    fn complete(&self, start: Duration) -> Complete {
        let Merged { slice, busiest, warmup } = self;
        let window = Window {
            start: start.as_secs_f64(),
            seconds: slice.length.as_secs_f64(),
            warmup: *warmup,
            due: slice.due,
            ok: slice.ok,
            shed: slice.shed,
            failed: slice.failed,
            in_flight: slice.in_flight,
            output_tokens: slice.output_tokens,
            client_cpu: *busiest,
            ..Window::default()
        };
        Complete { window: with_latency(window, &slice.latency), latency: slice.latency.packed(), slices: 1 }
    }
}

impl Complete {
    /// The window after it, as part of it.
    fn followed_by(self, next: &Complete) -> Complete {
        let mut latency = Histogram::coarse();
        latency.unpack(&self.latency);
        latency.unpack(&next.latency);
        let (one, other) = (self.window, &next.window);
        let window = Window {
            seconds: one.seconds + other.seconds,
            due: one.due + other.due,
            ok: one.ok + other.ok,
            shed: one.shed + other.shed,
            failed: one.failed + other.failed,
            in_flight: other.in_flight,
            output_tokens: one.output_tokens + other.output_tokens,
            client_cpu: [one.client_cpu, other.client_cpu].into_iter().flatten().max_by(f64::total_cmp),
            ..one
        };
        let packed = latency.packed();
        Complete { window: with_latency(window, &latency), latency: packed, slices: self.slices + next.slices }
    }
}

fn with_latency(window: Window, latency: &Histogram) -> Window {
    Window { p50: latency.at(0.5), p90: latency.at(0.9), p99: latency.at(0.99), max: latency.max(), ..window }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MEASURED: Range<Duration> = SECOND..Duration::from_secs(2);
    const ALL: Range<Duration> = Duration::ZERO..Duration::MAX;

    fn slice(thread: usize, index: u64, ok: u64) -> Slice {
        let mut slice = Slice::new(thread, index, SECOND);
        (slice.due, slice.ok, slice.in_flight, slice.most_waiting) = (ok, ok, 2, 5);
        slice.latency.record(Duration::from_millis(10 * (thread as u64 + 1)));
        slice.cpu = Some(Cpu { on: SECOND / 4 * (thread as u32 + 1), waited: SECOND / 10 });
        slice
    }

    fn grid() -> Grid {
        Grid::new(SECOND, Duration::ZERO)
    }

    fn all(windows: &mut Windows) -> Vec<Window> {
        std::iter::from_fn(|| windows.next_complete().map(|(window, _)| window)).collect()
    }

    #[test]
    fn a_window_is_complete_when_all_threads_told_of_it() {
        let mut windows = Windows::new(2, grid(), true);
        windows.push(slice(0, 0, 100), &MEASURED);
        windows.push(slice(0, 1, 200), &MEASURED);
        assert!(windows.next_complete().is_none());
        windows.push(slice(1, 0, 50), &MEASURED);
        let (window, seen) = windows.next_complete().unwrap();
        assert_eq!((window.start, window.due, window.ok, window.in_flight, window.warmup), (0.0, 150, 150, 4, true));
        assert_eq!(seen.map(|seen| (seen.due, seen.ended)), Some((Some(150), 150)));
        assert_eq!((window.client_cpu, windows.most_waiting()), (Some(0.5), 0));
        assert!((window.max.unwrap() / 20.0 - 1.0).abs() < 0.01);
        assert!(windows.next_complete().is_none());
        // The other thread ends early: the window is what the first told.
        windows.thread_is_done(1);
        let (window, _) = windows.next_complete().unwrap();
        assert_eq!((window.start, window.ok, window.warmup), (1.0, 200, false));
        assert_eq!((windows.cpu(), windows.most_waiting()), ((Some(0.25), Some(0.1)), 5));
        assert_eq!(windows.into_complete().len(), 2);
    }

    #[test]
    fn a_short_end_is_part_of_the_window_before() {
        let mut windows = Windows::new(1, grid(), false);
        windows.push(slice(0, 0, 100), &ALL);
        assert_eq!(all(&mut windows).len(), 1);
        windows.push(Slice { length: SECOND / 10, in_flight: 0, ..slice(0, 1, 3) }, &ALL);
        assert_eq!(all(&mut windows).len(), 0);
        let complete = windows.into_complete();
        assert_eq!(complete.len(), 1);
        assert_eq!((complete[0].ok, complete[0].seconds, complete[0].in_flight), (103, 1.1, 0));
        let mut windows = Windows::new(1, grid(), false);
        windows.push(Slice { length: SECOND / 10, ..slice(0, 0, 3) }, &ALL);
        assert_eq!(all(&mut windows).len(), 1, "a run that is short has a window all the same");
    }

    #[test]
    fn a_thread_that_is_done_has_told_of_its_windows_once() {
        let mut windows = Windows::new(2, grid(), true);
        windows.push(slice(0, 0, 100), &ALL);
        windows.thread_is_done(0);
        assert!(windows.next_complete().is_none(), "the other has not told of it");
        windows.push(slice(1, 0, 50), &ALL);
        windows.thread_is_done(1);
        assert_eq!(all(&mut windows).iter().map(|window| window.ok).collect::<Vec<_>>(), [150]);
        assert_eq!(windows.into_complete().len(), 1);
    }

    #[test]
    fn short_windows_and_threads_without_cpu_times_are_not_judged() {
        let mut windows = Windows::new(1, Grid::new(SECOND, SECOND / 4), true);
        windows.push(Slice { length: SECOND / 4, cpu: None, ..slice(0, 0, 3) }, &(SECOND / 4..2 * SECOND));
        windows.push(Slice { cpu: None, ..slice(0, 1, 10) }, &(SECOND / 4..2 * SECOND));
        let (first, seen) = windows.next_complete().unwrap();
        assert_eq!((first.warmup, first.client_cpu, seen), (true, None, None));
        let (second, seen) = windows.next_complete().unwrap();
        assert_eq!((second.start, second.warmup, seen.is_some()), (0.25, false, true));
        assert_eq!(windows.cpu(), (None, None));
    }

    #[test]
    fn a_run_without_end_has_ever_longer_windows() {
        const MOST: usize = 8;
        let mut windows = Windows { most: MOST, ..Windows::new(1, grid(), true) };
        let mut told = Vec::new();
        for index in 0..100 {
            windows.push(Slice { in_flight: index, ..slice(0, index, 1) }, &(3 * SECOND..Duration::MAX));
            told.extend(all(&mut windows));
            assert!(windows.complete.len() <= MOST);
        }
        // What is told follows on each other, each once.
        assert!(told.is_sorted_by(|one, other| one.start + one.seconds <= other.start));
        assert!(told.last().is_some_and(|last| last.seconds == 16.0), "{:?}", told.last());
        let complete = windows.into_complete();
        assert!(complete.windows(2).all(|two| two[0].start + two[0].seconds == two[1].start), "{complete:?}");
        assert_eq!(complete.iter().map(|window| window.ok).sum::<u64>(), 100);
        assert_eq!(complete.iter().filter(|window| window.warmup).map(|window| window.seconds).sum::<f64>(), 3.0);
        assert!(complete.iter().all(|window| (window.p50.unwrap() / 10.0 - 1.0).abs() < 0.01));
        assert_eq!(complete.last().map(|window| window.in_flight), Some(99));
    }
}
