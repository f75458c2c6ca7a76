//! Counts of what happened lately, of up to `KINDS` kinds: a ring of buckets of time, so that old counts fall out in steps.

use std::time::{Duration, Instant};

const BUCKETS: usize = 10;

#[derive(Clone, Debug)]
pub(super) struct Window<const KINDS: usize> {
    start: Instant,
    /// Nanoseconds of one bucket.
    width: u64,
    /// The newest bucket, counted from the start, and when it is over.
    newest: u64,
    over: Instant,
    buckets: [[u32; KINDS]; BUCKETS],
    sums: [u32; KINDS],
}

impl<const KINDS: usize> Window<KINDS> {
    pub(super) fn new(span: Duration, now: Instant) -> Self {
        let width = (nanos(span) / BUCKETS as u64).max(1);
        let over = now + Duration::from_nanos(width);
        Window { start: now, width, newest: 0, over, buckets: [[0; KINDS]; BUCKETS], sums: [0; KINDS] }
    }

    pub(super) fn add(&mut self, kind: usize, now: Instant) {
        self.roll(now);
        let bucket = &mut self.buckets[(self.newest % BUCKETS as u64) as usize];
        bucket[kind] = bucket[kind].saturating_add(1);
        self.sums[kind] = self.sums[kind].saturating_add(1);
    }

    pub(super) fn counts(&mut self, now: Instant) -> [u32; KINDS] {
        self.roll(now);
        self.sums
    }

    pub(super) fn clear(&mut self) {
        self.buckets = [[0; KINDS]; BUCKETS];
        self.sums = [0; KINDS];
    }

    fn roll(&mut self, now: Instant) {
        if now < self.over {
            return;
        }
        let current = nanos(now.saturating_duration_since(self.start)) / self.width;
        if current >= self.newest + BUCKETS as u64 {
            self.clear();
        } else {
            for number in self.newest + 1..=current {
                let bucket = &mut self.buckets[(number % BUCKETS as u64) as usize];
                for (sum, old) in self.sums.iter_mut().zip(std::mem::replace(bucket, [0; KINDS])) {
                    *sum = sum.saturating_sub(old);
                }
            }
        }
        self.newest = self.newest.max(current);
        self.over = self.start + Duration::from_nanos(self.width.saturating_mul(self.newest + 1));
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// An event counts for nine to ten tenths of the span, and never longer.
        #[test]
        fn what_is_counted_is_what_is_recent(events in prop::collection::vec((0u64..2_000, 0usize..2), 1..200)) {
            let start = Instant::now();
            let mut window = Window::<2>::new(Duration::from_secs(10), start);
            let mut now = start;
            let mut all: Vec<(Instant, usize)> = Vec::new();
            for (pause, kind) in events {
                now += Duration::from_millis(pause);
                window.add(kind, now);
                all.push((now, kind));
                let counts = window.counts(now);
                for (kind, count) in counts.into_iter().enumerate() {
                    let within = |span: Duration| {
                        all.iter().filter(|event| event.1 == kind && now - event.0 < span).count() as u32
                    };
                    let (least, most) = (within(Duration::from_secs(9)), within(Duration::from_secs(10)));
                    prop_assert!((least..=most).contains(&count), "{count} of {least}..={most}");
                }
            }
            prop_assert_eq!(window.counts(now + Duration::from_secs(10)), [0, 0]);
        }
    }
}
