//! All that was measured: of a thread, then of all.

use std::ops::AddAssign;
use std::time::{Duration, Instant};

use super::answers::{self, ServerTotals, StreamTotals};
use super::histogram::Histogram;
use super::recorder::Ended;
use crate::outcome::Outcome;
use crate::result::{Outcomes, Run};
use crate::slo::Slo;

/// The most kinds of outcomes that are told apart.
const KINDS: usize = 50;

/// Of requests that were due in measured time.
#[derive(Debug)]
pub struct Totals {
    pub due: u64,
    pub outcomes: Outcomes,
    latency: Histogram,
    from_sent: Histogram,
    lag: Histogram,
    /// From when a request could be sent to when it was: without the wait for a connection that awaits the server.
    own_lag: Histogram,
    failed_latency: Histogram,
    /// Right answers that met the objective's limits in time.
    good: u64,
    in_time: InTime,
    streams: Option<StreamTotals>,
    server: ServerTotals,
    /// Due when no connection was free.
    pub waited: u64,
    /// Not sent by the end of the load.
    pub behind: u64,
    pub without_socket: u64,
    /// How long callers of a closed loop paused after requests that failed without an answer, in all.
    pub paused: Duration,
    /// When the last request was due, or the last answer came.
    pub last: Option<Instant>,
}

/// Of requests that ended in measured time, whenever they were due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InTime {
    /// Answers of the server, right or not.
    pub answers: u64,
    pub ok: u64,
    pub good: u64,
    pub output_tokens: u64,
}

impl AddAssign for InTime {
    fn add_assign(&mut self, more: InTime) {
        self.answers += more.answers;
        self.ok += more.ok;
        self.good += more.good;
        self.output_tokens += more.output_tokens;
    }
}

impl Totals {
    pub fn new() -> Totals {
        Totals {
            due: 0,
            outcomes: Outcomes::default(),
            latency: Histogram::fine(),
            from_sent: Histogram::fine(),
            lag: Histogram::fine(),
            own_lag: Histogram::coarse(),
            failed_latency: Histogram::fine(),
            good: 0,
            in_time: InTime::default(),
            streams: None,
            server: ServerTotals::default(),
            waited: 0,
            paused: Duration::ZERO,
            behind: 0,
            without_socket: 0,
            last: None,
        }
    }

    pub(super) fn due(&mut self, at: Instant) {
        self.due += 1;
        self.last = self.last.max(Some(at));
    }

    pub(super) fn record(&mut self, ended: &Ended<'_>, slo: Option<&Slo>) {
        if !ended.measured && !ended.in_time {
            return;
        }
        let good = *ended.outcome == Outcome::Ok
            && slo
                .zip(ended.answer)
                .is_some_and(|(slo, answer)| slo.is_good(&answers::times(ended.due, ended.done, answer)));
        if ended.in_time {
            self.record_in_time(ended, good);
        }
        if ended.measured {
            self.record_measured(ended, good);
        }
    }

    fn record_in_time(&mut self, ended: &Ended<'_>, good: bool) {
        self.in_time += match ended.outcome {
            Outcome::Ok => {
                let output_tokens = answers::output_tokens(ended.answer);
                InTime { answers: 1, ok: 1, good: u64::from(good), output_tokens }
            }
            Outcome::Shed(_) | Outcome::Error(_) | Outcome::Wrong(_) => InTime { answers: 1, ..InTime::default() },
            Outcome::TimedOut | Outcome::Unsent { .. } => InTime::default(),
        };
    }

    fn record_measured(&mut self, ended: &Ended<'_>, good: bool) {
        let latency = ended.done.saturating_duration_since(ended.due);
        if !matches!(ended.outcome, Outcome::TimedOut | Outcome::Unsent { .. }) {
            self.last = self.last.max(Some(ended.done));
        }
        self.behind += u64::from(ended.behind);
        if let Some(sent) = ended.sent {
            self.lag.record(sent.saturating_duration_since(ended.due));
            self.own_lag.record(sent.saturating_duration_since(ended.ready));
        }
        if *ended.outcome != Outcome::Ok {
            self.failed_latency.record(latency);
            count(&mut self.outcomes, ended.outcome);
            return;
        }
        self.outcomes.ok += 1;
        self.good += u64::from(good);
        self.latency.record(latency);
        if let Some(sent) = ended.sent {
            self.from_sent.record(ended.done.saturating_duration_since(sent));
        }
        let Some(answer) = ended.answer else { return };
        self.server.record(latency, answer);
        if let Some(stream) = &answer.stream {
            self.streams.get_or_insert_with(StreamTotals::new).record(ended.due, stream);
        } else if let Some(usage) = answer.usage {
            self.streams.get_or_insert_with(StreamTotals::new).record_whole(usage);
        }
    }

    /// What was due and has no outcome was given up: the run was stopped, and waited no longer. Nobody knows what would have
    /// become of it, so it is as if it had not been due.
    pub(super) fn give_up_unfinished(&mut self) {
        let unfinished = self.due.saturating_sub(self.outcomes.total());
        self.due -= unfinished;
        self.outcomes.given_up += unfinished;
    }

    /// Takes in those of another thread.
    pub fn add(&mut self, other: &Totals) {
        self.due += other.due;
        self.outcomes.ok += other.outcomes.ok;
        self.outcomes.shed += other.outcomes.shed;
        self.outcomes.errors += other.outcomes.errors;
        self.outcomes.timeouts += other.outcomes.timeouts;
        self.outcomes.wrong += other.outcomes.wrong;
        self.outcomes.unsent += other.outcomes.unsent;
        self.outcomes.given_up += other.outcomes.given_up;
        for (kind, times) in &other.outcomes.by_kind {
            count_kind(&mut self.outcomes, kind, *times);
        }
        for (kind, said) in &other.outcomes.samples {
            self.outcomes.samples.entry(kind.clone()).or_insert_with(|| said.clone());
        }
        self.latency.add(&other.latency);
        self.from_sent.add(&other.from_sent);
        self.lag.add(&other.lag);
        self.own_lag.add(&other.own_lag);
        self.failed_latency.add(&other.failed_latency);
        self.good += other.good;
        self.in_time += other.in_time;
        if let Some(streams) = &other.streams {
            self.streams.get_or_insert_with(StreamTotals::new).add(streams);
        }
        self.server.add(&other.server);
        self.waited += other.waited;
        self.paused += other.paused;
        self.behind += other.behind;
        self.without_socket += other.without_socket;
        self.last = self.last.max(other.last);
    }

    pub fn in_time(&self) -> InTime {
        self.in_time
    }

    /// Milliseconds from when a request could be sent to when it was, at p99; None if nothing was sent.
    pub fn own_lag_p99(&self) -> Option<f64> {
        self.own_lag.at(0.99)
    }

    /// The figures of a run that measured for so long; how it was loaded, its windows and limits are left to the caller.
    pub fn summary(&self, measured: Duration, has_objective: bool) -> Run {
        let seconds = measured.as_secs_f64();
        let rate = |count| per_second(count, seconds);
        let mut outcomes = self.outcomes.clone();
        outcomes.samples.retain(|kind, _| self.outcomes.by_kind.contains_key(kind));
        outcomes.good = has_objective.then_some(self.good);
        Run {
            seconds,
            due: self.due,
            due_rate: rate(self.due),
            outcomes,
            rate: rate(self.in_time.ok),
            goodput: has_objective.then(|| rate(self.in_time.good)),
            latency: self.latency.distribution(),
            from_sent: self.from_sent.distribution(),
            lag: self.lag.distribution(),
            failed_latency: self.failed_latency.distribution(),
            streams: self.streams.as_ref().map(|streams| streams.summary(rate(self.in_time.output_tokens))),
            server: self.server.summary(),
            ..Run::default()
        }
    }
}

impl Default for Totals {
    fn default() -> Totals {
        Totals::new()
    }
}

/// Of no time there is no rate.
fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

fn count(outcomes: &mut Outcomes, outcome: &Outcome) {
    let of_kind = match outcome {
        Outcome::Ok => {
            outcomes.ok += 1;
            return;
        }
        Outcome::Shed(_) => &mut outcomes.shed,
        Outcome::Error(_) => &mut outcomes.errors,
        Outcome::TimedOut => &mut outcomes.timeouts,
        Outcome::Wrong(_) => &mut outcomes.wrong,
        Outcome::Unsent { .. } => &mut outcomes.unsent,
    };
    *of_kind += 1;
    count_kind(outcomes, &outcome.kind(), 1);
}

fn count_kind(outcomes: &mut Outcomes, kind: &str, times: u64) {
    let kinds = &mut outcomes.by_kind;
    match kinds.get_mut(kind) {
        Some(count) => *count += times,
        None => {
            let kind = if kinds.len() < KINDS { kind } else { "other" };
            *kinds.entry(kind.to_owned()).or_default() += times;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_capped_and_nothing_is_lost() {
        let mut one = Totals::new();
        let now = Instant::now();
        for number in 0..120 {
            let outcome = Outcome::Error(format!("{}", 400 + number));
            one.due(now);
            one.record(
                &Ended {
                    measured: true,
                    in_time: true,
                    due: now,
                    ready: now,
                    sent: None,
                    done: now,
                    behind: false,
                    outcome: &outcome,
                    answer: None,
                },
                None,
            );
        }
        let mut all = Totals::new();
        all.add(&one);
        all.add(&one);
        assert_eq!(all.outcomes.errors, 240);
        assert_eq!(all.outcomes.by_kind.len(), KINDS + 1);
        assert_eq!(all.outcomes.by_kind.values().sum::<u64>(), 240);
        assert_eq!(all.outcomes.by_kind["other"], 140);
    }

    fn ended(
        outcome: &Outcome,
        due: Instant,
        sent: Instant,
        done: Instant,
        measured: bool,
        in_time: bool,
    ) -> Ended<'_> {
        Ended { measured, in_time, due, ready: due, sent: Some(sent), done, behind: false, outcome, answer: None }
    }

    #[test]
    fn rates_are_of_what_came_in_measured_time_and_outcomes_of_what_was_due() {
        let now = Instant::now();
        let mut totals = Totals::new();
        // Due before, and in time; due in time, and answered in it; due in time, and answered after its end.
        for (measured, in_time) in [(false, false), (false, true), (true, true), (true, false), (true, false)] {
            if measured {
                totals.due(now);
            }
            totals.record(&ended(&Outcome::Ok, now, now, now, measured, in_time), None);
        }
        let run = totals.summary(Duration::from_secs(1), false);
        assert_eq!((run.due, run.outcomes.ok, run.latency.count), (3, 3, 3));
        assert_eq!((run.due_rate, run.rate), (3.0, 2.0));
    }

    #[test]
    fn latency_counts_from_due_and_the_naive_one_from_sent() {
        let due = Instant::now();
        let (sent, done) = (due + Duration::from_millis(40), due + Duration::from_millis(50));
        let mut totals = Totals::new();
        totals.due(due);
        let outcome = Outcome::Ok;
        totals.record(&ended(&outcome, due, sent, done, true, true), None);
        let run = totals.summary(Duration::from_secs(2), false);
        for (distribution, expected) in [(&run.latency, 50.0), (&run.from_sent, 10.0), (&run.lag, 40.0)] {
            assert!((distribution.max / expected - 1.0).abs() < 0.001, "{distribution:?}");
        }
        assert_eq!((run.rate, run.due_rate, run.goodput), (0.5, 0.5, None));
    }

    #[test]
    fn what_never_ended_is_as_if_it_had_not_been_due() {
        let mut totals = Totals::new();
        for _ in 0..3 {
            totals.due(Instant::now());
        }
        totals.give_up_unfinished();
        assert_eq!((totals.due, totals.outcomes.given_up, totals.outcomes.total()), (0, 3, 0));
        assert_eq!(totals.summary(Duration::ZERO, false).due_rate, 0.0);
    }
}
