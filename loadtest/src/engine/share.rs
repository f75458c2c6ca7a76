//! One thread's share of the arrivals: each goes through all of them, and keeps those whose number is its own.

use std::time::Duration;

/// An arrival that this thread is to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// Among all of the run.
    pub number: u64,
    /// Since the start.
    pub at: Duration,
}

pub(super) struct Share {
    times: Box<dyn Iterator<Item = Duration> + Send>,
    thread: u64,
    threads: u64,
    /// How many arrivals to measure.
    most: Option<u64>,
    /// The number of the first that is measured, once that is known.
    first_measured: Option<u64>,
    /// The number of the next that `times` gives.
    number: u64,
    /// The times since this thread's last arrival, up to its next one: whose number is the last of them.
    between: Vec<Duration>,
    next: Option<Due>,
}

impl Share {
    pub fn new(
        times: Box<dyn Iterator<Item = Duration> + Send>,
        thread: usize,
        threads: usize,
        most: Option<u64>,
    ) -> Share {
        let (thread, threads) = (thread as u64, threads as u64);
        let between = Vec::new();
        let mut share = Share { times, thread, threads, most, first_measured: None, number: 0, between, next: None };
        share.advance();
        share
    }

    /// The next arrival; None after the last.
    pub fn next(&self) -> Option<Due> {
        self.next
    }

    /// When the first arrival is due that is one too many, since the start. All threads know of it before it comes, but for
    /// those that have none to measure.
    pub fn end(&self) -> Option<Duration> {
        let one_too_many = self.first_measured?.checked_add(self.most?)?;
        let first_between = self.number - self.between.len() as u64;
        let index = one_too_many.checked_sub(first_between)?;
        self.between.get(usize::try_from(index).ok()?).copied()
    }

    /// The next arrival, if it is due by `now`; `measured_from` must hold for all times until then.
    pub fn pop(&mut self, now: Duration, measured_from: Duration) -> Option<Due> {
        let due = self.next.filter(|due| due.at <= now)?;
        if let (None, Some(position)) = (self.first_measured, self.between.iter().position(|at| *at >= measured_from)) {
            let after = (self.between.len() - 1 - position) as u64;
            self.first_measured = Some(due.number - after);
        }
        if let (Some(first), Some(most)) = (self.first_measured, self.most)
            && due.number - first >= most
        {
            self.next = None;
            return None;
        }
        self.advance();
        Some(due)
    }

    fn advance(&mut self) {
        self.between.clear();
        self.next = None;
        for at in self.times.by_ref() {
            let number = self.number;
            self.number += 1;
            self.between.push(at);
            if number % self.threads == self.thread {
                self.next = Some(Due { number, at });
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(times: &[u64], threads: usize, most: Option<u64>, measured_from: u64) -> Vec<Due> {
        let mut all = Vec::new();
        for thread in 0..threads {
            let times: Vec<Duration> = times.iter().copied().map(Duration::from_millis).collect();
            let mut share = Share::new(Box::new(times.into_iter()), thread, threads, most);
            while let Some(Due { at, .. }) = share.next() {
                all.extend(share.pop(at, Duration::from_millis(measured_from)));
            }
        }
        all.sort_by_key(|due| due.number);
        all
    }

    #[test]
    fn threads_share_all_arrivals_and_each_is_had_once() {
        let times: Vec<u64> = (0..100).map(|number| number * number).collect();
        let one = shares(&times, 1, None, 0);
        assert_eq!(one.len(), 100);
        assert!(one.iter().zip(&times).all(|(due, at)| due.at == Duration::from_millis(*at)));
        for threads in [2, 3, 7] {
            assert_eq!(shares(&times, threads, None, 0), one, "{threads}");
        }
    }

    #[test]
    fn as_many_are_measured_as_were_asked_for_however_many_threads_share_them() {
        let times: Vec<u64> = (0..100).map(|number| number * 10).collect();
        // Those at 0 to 240 are the warm-up, 25 of them; then 13.
        for threads in [1, 2, 3, 5] {
            let dues = shares(&times, threads, Some(13), 245);
            let numbers: Vec<u64> = dues.iter().map(|due| due.number).collect();
            assert_eq!(numbers, (0..38).collect::<Vec<u64>>(), "{threads}");
        }
    }

    #[test]
    fn what_is_not_due_stays() {
        let mut share = Share::new(Box::new([5, 6].map(Duration::from_millis).into_iter()), 0, 1, None);
        assert_eq!(share.pop(Duration::from_millis(4), Duration::ZERO), None);
        assert_eq!(share.pop(Duration::from_millis(5), Duration::ZERO).map(|due| due.number), Some(0));
        assert_eq!(share.next().map(|due| due.at), Some(Duration::from_millis(6)));
    }

    #[test]
    fn the_end_is_where_one_more_would_be_due_and_known_before() {
        let times = |count: u64| (0..count).map(|number| Duration::from_millis(number * 10));
        for threads in [1, 2, 3, 5] {
            for thread in 0..threads {
                let mut share = Share::new(Box::new(times(100)), thread, threads, Some(13));
                let mut last = None;
                while let Some(due) = share.next().and_then(|next| share.pop(next.at, Duration::from_millis(245))) {
                    last = Some((due.at, share.end()));
                }
                // Those at 250 to 370 are measured.
                assert_eq!(last.map(|(_, end)| end), Some(Some(Duration::from_millis(380))), "{thread} of {threads}");
            }
        }
        let mut all = Share::new(Box::new(times(5)), 0, 1, Some(5));
        while let Some(next) = all.next() {
            all.pop(next.at, Duration::ZERO);
        }
        assert_eq!(all.end(), None, "there is none more");
    }
}
