//! What a history is made of.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use weirgate_protocol::Priority;
use weirgate_replicas_core::BatchPolicy;
use weirgate_router::LaneLimits;

/// One call, before it comes.
#[derive(Clone, Debug)]
pub struct Call {
    pub rows: usize,
    pub bytes: usize,
    /// Calls of one shape can share a batch; `None` runs alone.
    pub shape: Option<usize>,
    /// How long its rows are, where shorter ones are padded to share a batch.
    pub length: Option<usize>,
    pub priority: Priority,
    /// Bytes it announces; what is read may be more.
    pub announced: usize,
    /// How long its body takes to come.
    pub reading: Duration,
    /// From its arrival to its deadline.
    pub timeout: Duration,
    /// Its caller leaves this long after its arrival, if it has no answer by then.
    pub leaves: Option<Duration>,
}

/// When calls come.
#[derive(Clone, Copy, Debug)]
pub enum Arrivals {
    /// At random, so many a second.
    Poisson { per_second: f64 },
    /// So many at once, over and over.
    Bursts { size: usize, every: Duration },
    /// From callers that each wait for their answer, and then for `think`.
    Closed { callers: usize, think: Duration },
}

/// How long an engine runs a batch: `fixed + per_byte × bytes`, times up to `1 ± noise`.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    pub fixed: Duration,
    pub per_byte: Duration,
    pub noise: f64,
}

#[derive(Clone, Debug)]
pub struct Scenario {
    pub seed: u64,
    pub calls: Vec<Call>,
    pub arrivals: Arrivals,
    pub engines: usize,
    pub policy: BatchPolicy,
    pub limits: LaneLimits,
    pub service: Service,
    /// The longest it takes a woken engine to look at the lane.
    pub wake: Duration,
}

impl Scenario {
    /// One engine that takes 1 ms and 10 µs a row, calls of one row, and bounds that are out of the way.
    pub fn plain(seed: u64, calls: usize, arrivals: Arrivals) -> Scenario {
        let call = Call {
            rows: 1,
            bytes: 100,
            shape: Some(0),
            length: None,
            priority: Priority::Normal,
            announced: 100,
            reading: Duration::ZERO,
            timeout: Duration::from_secs(300),
            leaves: None,
        };
        Scenario {
            seed,
            calls: vec![call; calls],
            arrivals,
            engines: 1,
            policy: BatchPolicy { max_rows: 32, max_calls: usize::MAX, linger: Duration::ZERO },
            limits: LaneLimits { max_calls: 100_000, max_bytes: 1 << 30 },
            service: Service { fixed: Duration::from_millis(1), per_byte: Duration::from_nanos(100), noise: 0.0 },
            wake: Duration::ZERO,
        }
    }

    /// Anything: calm or overloaded, with all that callers do.
    pub fn random(seed: u64) -> Scenario {
        let mut rng = StdRng::seed_from_u64(seed);
        let calls = rng.random_range(1..300);
        let service = Service {
            fixed: Duration::from_micros(rng.random_range(0..5_000)),
            per_byte: Duration::from_nanos(rng.random_range(0..2_000)),
            noise: rng.random_range(0.0..0.5),
        };
        // Of one call alone, so that load 1 is what an engine without batching can just do.
        let alone = (service.fixed + service.per_byte * 200).max(Duration::from_micros(20));
        let engines = rng.random_range(1..5);
        let load = 10f64.powf(rng.random_range(-1.0..1.3)) * engines as f64;
        let arrivals = match rng.random_range(0..3) {
            0 => Arrivals::Poisson { per_second: load / alone.as_secs_f64() },
            1 => {
                let size = rng.random_range(2..60);
                Arrivals::Bursts { size, every: alone.mul_f64(size as f64 / load) }
            }
            _ => {
                Arrivals::Closed { callers: rng.random_range(1..60), think: alone.mul_f64(rng.random_range(0.0..2.0)) }
            }
        };
        let policy = BatchPolicy {
            max_rows: rng.random_range(1..40),
            max_calls: if rng.random_bool(0.3) { rng.random_range(1..10) } else { usize::MAX },
            linger: if rng.random_bool(0.4) { alone.mul_f64(rng.random_range(0.1..20.0)) } else { Duration::ZERO },
        };
        let limits = LaneLimits {
            max_calls: if rng.random_bool(0.5) { rng.random_range(1..40) } else { 1_024 },
            max_bytes: if rng.random_bool(0.3) { rng.random_range(100..5_000) } else { 1 << 30 },
        };
        let habits = Habits::random(&mut rng, alone);
        Scenario {
            seed,
            calls: (0..calls).map(|_| habits.call(&mut rng)).collect(),
            arrivals,
            engines,
            policy,
            limits,
            service,
            wake: if rng.random_bool(0.5) { Duration::from_micros(rng.random_range(1..200)) } else { Duration::ZERO },
        }
    }
}

/// What the calls of one scenario are like.
struct Habits {
    alone: Duration,
    shapes: usize,
    max_rows: usize,
    tight: f64,
    leaves: f64,
    reads: f64,
    grows: f64,
    unbatchable: f64,
    urgent: f64,
    /// The longest row, where rows are padded.
    longest: Option<usize>,
}

impl Habits {
    fn random(rng: &mut StdRng, alone: Duration) -> Habits {
        let mut sometimes = |most: f64| if rng.random_bool(0.5) { rng.random_range(0.0..most) } else { 0.0 };
        let (tight, leaves, reads, grows) = (sometimes(1.0), sometimes(0.5), sometimes(1.0), sometimes(0.5));
        let (unbatchable, urgent) = (sometimes(0.2), sometimes(1.0));
        let (shapes, max_rows) =
            (rng.random_range(1..5), if rng.random_bool(0.5) { 1 } else { rng.random_range(1..50) });
        let longest = rng.random_bool(0.4).then(|| rng.random_range(1..60));
        Habits { longest, alone, shapes, max_rows, tight, leaves, reads, grows, unbatchable, urgent }
    }

    fn call(&self, rng: &mut StdRng) -> Call {
        let soon = |rng: &mut StdRng, most: f64| self.alone.mul_f64(rng.random_range(0.0..most));
        let shape = (!rng.random_bool(self.unbatchable)).then(|| rng.random_range(0..self.shapes));
        let rows = rng.random_range(1..=self.max_rows);
        let length = self.longest.filter(|_| shape.is_some()).map(|longest| rng.random_range(1..=longest));
        let bytes = rows * length.map_or(50 * (1 + shape.unwrap_or(0)), |length| 8 * length);
        let timeout = if rng.random_bool(self.tight) { soon(rng, 30.0) } else { Duration::from_secs(300) };
        Call {
            rows,
            bytes,
            shape,
            length,
            priority: if rng.random_bool(self.urgent) { Priority::High } else { Priority::Low },
            announced: if rng.random_bool(self.grows) { 0 } else { bytes },
            reading: if rng.random_bool(self.reads) { soon(rng, 3.0) } else { Duration::ZERO },
            timeout,
            leaves: rng.random_bool(self.leaves).then(|| soon(rng, 20.0)),
        }
    }
}
