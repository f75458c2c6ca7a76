//! When a replica that failed is started again: at once after a time of health, then ever later.

use std::time::{Duration, Instant};

/// Delays between starts of one replica. A crash loop costs one start a minute at most.
#[derive(Clone, Debug, Default)]
pub struct RestartPolicy {
    failures: u32,
    healthy_since: Option<Instant>,
}

impl RestartPolicy {
    const FIRST: Duration = Duration::from_millis(250);
    const LONGEST: Duration = Duration::from_secs(60);
    /// A replica that served this long starts with a clean record.
    const PROVEN: Duration = Duration::from_secs(60);

    /// The replica loaded.
    pub fn loaded(&mut self, now: Instant) {
        self.healthy_since = Some(now);
    }

    /// The replica failed, or failed to load: wait this long before the next start.
    pub fn failed(&mut self, now: Instant) -> Duration {
        let served = self.healthy_since.take().map(|since| now.saturating_duration_since(since));
        if served.is_some_and(|served| served >= Self::PROVEN) {
            self.failures = 0;
        }
        let failures = self.failures;
        self.failures = failures.saturating_add(1);
        // The first failure of a replica that had loaded is replaced at once.
        match (failures, served) {
            (0, Some(_)) => Duration::ZERO,
            _ => Self::FIRST.saturating_mul(1 << failures.min(16)).min(Self::LONGEST),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_loop_slows_down_and_health_forgives() {
        #[allow(clippy::disallowed_methods)]
        let start = Instant::now();
        let mut policy = RestartPolicy::default();
        policy.loaded(start);
        assert_eq!(policy.failed(start), Duration::ZERO);
        let delays: Vec<_> = (0..12).map(|_| policy.failed(start)).collect();
        assert!(delays.is_sorted());
        assert_eq!(delays[0], Duration::from_millis(500));
        assert_eq!(delays[11], RestartPolicy::LONGEST);
        policy.loaded(start);
        assert_eq!(policy.failed(start + RestartPolicy::PROVEN), Duration::ZERO);
    }

    #[test]
    fn a_replica_that_never_loaded_is_not_hammered() {
        #[allow(clippy::disallowed_methods)]
        let start = Instant::now();
        assert_eq!(RestartPolicy::default().failed(start), RestartPolicy::FIRST);
    }
}
