//! A bound on pauses. A timer that is moved for every piece would cost more than the piece: it is looked at when it fires.

use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use crate::server::lazy_timer::LazyTimer;

/// Tells when one has waited for too long for the next piece.
pub struct Idle {
    longest: Duration,
    /// When all must have come.
    end: Option<Instant>,
    /// Since when one waits; none while pieces are there when they are asked for.
    since: Option<Instant>,
    timer: LazyTimer,
}

/// Why one waits no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// The pause was too long.
    TooLong,
    /// All should have come by now.
    ToTheEnd,
}

impl Idle {
    pub fn new(longest: Duration) -> Idle {
        Idle { longest, end: None, since: None, timer: LazyTimer::default() }
    }

    /// Waits no longer than until then, however short the pauses are.
    pub fn until(self, end: Option<Instant>) -> Idle {
        Idle { end, ..self }
    }

    pub fn longest(&self) -> Duration {
        self.longest
    }

    /// A piece came. Time in which nobody asked for one does not count.
    pub fn came(&mut self) {
        self.since = None;
    }

    /// Nothing is there: ready once that has been so for too long.
    pub fn poll_waited(&mut self, cx: &mut Context<'_>) -> Poll<Waited> {
        let pause = *self.since.get_or_insert_with(Instant::now) + self.longest;
        let (until, waited) = match self.end {
            Some(end) if end <= pause => (end, Waited::ToTheEnd),
            _ => (pause, Waited::TooLong),
        };
        ready!(self.timer.poll_until(until, cx));
        Poll::Ready(waited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn waits(idle: &mut Idle, time: Duration) -> bool {
        tokio::time::timeout(time, std::future::poll_fn(|cx| idle.poll_waited(cx))).await.is_err()
    }

    #[tokio::test]
    async fn only_a_wait_that_lasts_is_too_long() {
        let longest = Duration::from_millis(200);
        let mut idle = Idle::new(longest);
        for _ in 0..3 {
            assert!(waits(&mut idle, longest / 10).await);
            tokio::time::sleep(longest / 2).await;
            idle.came();
        }
        assert!(!waits(&mut idle, Duration::from_secs(60)).await);
    }

    #[tokio::test]
    async fn the_end_comes_however_short_the_pauses_are() {
        let mut idle = Idle::new(Duration::from_secs(60)).until(Some(Instant::now() + Duration::from_millis(50)));
        let waited = async {
            loop {
                idle.came();
                let next = std::future::poll_fn(|cx| idle.poll_waited(cx));
                if let Ok(waited) = tokio::time::timeout(Duration::from_millis(5), next).await {
                    return waited;
                }
            }
        };
        assert_eq!(tokio::time::timeout(Duration::from_secs(60), waited).await, Ok(Waited::ToTheEnd));
    }
}
