//! What one thread sees, as it sees it.

use std::time::{Duration, Instant};

use super::cpu::Cpu;
use super::slice::Slice;
use super::totals::Totals;
use crate::client::Failure;
use crate::outcome::Outcome;
use crate::request::Answer;
use crate::slo::Slo;

/// A request whose outcome is known.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    /// Whether it was due in measured time.
    pub measured: bool,
    pub due: Instant,
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
/// Windows are cut by the times that are recorded, and by [`Recorder::roll`] where nothing is: no clock is read here.
pub struct Recorder {
    totals: Totals,
    slo: Option<Slo>,
    slice: Slice,
    /// When the current window began.
    began: Instant,
    window: Duration,
    cpu: Cpu,
    in_flight: u64,
    hand_over: Box<dyn FnMut(Slice)>,
}

impl Recorder {
    /// The first window begins at `start`. Each is handed over when it has ended.
    pub fn new(
        thread: usize,
        start: Instant,
        window: Duration,
        slo: Option<Slo>,
        hand_over: impl FnMut(Slice) + 'static,
    ) -> Recorder {
        Recorder {
            totals: Totals::new(),
            slo,
            slice: Slice::new(thread, 0, window),
            began: start,
            window,
            cpu: Cpu::of_this_thread(),
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

    /// A request is taken up by a sender.
    pub fn begun(&mut self) {
        self.in_flight += 1;
    }

    /// So many requests are due and wait for a connection.
    pub fn waiting(&mut self, count: usize) {
        self.slice.most_waiting = self.slice.most_waiting.max(count as u64);
    }

    /// A connection could not be opened, or broke.
    pub fn failure(&mut self, failure: &Failure, measured: bool) {
        if measured && *failure == Failure::Sockets {
            self.totals.without_socket += 1;
        }
    }

    pub fn ended(&mut self, ended: &Ended<'_>) {
        self.roll(ended.done);
        if *ended.outcome != Outcome::Unsent {
            self.in_flight = self.in_flight.saturating_sub(1);
        }
        match ended.outcome {
            Outcome::Ok => {
                self.slice.ok += 1;
                self.slice.latency.record(ended.done.saturating_duration_since(ended.due));
                self.slice.output_tokens += super::answers::output_tokens(ended.answer);
            }
            Outcome::Shed(_) => self.slice.shed += 1,
            Outcome::Error(_) | Outcome::TimedOut | Outcome::Wrong(_) | Outcome::Unsent => self.slice.failed += 1,
        }
        if ended.measured {
            self.totals.record(ended, self.slo.as_ref());
        }
    }

    /// Hands over every window that is past.
    pub fn roll(&mut self, now: Instant) {
        while now.saturating_duration_since(self.began) >= self.window {
            self.end_window();
            self.began += self.window;
        }
    }

    fn end_window(&mut self) {
        let cpu = Cpu::of_this_thread();
        let next = Slice::new(self.slice.thread, self.slice.index + 1, self.window);
        let mut slice = std::mem::replace(&mut self.slice, next);
        slice.in_flight = self.in_flight;
        slice.cpu = cpu - self.cpu;
        self.cpu = cpu;
        (self.hand_over)(slice);
    }

    /// The run is over: hands over the window that is not yet, and tells all.
    pub fn finish(mut self, now: Instant) -> Totals {
        self.roll(now);
        self.slice.length = now.saturating_duration_since(self.began);
        if !self.slice.is_empty() {
            self.end_window();
        }
        self.totals.give_up_unfinished();
        self.totals
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    const WINDOW: Duration = Duration::from_secs(1);

    fn recorder() -> (Recorder, Receiver<Slice>, Instant) {
        let (sender, receiver) = channel();
        let start = Instant::now();
        (Recorder::new(3, start, WINDOW, None, move |slice| sender.send(slice).unwrap()), receiver, start)
    }

    fn ended(outcome: &Outcome, due: Instant, done: Instant, measured: bool) -> Ended<'_> {
        Ended { measured, due, sent: Some(due), done, behind: false, outcome, answer: None }
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
    fn only_measured_requests_count_sockets() {
        let (mut recorder, _slices, start) = recorder();
        recorder.failure(&Failure::Sockets, false);
        recorder.failure(&Failure::Sockets, true);
        recorder.failure(&Failure::Closed, true);
        assert_eq!(recorder.finish(start).without_socket, 1);
    }
}
