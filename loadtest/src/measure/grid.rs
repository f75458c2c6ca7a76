//! Where windows begin.

use std::time::Duration;

/// Windows of one length, one of which begins where the warm-up ends: so none is part warm-up, part measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Of the first window: what is left before the others, or as long as they are.
    first: Duration,
    length: Duration,
}

impl Grid {
    /// Times are since the start. A length of zero counts as a nanosecond.
    pub fn new(length: Duration, measured_from: Duration) -> Grid {
        let length = length.max(Duration::from_nanos(1));
        let first = match measured_from.as_nanos() % length.as_nanos() {
            0 => length,
            left => from_nanos(left),
        };
        Grid { first, length }
    }

    /// How long the window of this index is.
    pub fn length(&self, index: u64) -> Duration {
        if index == 0 { self.first } else { self.length }
    }

    /// How long all but the first are.
    pub fn full(&self) -> Duration {
        self.length
    }

    pub fn start(&self, index: u64) -> Duration {
        match index.checked_sub(1) {
            None => Duration::ZERO,
            Some(full) => from_nanos(self.first.as_nanos() + u128::from(full) * self.length.as_nanos()),
        }
    }

    /// When the first window begins that does not begin before this.
    pub fn next_start(&self, at: Duration) -> Duration {
        if at.is_zero() {
            return at;
        }
        let past = at.as_nanos().saturating_sub(self.first.as_nanos());
        from_nanos(self.first.as_nanos() + past.div_ceil(self.length.as_nanos()) * self.length.as_nanos())
    }
}

fn from_nanos(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_begins_where_the_warm_up_ends() {
        let ms = Duration::from_millis;
        for (warmup, first) in [(0, 250), (250, 250), (500, 250), (100, 100), (600, 100)] {
            let grid = Grid::new(ms(250), ms(warmup));
            assert_eq!((grid.length(0), grid.length(1)), (ms(first), ms(250)), "{warmup}");
            assert!((0..5).any(|index| grid.start(index) == ms(warmup)), "{warmup}");
            for index in 0..5 {
                assert_eq!(grid.start(index) + grid.length(index), grid.start(index + 1));
                assert_eq!(grid.next_start(grid.start(index)), grid.start(index));
                assert_eq!(grid.next_start(grid.start(index) + ms(1)), grid.start(index + 1));
            }
        }
        let far = Grid::new(Duration::ZERO, Duration::MAX);
        assert!(far.start(u64::MAX) > ms(0) && far.next_start(Duration::MAX) > ms(0));
    }
}
