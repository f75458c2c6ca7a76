//! When a lane's courier looks at its servers again though nothing happens.
//!
//! A breaker may be tried then, a batch has waited for company, or a call for another server than the one that failed. The
//! courier sleeps until the instant that it knew when it fell asleep. Whoever finds an earlier one wakes it; so what it was
//! told last is kept apart from what is due now, which any pick may change.

use std::time::Instant;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Alarm {
    due: Option<Instant>,
    /// What the courier sleeps until, or has been woken for.
    told: Option<Instant>,
}

impl Alarm {
    /// To be looked at by then.
    pub fn set(&mut self, at: Option<Instant>) {
        self.due = [self.due, at].into_iter().flatten().min();
    }

    /// All is looked at now.
    pub fn clear(&mut self) {
        self.due = None;
    }

    /// Whether the courier would sleep for too long. It is taken to be told then.
    pub fn tells(&mut self) -> bool {
        let sooner = self.due.is_some_and(|due| self.told.is_none_or(|told| due < told));
        if sooner {
            self.told = self.due;
        }
        sooner
    }

    /// The courier falls asleep, until this.
    pub fn sleeps(&mut self) -> Option<Instant> {
        self.told = self.due;
        self.told
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_courier_that_sleeps_is_told_of_what_is_sooner_and_once() {
        let now = Instant::now();
        let (soon, late) = (now + Duration::from_secs(1), now + Duration::from_secs(2));
        let mut alarm = Alarm::default();
        assert_eq!(alarm.sleeps(), None);
        // What a pick found first is no reason to be silent about it.
        alarm.set(Some(late));
        alarm.clear();
        alarm.set(Some(late));
        assert!(alarm.tells() && !alarm.tells());
        alarm.set(Some(soon));
        assert!(alarm.tells());
        assert_eq!(alarm.sleeps(), Some(soon));
        alarm.clear();
        alarm.set(Some(late));
        assert!(!alarm.tells());
        assert_eq!(alarm.sleeps(), Some(late));
    }
}
