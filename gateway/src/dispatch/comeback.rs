//! A call that comes back from a server: whom it avoids, and for how long.
//!
//! Another server that has room gets it at once. The one that it comes from is spared for a pause that grows with each
//! attempt: what refuses a connection now, or has a full queue, would do so a moment later, and all attempts would be spent
//! within a millisecond. The pause ends, so that a call whose other servers are busy for an hour is not lost for them.

use std::time::{Duration, Instant};

/// The first pause. It doubles with each attempt.
const PAUSE: Duration = Duration::from_millis(100);

/// The instant until which the servers are spared that have had a call, `attempts` of them, the last of which asked for
/// `asked`. Never more than half of the time that is left: a call is rather tried than late.
pub(super) fn spared_until(attempts: usize, asked: Option<Duration>, deadline: Instant, now: Instant) -> Instant {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    let pause = PAUSE.saturating_mul(1 << doublings).max(asked.unwrap_or_default());
    now + pause.min(deadline.saturating_duration_since(now) / 2)
}

/// Servers that a call would rather not have.
#[derive(Clone, Copy, Debug)]
pub(super) enum Spare {
    /// Until this instant; whoever has room after it.
    Until(Instant),
    /// Another, or none.
    Always,
}

impl Spare {
    /// Whether they are out of the question now.
    pub fn forbids(self, now: Instant) -> bool {
        match self {
            Spare::Until(until) => now < until,
            Spare::Always => true,
        }
    }

    pub fn until(self) -> Option<Instant> {
        match self {
            Spare::Until(until) => Some(until),
            Spare::Always => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_keep_to_what_was_asked_and_to_the_deadline() {
        let (now, ms) = (Instant::now(), Duration::from_millis);
        let pause = |attempts, asked, left| spared_until(attempts, asked, now + left, now) - now;
        let hour = ms(3_600_000);
        assert_eq!([1, 2, 3].map(|attempts| pause(attempts, None, hour)), [ms(100), ms(200), ms(400)]);
        assert_eq!(pause(1, Some(ms(7_000)), hour), ms(7_000));
        assert_eq!(pause(1, Some(ms(7_000)), ms(4_000)), ms(2_000));
        assert_eq!(pause(1, None, ms(0)), ms(0));
    }
}
