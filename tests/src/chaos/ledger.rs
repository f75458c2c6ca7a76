//! What became of every call, and what may not have.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// How much later than its deadline a call may end: a busy machine's own delays, and no more.
const GRACE: Duration = Duration::from_secs(3);

/// A call that has ended, or was given up.
#[derive(Clone, Debug)]
pub struct Call {
    pub id: u64,
    pub due: Instant,
    pub ended: Instant,
    pub end: End,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// With its own id and its own row.
    Answered,
    /// With a status and its text.
    Refused(u16, String),
    /// The connection was not made, or ended before the whole answer.
    Disconnected(String),
    /// With what is not its answer.
    Wrong(String),
    /// Long after its deadline there was neither an answer nor an error.
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Nothing may fail.
    Normal,
    /// Something is broken, or has just been mended.
    Fault,
    /// All is well again: nothing may fail.
    Recovered,
}

/// The calls of one run.
#[derive(Debug)]
pub struct Ledger {
    pub calls: Vec<Call>,
    phases: Vec<(Phase, Instant)>,
    deadline: Duration,
}

impl Ledger {
    /// `phases`: each with its begin.
    pub fn new(calls: Vec<Call>, phases: Vec<(Phase, Instant)>, deadline: Duration) -> Ledger {
        let ledger = Ledger { calls, phases, deadline };
        println!("{}", ledger.summary());
        ledger
    }

    /// Whether any of a call's time was within a fault.
    fn met_a_fault(&self, call: &Call) -> bool {
        let ends = self.phases.iter().skip(1).map(|(_, begin)| Some(*begin)).chain([None]);
        let mut spans = self.phases.iter().zip(ends).filter(|((phase, _), _)| *phase == Phase::Fault);
        spans.any(|((_, begin), end)| call.ended >= *begin && end.is_none_or(|end| call.due < end))
    }

    /// No call is lost, late or answered with what is not its own, and those that failed did so while a fault was there, in
    /// a way that `allowed` knows.
    pub fn holds(&self, allowed: impl Fn(&End) -> bool) {
        for call in &self.calls {
            let late = call.ended.duration_since(call.due) > self.deadline + GRACE;
            let fine = match &call.end {
                End::Answered => true,
                End::Wrong(_) | End::Lost => false,
                End::Refused(..) | End::Disconnected(_) => self.met_a_fault(call) && allowed(&call.end),
            };
            assert!(fine && !late, "call {} after {:?}: {:?}", call.id, call.ended - call.due, call.end);
        }
    }

    /// Every call that was answered was executed once, and no call more often.
    pub fn executed_once(&self, executed: &BTreeMap<String, Vec<String>>) {
        for call in &self.calls {
            let by = executed.get(&call.id.to_string()).map_or(&[][..], Vec::as_slice);
            assert!(by.len() <= 1, "call {} was executed by {by:?}", call.id);
            self.was_executed(call, by);
        }
    }

    /// Every call that was answered was executed, perhaps more than once.
    pub fn executed_at_all(&self, executed: &BTreeMap<String, Vec<String>>) {
        for call in &self.calls {
            self.was_executed(call, executed.get(&call.id.to_string()).map_or(&[][..], Vec::as_slice));
        }
    }

    fn was_executed(&self, call: &Call, by: &[String]) {
        assert!(call.end != End::Answered || !by.is_empty(), "call {} was answered by nobody", call.id);
    }

    /// Calls that were not answered.
    pub fn failed(&self) -> usize {
        self.calls.iter().filter(|call| call.end != End::Answered).count()
    }

    /// Calls that were answered in full although a fault was there while they ran.
    pub fn answered_meanwhile(&self) -> usize {
        self.calls.iter().filter(|call| call.end == End::Answered && self.met_a_fault(call)).count()
    }

    /// By phase: calls, how they ended, their times; and how long after the fault's begin the last call failed.
    fn summary(&self) -> String {
        let mut text = format!("{} calls", self.calls.len());
        for (index, (phase, begin)) in self.phases.iter().enumerate() {
            let end = self.phases.get(index + 1).map(|(_, end)| *end);
            let within: Vec<&Call> =
                self.calls.iter().filter(|call| call.due >= *begin && end.is_none_or(|end| call.due < end)).collect();
            let mut ends = BTreeMap::<String, usize>::new();
            for call in &within {
                *ends.entry(kind(&call.end)).or_default() += 1;
            }
            let mut times: Vec<_> = within.iter().map(|call| call.ended - call.due).collect();
            times.sort_unstable();
            let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
            write!(text, "\n  {phase:?}: {ends:?}, p50 {:.1?}, p99 {:.1?}", at(50), at(99)).unwrap();
            let failed = within.iter().filter(|call| call.end != End::Answered).map(|call| call.ended - *begin).max();
            if let Some(last) = failed.filter(|_| *phase == Phase::Fault) {
                write!(text, ", the last failed after {last:.1?}").unwrap();
            }
        }
        text
    }
}

fn kind(end: &End) -> String {
    match end {
        End::Answered => "answered".to_owned(),
        End::Refused(status, _) => status.to_string(),
        End::Disconnected(_) => "disconnected".to_owned(),
        End::Wrong(_) => "wrong".to_owned(),
        End::Lost => "lost".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(1);

    /// Calls at these seconds, within three phases of ten seconds.
    fn ledger(calls: &[(u64, u64, End)]) -> Ledger {
        let zero = Instant::now();
        let at = |seconds: u64| zero + Duration::from_secs(seconds);
        let call = |(id, (due, ended, end)): (usize, &(u64, u64, End))| Call {
            id: id as u64,
            due: at(*due),
            ended: at(*ended),
            end: end.clone(),
        };
        let phases = vec![(Phase::Normal, at(0)), (Phase::Fault, at(10)), (Phase::Recovered, at(20))];
        Ledger::new(calls.iter().enumerate().map(call).collect(), phases, DEADLINE)
    }

    fn holds(calls: &[(u64, u64, End)]) -> bool {
        let ledger = ledger(calls);
        std::panic::catch_unwind(|| ledger.holds(|end| matches!(end, End::Refused(502, _)))).is_ok()
    }

    #[test]
    fn failures_are_allowed_in_the_fault_and_of_its_kind_only() {
        let refused = |status| End::Refused(status, String::new());
        assert!(holds(&[(1, 2, End::Answered), (11, 12, refused(502)), (21, 22, End::Answered)]));
        // It was under way when the fault began.
        assert!(holds(&[(9, 11, refused(502))]));
        assert!(!holds(&[(8, 9, refused(502))]));
        assert!(!holds(&[(20, 21, refused(502))]));
        assert!(!holds(&[(11, 12, refused(500))]));
        assert!(!holds(&[(11, 12, End::Disconnected(String::new()))]));
    }

    #[test]
    fn lost_late_and_wrong_are_never_allowed() {
        assert!(!holds(&[(11, 12, End::Lost)]));
        assert!(!holds(&[(11, 12, End::Wrong(String::new()))]));
        assert!(!holds(&[(11, 16, End::Answered)]));
    }

    #[test]
    fn executions_are_counted_by_id() {
        let ledger = ledger(&[(1, 1, End::Answered), (11, 11, End::Refused(502, String::new()))]);
        let fine = |executed: &[(&str, usize)]| {
            let executed = executed.iter().map(|(id, times)| ((*id).to_owned(), vec![String::new(); *times])).collect();
            std::panic::catch_unwind(|| ledger.executed_once(&executed)).is_ok()
        };
        assert!(fine(&[("0", 1)]) && fine(&[("0", 1), ("1", 1)]));
        assert!(!fine(&[("0", 2)]) && !fine(&[("1", 1)]) && !fine(&[("0", 1), ("1", 2)]));
    }
}
