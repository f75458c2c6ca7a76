//! When an answer is due, purely: it takes the time and says a later one.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Instant;

use super::behaviour::Service;

/// The server's state in time.
#[derive(Debug)]
pub(super) struct Schedule {
    service: Service,
    /// When the first request arrived.
    first: Option<Instant>,
    /// When the last of all requests is answered that were taken until now.
    busy_until: Option<Instant>,
    /// When each worker of a queue is free.
    free: BinaryHeap<Reverse<Instant>>,
    /// When each request that waits will be begun, in order; kept only where their number is bounded.
    begins: VecDeque<Instant>,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Due {
        at: Instant,
        slow: bool,
        stalled: bool,
    },
    /// The queue is full.
    Refused,
}

impl Schedule {
    pub(super) fn new(service: Service) -> Schedule {
        Schedule { service, first: None, busy_until: None, free: BinaryHeap::new(), begins: VecDeque::new() }
    }

    /// Takes the request of this number. Times must not go back.
    pub(super) fn admit(&mut self, now: Instant, number: u64) -> Admission {
        let first = *self.first.get_or_insert(now);
        match self.service {
            Service::Constant(delay) => Admission::Due { at: now + delay, slow: false, stalled: false },
            Service::Bimodal { fast, slow, slow_every } => {
                let is_slow = number.is_multiple_of(slow_every);
                Admission::Due { at: now + if is_slow { slow } else { fast }, slow: is_slow, stalled: false }
            }
            Service::Stall { delay, after, stall } => {
                let (begin, end) = (first + after, first + after + stall);
                let at = now + delay;
                let stalled = (begin..end).contains(&at);
                Admission::Due { at: if stalled { end } else { at }, slow: false, stalled }
            }
            Service::Batching { alone, together } => {
                let is_busy = self.busy_until.is_some_and(|until| until > now);
                let at = now + if is_busy { together } else { alone };
                self.busy_until = self.busy_until.max(Some(at));
                Admission::Due { at, slow: is_busy, stalled: false }
            }
            Service::Queue { workers, service, most_waiting } => {
                let workers = workers.max(1);
                while self.begins.front().is_some_and(|begin| *begin <= now) {
                    self.begins.pop_front();
                }
                let free = if self.free.len() < workers { now } else { self.free.peek().map_or(now, |free| free.0) };
                let waits = free > now;
                if waits && most_waiting.is_some_and(|most| self.begins.len() >= most) {
                    return Admission::Refused;
                }
                if self.free.len() >= workers {
                    self.free.pop();
                }
                let begin = free.max(now);
                if waits && most_waiting.is_some() {
                    self.begins.push_back(begin);
                }
                self.free.push(Reverse(begin + service));
                Admission::Due { at: begin + service, slow: false, stalled: false }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Milliseconds from the start at which requests that arrive at these are answered; none if they are refused.
    fn answered(service: Service, arrivals: &[u64]) -> Vec<Option<u64>> {
        let start = Instant::now();
        let mut schedule = Schedule::new(service);
        let mut number = 0;
        let answers = arrivals.iter().map(|at| {
            number += 1;
            match schedule.admit(start + ms(*at), number) {
                Admission::Due { at, .. } => Some(u64::try_from((at - start).as_millis()).unwrap()),
                Admission::Refused => None,
            }
        });
        answers.collect()
    }

    #[test]
    fn a_queue_gives_each_free_worker_the_oldest_request() {
        let service = Service::Queue { workers: 2, service: ms(10), most_waiting: None };
        let due = answered(service, &[0, 0, 0, 5, 5, 100]);
        assert_eq!(due, [10, 10, 20, 20, 30, 110].map(Some));
    }

    #[test]
    fn a_full_queue_refuses_and_takes_again() {
        let service = Service::Queue { workers: 1, service: ms(10), most_waiting: Some(2) };
        // One is served and two wait; at 10 the first of them begins, and leaves a place.
        let due = answered(service, &[0, 0, 0, 0, 9, 10, 10, 50]);
        assert_eq!(due, [Some(10), Some(20), Some(30), None, None, Some(40), None, Some(60)]);
        let none_waits = Service::Queue { workers: 1, service: ms(10), most_waiting: Some(0) };
        assert_eq!(answered(none_waits, &[0, 1, 10, 11]), [Some(10), None, Some(20), None]);
    }

    #[test]
    fn a_stall_holds_what_is_due_in_it() {
        let service = Service::Stall { delay: ms(10), after: ms(100), stall: ms(50) };
        let due = answered(service, &[0, 89, 90, 139, 140, 141]);
        assert_eq!(due, [10, 99, 150, 150, 150, 151].map(Some));
    }

    #[test]
    fn whoever_comes_to_others_waits_for_a_batch() {
        let service = Service::Batching { alone: ms(1), together: ms(50) };
        assert_eq!(answered(service, &[0, 5, 5, 54, 104, 104]), [1, 6, 55, 104, 105, 154].map(Some));
    }

    #[test]
    fn every_so_many_is_slow() {
        let service = Service::Bimodal { fast: ms(1), slow: ms(9), slow_every: 3 };
        assert_eq!(answered(service, &[0, 0, 0, 0, 0, 0]), [1, 1, 9, 1, 1, 9].map(Some));
    }
}
