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
        self.take_all(1, bytes)
    }

    /// Takes room for so many requests of this size each, before they are made.
    pub fn take_all(&mut self, requests: usize, bytes: u64) -> Result<(), String> {
        self.requests = self.requests.saturating_add(requests);
        self.bytes = self.bytes.saturating_add(bytes.saturating_mul(requests as u64));
        let (requests, advice) = (self.requests, self.advice);
        if requests > MOST_REQUESTS {
            return Err(format!("there are {requests} requests or more, the limit is {MOST_REQUESTS}: {advice}"));
        }
        if self.bytes > MOST_BYTES {
            let (mib, limit) = (self.bytes >> 20, MOST_BYTES >> 20);
            return Err(format!("{requests} requests take {mib} MiB or more, the limit is {limit} MiB: {advice}"));
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
        assert_eq!(error, "3 requests take 1025 MiB or more, the limit is 1024 MiB: lower --distinct");
        assert!(Budget::new("x").take_all(2, u64::MAX).is_err());
        let error = Budget::new("lower --distinct").take_all(1_000_001, 0).unwrap_err();
        assert_eq!(error, "there are 1000001 requests or more, the limit is 1000000: lower --distinct");
    }
}
