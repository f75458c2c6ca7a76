//! How long a server's slot is taken by a call, as the last ones had it.

use std::time::Duration;

/// The weight of the newest observation.
const NEWEST: f64 = 1.0 / 8.0;

/// A moving average of the time that one call takes one slot.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    seconds: Option<f64>,
}

impl Pace {
    /// A slot was taken for so long, by `calls` that shared it.
    pub fn observe(&mut self, took: Duration, calls: usize) {
        let own = took.as_secs_f64() / calls.max(1) as f64;
        self.seconds = Some(self.seconds.map_or(own, |before| before + NEWEST * (own - before)));
    }

    /// How long a call waits for a slot behind `waiting` others, with so many slots that are all taken. Zero as long as no
    /// call has ended: nothing is known then.
    pub fn wait(&self, waiting: usize, slots: usize) -> Duration {
        let turns = (waiting + 1) as f64 / slots.max(1) as f64;
        let seconds = self.seconds.unwrap_or_default() * turns;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_grows_with_the_queue_and_shrinks_with_the_slots() {
        let mut pace = Pace::default();
        assert_eq!(pace.wait(100, 1), Duration::ZERO);
        pace.observe(Duration::from_secs(4), 2);
        assert_eq!(pace.wait(0, 1), Duration::from_secs(2));
        assert_eq!(pace.wait(9, 1), Duration::from_secs(20));
        assert_eq!(pace.wait(9, 10), Duration::from_secs(2));
    }

    #[test]
    fn it_follows_what_calls_take_now() {
        let mut pace = Pace::default();
        pace.observe(Duration::from_secs(100), 1);
        (0..64).for_each(|_| pace.observe(Duration::from_secs(1), 1));
        assert!(pace.wait(0, 1) < Duration::from_millis(1_100));
    }
}
