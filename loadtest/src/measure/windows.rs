//! Slices of all threads, merged to windows.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use super::cpu::Cpu;
use super::slice::Slice;
use super::steady::Seen;
use crate::result::Window;

/// The part of a window's length that the last one must have to stand alone.
const ALONE: f64 = 0.5;

/// Gathers slices until all threads have told of a window.
#[derive(Debug)]
pub struct Windows {
    length: Duration,
    threads: usize,
    /// Threads that are done and tell of no more windows.
    done: usize,
    open: bool,
    gathering: BTreeMap<u64, Merged>,
    /// The last that is complete.
    last: Option<Merged>,
    complete: Vec<Window>,
    /// By thread, in measured time.
    cpu: Vec<(Cpu, Duration)>,
    most_waiting: u64,
}

/// What is known of a window so far.
#[derive(Clone, Debug)]
struct Merged {
    slice: Slice,
    threads: usize,
    busiest: f64,
    warmup: bool,
}

impl Windows {
    pub fn new(threads: usize, length: Duration, open: bool) -> Windows {
        Windows {
            length,
            threads,
            done: 0,
            open,
            gathering: BTreeMap::new(),
            last: None,
            complete: Vec::new(),
            cpu: vec![(Cpu::default(), Duration::ZERO); threads],
            most_waiting: 0,
        }
    }

    /// Takes a slice. `measured` is the time in which requests are due that are measured, since the start.
    pub fn push(&mut self, slice: Slice, measured: &Range<Duration>) {
        let seconds = slice.length.as_secs_f64();
        let busy = if seconds > 0.0 { (slice.cpu.on.as_secs_f64() / seconds).min(1.0) } else { 0.0 };
        let start = self.start(slice.index);
        let warmup = start < measured.start;
        // Waiting for the last answers is hardly any work.
        if let Some((cpu, time)) = self.cpu.get_mut(slice.thread).filter(|_| measured.contains(&start)) {
            *cpu += slice.cpu;
            *time += slice.length;
        }
        match self.gathering.get_mut(&slice.index) {
            Some(merged) => merged.add(slice, busy),
            None => {
                self.gathering.insert(slice.index, Merged { slice, threads: 1, busiest: busy, warmup });
            }
        }
    }

    /// A thread will tell of no more windows.
    pub fn thread_is_done(&mut self) {
        self.done += 1;
    }

    /// The next window that all threads have told of, and what of it is judged for the warm-up.
    ///
    /// A last one that is too short to stand alone becomes part of the one before, without a word.
    pub fn next_complete(&mut self) -> Option<(Window, Seen)> {
        let first = self.gathering.first_entry()?;
        if first.get().threads + self.done < self.threads {
            return None;
        }
        let merged = first.remove();
        if !merged.warmup {
            self.most_waiting = self.most_waiting.max(merged.slice.most_waiting);
        }
        if merged.slice.length.as_secs_f64() < ALONE * self.length.as_secs_f64()
            && let Some(last) = self.last.take()
        {
            let longer = last.followed_by(merged);
            self.complete.pop();
            self.complete.push(self.window(&longer));
            self.last = Some(longer);
            return self.next_complete();
        }
        let window = self.window(&merged);
        let seen = Seen {
            due: self.open.then_some(window.due),
            ended: window.ok + window.shed + window.failed,
            p50: window.p50,
        };
        self.last = Some(merged);
        self.complete.push(window.clone());
        Some((window, seen))
    }

    fn start(&self, index: u64) -> Duration {
        self.length.mul_f64(index as f64)
    }

    fn window(&self, merged: &Merged) -> Window {
        let slice = &merged.slice;
        Window {
            start: self.start(slice.index).as_secs_f64(),
            seconds: slice.length.as_secs_f64(),
            warmup: merged.warmup,
            due: slice.due,
            ok: slice.ok,
            shed: slice.shed,
            failed: slice.failed,
            p50: slice.latency.at(0.5),
            p90: slice.latency.at(0.9),
            p99: slice.latency.at(0.99),
            max: slice.latency.max(),
            in_flight: slice.in_flight,
            output_tokens: slice.output_tokens,
            client_cpu: merged.busiest,
        }
    }

    /// Share of the measured time that the busiest thread was on a core, and that a thread waited for one, of the one
    /// that waited most.
    pub fn cpu(&self) -> (f64, f64) {
        let share = |of: fn(&Cpu) -> Duration| {
            let shares = self.cpu.iter().filter(|(_, time)| !time.is_zero());
            shares.map(|(cpu, time)| of(cpu).as_secs_f64() / time.as_secs_f64()).fold(0.0, f64::max).min(1.0)
        };
        (share(|cpu| cpu.on), share(|cpu| cpu.waited))
    }

    /// Most requests that waited for a connection in a window after the warm-up.
    pub fn most_waiting(&self) -> u64 {
        self.most_waiting
    }

    pub fn into_complete(self) -> Vec<Window> {
        self.complete
    }
}

impl Merged {
    /// What another thread tells of the same window.
    fn add(&mut self, other: Slice, busy: f64) {
        self.slice.length = self.slice.length.max(other.length);
        self.slice.in_flight += other.in_flight;
        self.slice.most_waiting += other.most_waiting;
        self.count(&other);
        self.threads += 1;
        self.busiest = self.busiest.max(busy);
    }

    /// The window after it, as part of it.
    fn followed_by(mut self, next: Merged) -> Merged {
        self.slice.length += next.slice.length;
        self.slice.in_flight = next.slice.in_flight;
        self.slice.most_waiting = self.slice.most_waiting.max(next.slice.most_waiting);
        self.count(&next.slice);
        self
    }

    fn count(&mut self, other: &Slice) {
        self.slice.due += other.due;
        self.slice.ok += other.ok;
        self.slice.shed += other.shed;
        self.slice.failed += other.failed;
        self.slice.output_tokens += other.output_tokens;
        self.slice.latency.add(&other.latency);
    }
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
        slice.cpu = Cpu { on: SECOND / 4 * (thread as u32 + 1), waited: SECOND / 10 };
        slice
    }

    fn all(windows: &mut Windows) -> Vec<Window> {
        std::iter::from_fn(|| windows.next_complete().map(|(window, _)| window)).collect()
    }

    #[test]
    fn a_window_is_complete_when_all_threads_told_of_it() {
        let mut windows = Windows::new(2, SECOND, true);
        windows.push(slice(0, 0, 100), &MEASURED);
        windows.push(slice(0, 1, 200), &MEASURED);
        assert!(windows.next_complete().is_none());
        windows.push(slice(1, 0, 50), &MEASURED);
        let (window, seen) = windows.next_complete().unwrap();
        assert_eq!((window.start, window.due, window.ok, window.in_flight, window.warmup), (0.0, 150, 150, 4, true));
        assert_eq!((seen.due, seen.ended), (Some(150), 150));
        assert_eq!((window.client_cpu, windows.most_waiting()), (0.5, 0));
        assert!((window.max.unwrap() / 20.0 - 1.0).abs() < 0.01);
        assert!(windows.next_complete().is_none());
        // The other thread ends early: the window is what the first told.
        windows.thread_is_done();
        let (window, _) = windows.next_complete().unwrap();
        assert_eq!((window.start, window.ok, window.warmup), (1.0, 200, false));
        assert_eq!((windows.cpu(), windows.most_waiting()), ((0.25, 0.1), 5));
        assert_eq!(windows.into_complete().len(), 2);
    }

    #[test]
    fn a_short_end_is_part_of_the_window_before() {
        let mut windows = Windows::new(1, SECOND, false);
        windows.push(slice(0, 0, 100), &ALL);
        assert_eq!(all(&mut windows).len(), 1);
        windows.push(Slice { length: SECOND / 10, in_flight: 0, ..slice(0, 1, 3) }, &ALL);
        assert_eq!(all(&mut windows).len(), 0);
        let complete = windows.into_complete();
        assert_eq!(complete.len(), 1);
        assert_eq!((complete[0].ok, complete[0].seconds, complete[0].in_flight), (103, 1.1, 0));
        let mut windows = Windows::new(1, SECOND, false);
        windows.push(Slice { length: SECOND / 10, ..slice(0, 0, 3) }, &ALL);
        assert_eq!(all(&mut windows).len(), 1, "a run that is short has a window all the same");
    }
}
