//! A slice cut into chunks, each of which one thread takes, at most once.

use std::sync::atomic::{AtomicU32, Ordering};

use super::pool::Disjoint;

/// Which chunks were taken. Kept from one cut to the next, as making it anew would cost more than the work.
#[derive(Default)]
pub struct Claims {
    /// The cut in which each chunk was last taken.
    taken: Vec<AtomicU32>,
    cut: u32,
}

/// A slice in chunks, for the threads of a pool.
pub struct Chunks<'a, T> {
    slice: Disjoint<'a, T>,
    size: usize,
    taken: &'a [AtomicU32],
    cut: u32,
}

impl Claims {
    /// For slices of up to `chunks` chunks.
    pub fn new(chunks: usize) -> Claims {
        Claims { taken: (0..chunks).map(|_| AtomicU32::new(0)).collect(), cut: 0 }
    }

    /// Cuts a slice into chunks of `size`.
    pub fn cut<'a, T>(&'a mut self, slice: &'a mut [T], size: usize) -> Chunks<'a, T> {
        self.cut = self.cut.wrapping_add(1);
        if self.cut == 0 {
            self.taken.iter_mut().for_each(|taken| *taken.get_mut() = 0);
            self.cut = 1;
        }
        Chunks { slice: Disjoint::new(slice), size, taken: &self.taken, cut: self.cut }
    }
}

impl<T> Chunks<'_, T> {
    /// Takes a chunk. It panics where the chunk was taken before: two threads would write to one place.
    #[expect(clippy::mut_from_ref)]
    pub fn take(&self, chunk: usize) -> &mut [T] {
        let before = self.taken[chunk].swap(self.cut, Ordering::Relaxed);
        assert_ne!(before, self.cut, "chunk {chunk} is taken twice");
        // SAFETY: nobody else has the chunk, as each is taken once.
        unsafe { self.slice.slice(chunk * self.size, self.size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_taken_once_in_each_cut() {
        let mut claims = Claims::new(3);
        let mut values = [1, 2, 3, 4, 5, 6];
        for round in 1..4 {
            let chunks = claims.cut(&mut values, 2);
            chunks.take(1)[0] += 10;
            chunks.take(0)[1] += 100;
            let again = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| _ = chunks.take(1)));
            assert!(again.is_err());
            assert_eq!(values, [1, 2 + 100 * round, 3 + 10 * round, 4, 5, 6]);
        }
        claims.cut = u32::MAX;
        claims.taken.iter_mut().for_each(|taken| *taken.get_mut() = 1);
        assert_eq!(claims.cut(&mut values, 2).take(2), [5, 6]);
    }
}
