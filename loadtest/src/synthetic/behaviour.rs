//! What a synthetic server does.

use std::time::Duration;

/// All of it. Numbers of requests count from 1, in the order in which they arrived.
#[derive(Clone, Debug)]
pub struct Behaviour {
    pub service: Service,
    /// Each `every`-th request meets this; where several would, the first in the list.
    pub faults: Vec<(u64, Fault)>,
    /// Of OpenAI's completions.
    pub tokens: Tokens,
    /// Each `n`-th answer says that revision `canary` gave it, and all others `stable`. None: no answer says.
    pub canary_every: Option<u64>,
    /// What every answer says of the server's own time, in microseconds.
    pub overhead_us: Option<u32>,
}

/// How long a request takes until its answer, or until the first token of one that is streamed.
#[derive(Clone, Copy, Debug)]
pub enum Service {
    /// Always the same.
    Constant(Duration),
    /// Each `slow_every`-th is slow.
    Bimodal { fast: Duration, slow: Duration, slow_every: u64 },
    /// From `after` the first request on, nothing is answered for `stall`: what would be due then is due at its end.
    Stall { delay: Duration, after: Duration, stall: Duration },
    /// A request that comes when no other is served takes `alone`, any other `together`, however many there are: so do
    /// servers that gather batches.
    Batching { alone: Duration, together: Duration },
    /// Workers, one at least, that take `service` for each request, and a queue before them, first in first out. Its capacity is
    /// `workers / service`. Those that would be more than `most_waiting` in the queue get a 503. A client that has gone
    /// does not shorten the queue: the work is done all the same.
    Queue { workers: usize, service: Duration, most_waiting: Option<usize> },
}

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This status instead of an answer; over gRPC `UNAVAILABLE` for 503, `RESOURCE_EXHAUSTED` for 429, else `INTERNAL`.
    Status(u16),
    /// The connection is closed before the answer; over HTTP/2 the stream is reset.
    Close,
    /// Nothing comes, ever.
    Hang,
    /// A well-formed answer that isn't the right one.
    Wrong,
    /// The answer ends in the middle; a streamed one after half of its tokens.
    Cut,
    /// A streamed answer ends after half of its tokens with an error event. Others get a 500.
    ErrorEvent,
}

/// How completions come.
#[derive(Clone, Copy, Debug)]
pub struct Tokens {
    pub count: u32,
    /// Between one and the next. Where the answer isn't streamed, all of them are waited for.
    pub gap: Duration,
}

impl Behaviour {
    /// A server that does nothing but this.
    pub fn new(service: Service) -> Behaviour {
        let tokens = Tokens { count: 8, gap: Duration::from_millis(10) };
        Behaviour { service, faults: Vec::new(), tokens, canary_every: None, overhead_us: None }
    }

    /// Answers after `delay`.
    pub fn constant(delay: Duration) -> Behaviour {
        Behaviour::new(Service::Constant(delay))
    }

    /// The same with one more fault.
    pub fn with(mut self, every: u64, fault: Fault) -> Behaviour {
        self.faults.push((every, fault));
        self
    }

    /// What is wrong with the request of this number.
    pub(super) fn fault(&self, number: u64) -> Option<Fault> {
        self.faults.iter().find(|(every, _)| number.is_multiple_of(*every)).map(|(_, fault)| *fault)
    }
}
