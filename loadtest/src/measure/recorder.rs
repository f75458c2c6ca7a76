//! What one thread sees, as it sees it.

use std::time::{Duration, Instant};

use super::cpu::Cpu;
use super::grid::Grid;
use super::slice::Slice;
use super::totals::Totals;
use crate::client::Failure;
use crate::outcome::Outcome;
use crate::request::Answer;
use crate::slo::Slo;
use crate::workload::Samples;

/// A request whose outcome is known.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    /// Whether it was due in measured time.
    pub measured: bool,
    /// Whether it ended in measured time.
    pub in_time: bool,
    pub due: Instant,
    /// When the load tester could have sent it: when it was due, or later when a connection became free.
    pub ready: Instant,
    /// None if it was not, or nobody knows.
    pub sent: Option<Instant>,
    pub done: Instant,
    /// Whether the load had ended before it was sent.
    pub behind: bool,
    pub outcome: &'a Outcome,
    pub answer: Option<&'a Answer>,
}

/// Counts for one thread, and hands a slice over at the end of each window.
///
/// Windows are cut by the times that are recorded, and by [`Recorder::roll`] where nothing is.
pub struct Recorder {
    totals: Totals,
    slo: Option<Slo>,
    samples: Samples,
    warmup_samples: Samples,
    slice: Slice,
    start: Instant,
    grid: Grid,
    /// When the current window ends.
    ends: Instant,
    cpu: Option<Cpu>,
    read_cpu: fn() -> Option<Cpu>,
    in_flight: u64,
    hand_over: Box<dyn FnMut(Slice)>,
}

impl Recorder {
    /// The first window begins at `start`. Each is handed over when it has ended, with what the thread had of the cores by
    /// `read_cpu`.
    pub fn new(
        thread: usize,
        start: Instant,
        grid: Grid,
        slo: Option<Slo>,
        read_cpu: fn() -> Option<Cpu>,
        hand_over: impl FnMut(Slice) + 'static,
    ) -> Recorder {
        Recorder {
            totals: Totals::new(),
            slo,
            samples: Samples::default(),
            warmup_samples: Samples::default(),
            slice: Slice::new(thread, 0, grid.length(0)),
            start,
            grid,
            ends: start + grid.length(0),
            cpu: read_cpu(),
            read_cpu,
            in_flight: 0,
            hand_over: Box::new(hand_over),
        }
    }

    /// A request is due.
    pub fn due(&mut self, at: Instant, measured: bool) {
        self.roll(at);
        self.slice.due += 1;
        if measured {
            self.totals.due(at);
        }
    }

    /// A caller pauses, as its last request failed without an answer.
    pub fn pauses(&mut self, time: Duration, measured: bool) {
        if measured {
            self.totals.paused += time;
        }
    }

    /// A request is taken up by a sender.
    pub fn begun(&mut self) {
        self.in_flight += 1;
    }

    /// One more request is due and waits for a connection, with so many in all.
    pub fn waits(&mut self, count: usize, measured: bool) {
        self.slice.most_waiting = self.slice.most_waiting.max(count as u64);
        self.totals.waited += u64::from(measured);
    }

    /// A connection could not be opened, or broke.
    pub fn failure(&mut self, failure: &Failure, measured: bool) {
        if measured && *failure == Failure::Sockets {
            self.totals.without_socket += 1;
        }
    }

    /// Where to note what a server says. The warm-up has a place of its own, so that it takes none from what is told.
    pub fn samples(&mut self, measured: bool) -> &mut Samples {
        if measured { &mut self.samples } else { &mut self.warmup_samples }
    }

    pub fn ended(&mut self, ended: &Ended<'_>) {
        self.roll(ended.done);
        if !matches!(ended.outcome, Outcome::Unsent { .. }) {
            self.in_flight = self.in_flight.saturating_sub(1);
        }
        match ended.outcome {
            Outcome::Ok => {
                self.slice.ok += 1;
                self.slice.latency.record(ended.done.saturating_duration_since(ended.due));
                self.slice.output_tokens += super::answers::output_tokens(ended.answer);
            }
            Outcome::Shed(_) => self.slice.shed += 1,
            Outcome::Error(_) | Outcome::TimedOut | Outcome::Wrong(_) | Outcome::Unsent { .. } => {
                self.slice.failed += 1;
            }
        }
        self.totals.record(ended, self.slo.as_ref());
    }

    /// Hands over every window that is past.
    pub fn roll(&mut self, now: Instant) {
        while now >= self.ends {
            self.end_window();
            self.ends += self.slice.length;
        }
    }

    fn end_window(&mut self) {
        let cpu = (self.read_cpu)();
        let index = self.slice.index + 1;
        let next = Slice::new(self.slice.thread, index, self.grid.length(index));
        let mut slice = std::mem::replace(&mut self.slice, next);
        slice.in_flight = self.in_flight;
        slice.cpu = cpu.zip(self.cpu).map(|(now, before)| now - before);
        self.cpu = cpu;
        (self.hand_over)(slice);
    }

    /// The run is over: hands over the window that is not yet, and tells all. What has no outcome was given up.
    pub fn finish(mut self, now: Instant) -> Totals {
        self.roll(now);
        self.slice.length = now.saturating_duration_since(self.start).saturating_sub(self.grid.start(self.slice.index));
        if !self.slice.is_empty() {
            self.end_window();
        }
        self.totals.give_up_unfinished();
        self.totals.outcomes.samples = self.samples.into_all();
        self.totals
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(1);

    fn recorder() -> (Recorder, Receiver<Slice>, Instant) {
        let (sender, receiver) = channel();
        let start = Instant::now();
        let grid = Grid::new(WINDOW, Duration::ZERO);
        let hand_over = move |slice| sender.send(slice).unwrap();
        (Recorder::new(3, start, grid, None, Cpu::of_this_thread, hand_over), receiver, start)
    }

    fn ended(outcome: &Outcome, due: Instant, done: Instant, measured: bool) -> Ended<'_> {
        let (ready, sent) = (due, Some(due));
        Ended { measured, in_time: measured, due, ready, sent, done, behind: false, outcome, answer: None }
    }

    #[test]
    fn windows_are_cut_by_the_times_of_what_they_count() {
        let (mut recorder, slices, start) = recorder();
        let at = |ms| start + Duration::from_millis(ms);
        recorder.due(at(100), false);
        recorder.due(at(900), true);
        recorder.begun();
        recorder.begun();
        recorder.ended(&ended(&Outcome::Ok, at(100), at(950), false));
        recorder.ended(&ended(&Outcome::TimedOut, at(900), at(3_200), true));
        let totals = recorder.finish(at(3_500));
        let seen: Vec<_> = slices
            .try_iter()
            .map(|slice| (slice.index, slice.thread, slice.due, slice.ok, slice.failed, slice.in_flight))
            .collect();
        assert_eq!(seen, [(0, 3, 2, 1, 0, 1), (1, 3, 0, 0, 0, 1), (2, 3, 0, 0, 0, 1), (3, 3, 0, 0, 1, 0)]);
        assert_eq!((totals.due, totals.outcomes.ok, totals.outcomes.timeouts), (1, 0, 1));
    }

    #[test]
    fn the_last_window_is_as_long_as_it_was_and_left_out_if_empty() {
        let (mut first, slices, start) = recorder();
        first.due(start, true);
        first.finish(start + Duration::from_millis(300));
        assert_eq!(slices.recv().unwrap().length, Duration::from_millis(300));
        let (second, slices, start) = recorder();
        second.finish(start + Duration::from_millis(1_300));
        assert_eq!(slices.iter().count(), 1);
    }

    #[test]
    fn only_measured_requests_count_sockets_and_what_was_said() {
        let (mut recorder, _slices, start) = recorder();
        for measured in [false, true] {
            recorder.failure(&Failure::Sockets, measured);
            recorder.failure(&Failure::Closed, measured);
            recorder.samples(measured).note("500", || Some(format!("{measured}")));
        }
        let totals = recorder.finish(start);
        assert_eq!((totals.without_socket, totals.outcomes.samples["500"].as_str()), (1, "true"));
    }
}
