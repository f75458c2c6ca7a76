//! All that was measured: of a thread, then of all.

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
    failed_latency: Histogram,
    /// Right answers that met the objective's limits in time.
    good: u64,
    streams: Option<StreamTotals>,
    server: ServerTotals,
    /// Not sent by the end of the load.
    pub behind: u64,
    pub without_socket: u64,
    pub last_due: Option<Instant>,
    pub last_done: Option<Instant>,
}

impl Totals {
    pub fn new() -> Totals {
        Totals {
            due: 0,
            outcomes: Outcomes::default(),
            latency: Histogram::fine(),
            from_sent: Histogram::fine(),
            lag: Histogram::fine(),
            failed_latency: Histogram::fine(),
            good: 0,
            streams: None,
            server: ServerTotals::default(),
            behind: 0,
            without_socket: 0,
            last_due: None,
            last_done: None,
        }
    }

    pub(super) fn due(&mut self, at: Instant) {
        self.due += 1;
        self.last_due = self.last_due.max(Some(at));
    }

    pub(super) fn record(&mut self, ended: &Ended<'_>, slo: Option<&Slo>) {
        let latency = ended.done.saturating_duration_since(ended.due);
        self.last_done = self.last_done.max(Some(ended.done));
        self.behind += u64::from(ended.behind);
        if let Some(sent) = ended.sent {
            self.lag.record(sent.saturating_duration_since(ended.due));
        }
        if *ended.outcome != Outcome::Ok {
            self.failed_latency.record(latency);
            count(&mut self.outcomes, ended.outcome, 1);
            return;
        }
        self.outcomes.ok += 1;
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
        if slo.is_some_and(|slo| slo.is_good(&answers::times(ended.due, ended.done, answer))) {
            self.good += 1;
        }
    }

    /// What was due and has no outcome was given up: the run was stopped, and waited no longer.
    pub fn give_up_unfinished(&mut self) {
        let unfinished = self.due.saturating_sub(self.outcomes.total());
        if unfinished > 0 {
            count(&mut self.outcomes, &Outcome::TimedOut, unfinished);
        }
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
        for (kind, times) in &other.outcomes.by_kind {
            count_kind(&mut self.outcomes, kind, *times);
        }
        self.latency.add(&other.latency);
        self.from_sent.add(&other.from_sent);
        self.lag.add(&other.lag);
        self.failed_latency.add(&other.failed_latency);
        self.good += other.good;
        if let Some(streams) = &other.streams {
            self.streams.get_or_insert_with(StreamTotals::new).add(streams);
        }
        self.server.add(&other.server);
        self.behind += other.behind;
        self.without_socket += other.without_socket;
        self.last_due = self.last_due.max(other.last_due);
        self.last_done = self.last_done.max(other.last_done);
    }

    /// The figures of a run that measured for so long; how it was loaded, its windows and limits are left to the caller.
    pub fn summary(&self, measured: Duration, has_objective: bool) -> Run {
        let seconds = measured.as_secs_f64();
        Run {
            seconds,
            due: self.due,
            due_rate: per_second(self.due, seconds),
            outcomes: self.outcomes.clone(),
            rate: per_second(self.outcomes.ok, seconds),
            goodput: has_objective.then(|| per_second(self.good, seconds)),
            latency: self.latency.distribution(),
            from_sent: self.from_sent.distribution(),
            lag: self.lag.distribution(),
            failed_latency: self.failed_latency.distribution(),
            streams: self.streams.as_ref().map(|streams| streams.summary(seconds)),
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
pub(super) fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

fn count(outcomes: &mut Outcomes, outcome: &Outcome, times: u64) {
    let of_kind = match outcome {
        Outcome::Ok => {
            outcomes.ok += times;
            return;
        }
        Outcome::Shed(_) => &mut outcomes.shed,
        Outcome::Error(_) => &mut outcomes.errors,
        Outcome::TimedOut => &mut outcomes.timeouts,
        Outcome::Wrong(_) => &mut outcomes.wrong,
        Outcome::Unsent => &mut outcomes.unsent,
    };
    *of_kind += times;
    count_kind(outcomes, &outcome.kind(), times);
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
                    due: now,
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

    #[test]
    fn latency_counts_from_due_and_the_naive_one_from_sent() {
        let due = Instant::now();
        let (sent, done) = (due + Duration::from_millis(40), due + Duration::from_millis(50));
        let mut totals = Totals::new();
        totals.due(due);
        let outcome = Outcome::Ok;
        totals.record(
            &Ended { measured: true, due, sent: Some(sent), done, behind: false, outcome: &outcome, answer: None },
            None,
        );
        let run = totals.summary(Duration::from_secs(2), false);
        for (distribution, expected) in [(&run.latency, 50.0), (&run.from_sent, 10.0), (&run.lag, 40.0)] {
            assert!((distribution.max / expected - 1.0).abs() < 0.001, "{distribution:?}");
        }
        assert_eq!((run.rate, run.due_rate, run.goodput), (0.5, 0.5, None));
    }

    #[test]
    fn what_never_ended_is_a_timeout() {
        let mut totals = Totals::new();
        for _ in 0..3 {
            totals.due(Instant::now());
        }
        totals.give_up_unfinished();
        assert_eq!((totals.outcomes.timeouts, totals.outcomes.total()), (3, 3));
        assert_eq!(totals.summary(Duration::ZERO, false).due_rate, 0.0);
    }
}
