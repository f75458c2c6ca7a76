//! How much a workload may hold in memory.

/// Bytes of all bodies that are held at once.
pub const MOST_BYTES: u64 = 1 << 30;
/// Requests that are held at once.
pub const MOST_REQUESTS: usize = 1_000_000;

/// What is held so far.
#[derive(Debug)]
pub struct Budget {
    bytes: u64,
    requests: usize,
    /// What a user can do to need less, as `lower --distinct`.
    advice: &'static str,
}

impl Budget {
    pub fn new(advice: &'static str) -> Budget {
        Budget { bytes: 0, requests: 0, advice }
    }

    /// Takes room for one more request of this size, before it is made.
    pub fn take(&mut self, bytes: u64) -> Result<(), String> {
        self.bytes = self.bytes.saturating_add(bytes);
        self.requests += 1;
        if self.bytes > MOST_BYTES {
            let (requests, advice, limit) = (self.requests, self.advice, MOST_BYTES >> 20);
            return Err(format!(
                "the first {requests} requests take {} MiB, the limit is {limit} MiB: {advice}",
                self.bytes >> 20
            ));
        }
        if self.requests > MOST_REQUESTS {
            return Err(format!("there are more than {MOST_REQUESTS} requests, which is the limit: {}", self.advice));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_refused_with_advice() {
        let mut budget = Budget::new("lower --distinct");
        budget.take(MOST_BYTES / 2).unwrap();
        budget.take(MOST_BYTES / 2).unwrap();
        let error = budget.take(1 << 20).unwrap_err();
        assert_eq!(error, "the first 3 requests take 1025 MiB, the limit is 1024 MiB: lower --distinct");
        assert!(Budget::new("x").take(u64::MAX).is_err());
    }
}
