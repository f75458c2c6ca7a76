//! What a pool is tuned by. The defaults suit models: calls of milliseconds to minutes, and few of them fail.

use std::time::Duration;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PoolConfig {
    pub balance: BalanceConfig,
    pub breaker: BreakerConfig,
    pub ejection: EjectionConfig,
    pub affinity: AffinityConfig,
}

/// How the load of a member is reckoned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BalanceConfig {
    /// The time in which a latency that is not confirmed falls to 1/e.
    pub decay: Duration,
    /// Latencies below this one count as this: differences among them are noise.
    pub floor: Duration,
    /// A failure counts as a latency of at least so much, fading within that time.
    pub penalty: Duration,
    /// A `Retry-After` counts as a penalty of at most so much.
    pub longest_penalty: Duration,
}

impl Default for BalanceConfig {
    fn default() -> Self {
        BalanceConfig {
            decay: Duration::from_secs(10),
            floor: Duration::from_millis(1),
            penalty: Duration::from_secs(5),
            longest_penalty: Duration::from_secs(300),
        }
    }
}

/// When a member's breaker opens, and how it closes again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BreakerConfig {
    /// It opens after so many failures in a row,
    pub consecutive: u32,
    /// or where this part of the window's calls failed, `0.0..=1.0`, if these are at least `min_calls`.
    pub rate: f64,
    pub min_calls: u32,
    pub window: Duration,
    /// How long it is open at first. It doubles each time, up to `longest_open`; up to a quarter is added at random, so
    /// that several gateways do not try at once.
    pub open: Duration,
    pub longest_open: Duration,
    /// So many answers in a row while it is half open close it.
    pub successes: u32,
    /// A call without a first byte is overdue after so many times what calls take in this pool,
    pub overdue: f64,
    /// and never sooner than this.
    pub overdue_least: Duration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        BreakerConfig {
            consecutive: 5,
            rate: 0.5,
            min_calls: 20,
            window: Duration::from_secs(10),
            open: Duration::from_secs(1),
            longest_open: Duration::from_secs(60),
            successes: 2,
            overdue: 10.0,
            overdue_least: Duration::from_secs(1),
        }
    }
}

/// When a member that does much worse than the others is set aside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EjectionConfig {
    /// Never more than this part of the members, `0.0..=1.0`, and never the last that may be asked. 0 ejects nobody.
    pub max_share: f64,
    /// Its rate of failed and overloaded calls is so much above the others' median,
    pub margin: f64,
    /// or its mean latency is so many times the others' median.
    pub latency_factor: f64,
    /// It is judged, and compared with others, that have had so many calls within the breaker's window.
    pub min_calls: u32,
    /// It is judged at most once in this time.
    pub interval: Duration,
    /// How long it is set aside at first. It doubles each time, up to `longest`.
    pub aside: Duration,
    pub longest: Duration,
}

impl Default for EjectionConfig {
    fn default() -> Self {
        EjectionConfig {
            max_share: 0.5,
            margin: 0.3,
            latency_factor: 10.0,
            min_calls: 20,
            interval: Duration::from_secs(1),
            aside: Duration::from_secs(10),
            longest: Duration::from_secs(300),
        }
    }
}

/// How far calls with something in common are kept together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AffinityConfig {
    /// What the prefix index may hold, in bytes. 0 turns it off.
    pub max_bytes: usize,
    /// Blocks of a prefix that count; what follows is ignored.
    pub max_blocks: usize,
    /// A match counts if it is at least this part of the prefix, `0.0..=1.0`: a preamble that all calls share says nothing.
    pub min_share: f64,
    /// The imbalance guard: affinity is given up where the wanted member runs more calls than the least loaded one by more
    /// than `guard_calls`,
    pub guard_calls: usize,
    /// and more than so many times its calls.
    pub guard_ratio: f64,
}

impl Default for AffinityConfig {
    fn default() -> Self {
        AffinityConfig { max_bytes: 16 << 20, max_blocks: 1024, min_share: 0.5, guard_calls: 8, guard_ratio: 1.5 }
    }
}
