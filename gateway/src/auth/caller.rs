//! One who calls: what it may use, what it has used, and the places of its running calls.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::counter;
use parking_lot::Mutex;
use weirgate_protocol::{Error, Identity, Result};
use weirgate_router::limits::{Allowance, Exceeded, LONGEST_WAIT, Meter};

use super::policy::Policy;
use crate::observe::REFUSED;
use crate::server::body::BodyLimit;

/// What a bucket adds to a wait against rounding.
const HAIR: Duration = Duration::from_micros(2);

/// Why a caller was refused, as the metric tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It showed neither key nor token.
    Missing,
    /// What it showed is not known, or not valid.
    Unknown,
    Expired,
    /// The service is none of its own.
    Service,
    Rate,
    Concurrency,
    Tokens,
    Body,
}

impl Reason {
    pub const fn label(self) -> &'static str {
        match self {
            Reason::Missing => "missing",
            Reason::Unknown => "unknown",
            Reason::Expired => "expired",
            Reason::Service => "service",
            Reason::Rate => "rate",
            Reason::Concurrency => "concurrency",
            Reason::Tokens => "tokens",
            Reason::Body => "body",
        }
    }
}

/// Counts a refusal. `key` is the name of a key in the file, or what stands for all others: never what callers make up.
pub fn count(reason: Reason, key: &str) {
    counter!(REFUSED, "reason" => reason.label(), "key" => key.to_owned()).increment(1);
}

/// Somebody who has shown a key or a token.
pub struct Caller {
    identity: Arc<Identity>,
    /// What it is called in metrics.
    label: Arc<str>,
    policy: Policy,
    allowance: Allowance,
    /// What it has used. It outlives a change of the policy, and tokens of one subject share it.
    meter: Arc<Mutex<Meter>>,
}

impl Caller {
    /// `used` is the meter of the same caller under another policy, which holds until this one calls.
    pub fn new(name: &str, label: Arc<str>, policy: Policy, used: Option<Arc<Mutex<Meter>>>, now: Instant) -> Caller {
        let identity = Identity {
            name: name.into(),
            priority: policy.priority.unwrap_or_default(),
            explains: policy.explain.unwrap_or_default(),
        };
        let allowance = policy.allowance();
        let meter = used.unwrap_or_else(|| Arc::new(Mutex::new(Meter::new(allowance, now))));
        Caller { identity: Arc::new(identity), label, policy, allowance, meter }
    }

    pub fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    pub(super) fn meter(&self) -> &Arc<Mutex<Meter>> {
        &self.meter
    }

    pub(super) fn label(&self) -> &Arc<str> {
        &self.label
    }

    pub fn may_use(&self, namespace: &str, name: &str) -> bool {
        self.policy.may_use(namespace, name)
    }

    /// Whether there are services that it may not use. What is not there must then look to it like one of those.
    pub fn is_restricted(&self) -> bool {
        self.policy.is_restricted()
    }

    /// The one error for a service that it may not use and for one that is not there.
    pub fn refuse_service(&self) -> Error {
        count(Reason::Service, &self.label);
        Error::forbidden(format!(
            "'{}' may not use what this request asks for, or it is not there: its key or token names the services it may use",
            self.identity.name
        ))
    }

    /// The limit on one body, where it has one of its own.
    pub fn body_limit(&self) -> Option<BodyLimit> {
        self.policy.max_body.map(|bytes| BodyLimit { bytes, set_by: "maxBody of the caller's key or token" })
    }

    /// Refuses a body that is announced with too many bytes.
    pub fn check_length(&self, bytes: usize) -> Result<()> {
        let Some(limit) = self.body_limit() else { return Ok(()) };
        limit.check(bytes).inspect_err(|_| count(Reason::Body, &self.label))
    }

    /// Whether its tokens are counted.
    pub fn counts_tokens(&self) -> bool {
        self.policy.tokens_per_minute.is_some()
    }

    /// A place for one call that is estimated to use so many tokens, or when to ask again.
    pub fn enter(self: &Arc<Self>, tokens: f64) -> Result<Place> {
        let now = Instant::now();
        let mut meter = self.meter.lock();
        // Another policy may have been the last to call: each call is held against its own.
        if *meter.allowance() != self.allowance {
            meter.set(self.allowance, now);
        }
        meter.enter(tokens, now).map_err(|exceeded| self.exceeded(exceeded))?;
        drop(meter);
        Ok(Place { caller: self.clone(), estimated: tokens, used: tokens })
    }

    fn exceeded(&self, exceeded: Exceeded) -> Error {
        let name = &self.identity.name;
        let (reason, what, wait) = match exceeded {
            Exceeded::Requests { limit, wait } => {
                (Reason::Rate, format!("{} requests a second", limit.per_second), wait)
            }
            Exceeded::Tokens { limit, wait } => (Reason::Tokens, format!("{} tokens a minute", limit.burst), wait),
            Exceeded::Concurrency { limit } => {
                count(Reason::Concurrency, &self.label);
                let text =
                    format!("'{name}' has {limit} calls running, which is its limit: wait for one of them to end");
                return Error::rate_limited(text, Duration::from_secs(1));
            }
        };
        count(reason, &self.label);
        // Buckets tell a hair more than is needed, which must not become a whole second of `Retry-After`.
        let wait = wait.min(LONGEST_WAIT).saturating_sub(HAIR);
        Error::rate_limited(format!("'{name}' may use {what}: ask again in {:.3} s", wait.as_secs_f64()), wait)
    }
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Caller({})", self.identity.name)
    }
}

/// A running call's place within its caller's limits, held until the answer's last byte.
pub struct Place {
    caller: Arc<Caller>,
    estimated: f64,
    used: f64,
}

impl Place {
    /// What was used in the end, instead of what was estimated.
    pub fn settle(&mut self, tokens: f64) {
        self.used = tokens;
    }

    pub fn estimated(&self) -> f64 {
        self.estimated
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.caller.meter.lock().leave(self.estimated, self.used, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use weirgate_protocol::ErrorCode;

    use super::*;

    fn caller(policy: &str) -> Arc<Caller> {
        Arc::new(Caller::new("a", "a".into(), policy.parse().unwrap(), None, Instant::now()))
    }

    #[test]
    fn places_are_given_back_when_they_are_dropped() {
        let caller = caller("{maxConcurrent: 2}");
        let first = caller.enter(0.0).unwrap_or_else(|error| panic!("{error}"));
        let _second = caller.enter(0.0).unwrap_or_else(|error| panic!("{error}"));
        let Err(error) = caller.enter(0.0) else { panic!("a third came in") };
        assert_eq!((error.code(), error.retry_after_seconds()), (ErrorCode::RateLimited, Some(1)));
        drop(first);
        assert!(caller.enter(0.0).is_ok());
    }

    #[test]
    fn a_rate_says_exactly_how_long_to_wait() {
        let caller = caller("{requestsPerSecond: 0.1, burst: 1}");
        assert!(caller.enter(0.0).is_ok());
        let Err(error) = caller.enter(0.0) else { panic!("a second came in") };
        assert!(matches!(error.retry_after_seconds(), Some(9 | 10)), "{error:?}");
    }

    #[test]
    fn tokens_that_were_used_are_owed() {
        let caller = caller("{tokensPerMinute: 60}");
        let mut place = caller.enter(10.0).unwrap_or_else(|error| panic!("{error}"));
        place.settle(100.0);
        drop(place);
        let Err(error) = caller.enter(1.0) else { panic!("it owes 40 tokens, at 1 a second") };
        assert!(matches!(error.retry_after_seconds(), Some(40 | 41)), "{error:?}");
    }

    #[test]
    fn a_new_policy_goes_on_with_what_was_used() {
        let before = caller("{maxConcurrent: 2}");
        let _running = before.enter(0.0).unwrap_or_else(|error| panic!("{error}"));
        let policy = "{maxConcurrent: 1}".parse().unwrap();
        let after = Caller::new("a", "a".into(), policy, Some(before.meter().clone()), Instant::now());
        assert!(Arc::new(after).enter(0.0).is_err());
    }

    #[test]
    fn policies_that_share_a_meter_each_hold_their_own_limit() {
        let wide = caller("{maxConcurrent: 3}");
        let policy = "{maxConcurrent: 1}".parse().unwrap();
        let narrow = Arc::new(Caller::new("a", "a".into(), policy, Some(wide.meter().clone()), Instant::now()));
        let _first = narrow.enter(0.0).unwrap_or_else(|error| panic!("{error}"));
        assert!(narrow.enter(0.0).is_err());
        let _second = wide.enter(0.0).unwrap_or_else(|error| panic!("{error}"));
        assert!(narrow.enter(0.0).is_err());
        assert!(wide.enter(0.0).is_ok());
    }
}
