//! Why a process that starts is not ready yet: when that is to be told, and for how long it has been so.

use std::time::{Duration, Instant};

/// From the start to the first word of it: at first nobody listens yet, and that is that of every start.
const FIRST: Duration = Duration::from_secs(2);
/// Between two words at least, though the reason changes all the time.
const LEAST: Duration = Duration::from_secs(1);
/// Between two words at most, while it stays the same.
const MOST: Duration = Duration::from_secs(60);

/// A start, and what it waits for.
pub(crate) struct Waits {
    started: Instant,
    /// What was found last, and since when it is found.
    found: Option<(String, Instant)>,
    told: Option<Instant>,
    due: Instant,
}

impl Waits {
    pub fn new(started: Instant) -> Waits {
        Waits { started, found: None, told: None, due: started + FIRST }
    }

    /// When what was found is to be told, or told again.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// Notes what is found now. Where it is time to tell it, it returns for how long it has been so.
    pub fn found(&mut self, what: &str, now: Instant) -> Option<Duration> {
        let since = match &self.found {
            Some((known, since)) if known == what => *since,
            before => {
                // Until somebody was asked there was nobody either.
                let since = if before.is_some() { now } else { self.started };
                self.due = self.told.map_or(self.started + FIRST, |told| told + LEAST);
                self.found = Some((what.to_owned(), since));
                since
            }
        };
        if now < self.due {
            return None;
        }
        self.told = Some(now);
        self.due = now + now.saturating_duration_since(self.started).clamp(LEAST, MOST);
        Some(now.saturating_duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told in each of so many seconds, by what is found in it.
    fn told(seconds: u64, found: impl Fn(u64) -> &'static str) -> Vec<(u64, u64)> {
        let start = Instant::now();
        let mut waits = Waits::new(start);
        let at = |second| start + Duration::from_secs(second);
        let each = (0..seconds)
            .filter_map(|second| waits.found(found(second), at(second)).map(|lasted| (second, lasted.as_secs())));
        each.collect()
    }

    #[test]
    fn the_same_is_told_soon_and_then_ever_less_often() {
        assert_eq!(told(40, |_| "refused"), [(2, 2), (4, 4), (8, 8), (16, 16), (32, 32)]);
        let late: Vec<_> = told(400, |_| "refused").into_iter().map(|(second, _)| second).skip(6).collect();
        assert_eq!(late, [124, 184, 244, 304, 364]);
    }

    #[test]
    fn something_else_is_told_at_once_and_counts_from_then_on() {
        let found = |second| if second < 10 { "refused" } else { "not ready" };
        assert_eq!(told(21, found), [(2, 2), (4, 4), (8, 8), (10, 0), (20, 10)]);
        let changing = told(10, |second| if second % 2 == 0 { "a" } else { "b" });
        assert_eq!(changing.len(), 8, "one a second: {changing:?}");
    }
}
