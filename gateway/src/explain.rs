//! Why a call went where it went: one record per call, of which the last are kept.
//!
//! Calls that are passed on always leave a record, and others where it is asked for. What a record costs is a few handles
//! and one allocation; the servers that were weighed are noted only for a call that asks.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode};
use parking_lot::Mutex;
use serde::Serialize;
use weirgate_protocol::{Error, Head, Identity, Result};
use weirgate_replicas::Remote;
use weirgate_replicas_core::CloseReason;
use weirgate_router::pool::{Because, Considered, Outcome, Standing};

use crate::dispatch::Trail;
use crate::gateway::{Gateway, Routed};
use crate::observe::{Stages, us};
use crate::respond::status_of;
use crate::server::edge::{Arrival, Arrived};

/// Asks for the record in the answer, and carries it there.
pub const EXPLAIN: HeaderName = HeaderName::from_static("x-weirgate-explain");

/// Servers that the header tells of; the admin API tells of all.
const IN_HEADER: usize = 8;

/// What was decided about one call. Times are in microseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Decision {
    pub request_id: Arc<str>,
    /// Milliseconds since 1970, when the call was answered.
    pub at_ms: u64,
    pub namespace: Arc<str>,
    pub service: Arc<str>,
    pub revision: Arc<str>,
    pub protocol: &'static str,
    pub priority: &'static str,
    /// The answer's HTTP status.
    pub status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Box<str>>,
    pub stages: StageTimes,
    /// For calls that an engine executed, or a server in a batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchOf>,
    /// The servers that had the call, in their order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// What the first of them was picked among, best first; where the call asked to know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub considered: Vec<Candidate>,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct StageTimes {
    pub read_us: u64,
    pub queue_us: u64,
    pub batch_us: u64,
    pub engine_us: u64,
    pub overhead_us: u64,
}

/// The batch that a call was executed in.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct BatchOf {
    pub rows: usize,
    /// Why it was closed.
    pub closed: &'static str,
}

/// A server that had the call.
#[derive(Clone, Debug, Serialize)]
pub struct Attempt {
    pub server: Arc<str>,
    /// Why it was picked.
    pub because: &'static str,
    /// Blocks of the call's prefix that it had seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix_blocks: Option<usize>,
    pub queue_us: u64,
    /// To the first byte of the answer, or to what went wrong.
    pub took_us: u64,
    pub outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Box<str>>,
}

/// A server that could have had the call.
#[derive(Clone, Debug, Serialize)]
pub struct Candidate {
    pub server: Arc<str>,
    pub standing: &'static str,
    pub running: usize,
    /// Calls that it takes at a time; none where it takes any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slots: Option<usize>,
    pub latency_us: u64,
    pub penalty_us: u64,
    /// What is compared: less is better.
    pub load: f64,
    pub prefix_blocks: usize,
}

impl From<&Stages> for StageTimes {
    fn from(stages: &Stages) -> Self {
        StageTimes {
            read_us: us(stages.read),
            queue_us: us(stages.queue),
            batch_us: us(stages.batch),
            engine_us: us(stages.engine),
            overhead_us: us(stages.overhead()),
        }
    }
}

impl Candidate {
    pub fn new(server: Arc<str>, considered: &Considered) -> Candidate {
        let state = &considered.state;
        Candidate {
            server,
            standing: match state.standing {
                Standing::In => "in",
                Standing::Draining => "draining",
                Standing::Open { .. } => "breaker open",
                Standing::HalfOpen => "breaker half open",
                Standing::Ejected { .. } => "ejected",
            },
            running: state.running,
            slots: Some(state.slots).filter(|slots| *slots < Remote::NO_LIMIT),
            latency_us: us(state.latency),
            penalty_us: us(state.penalty),
            load: considered.load,
            prefix_blocks: considered.blocks,
        }
    }
}

/// How a record names why a server was picked.
pub fn because(because: Because) -> (&'static str, Option<usize>) {
    match because {
        Because::Only => ("only one with room", None),
        Because::Load => ("least loaded", None),
        Because::Prefix { blocks } => ("prefix", Some(blocks)),
        Because::Session => ("session", None),
        Because::Probe => ("probe of its breaker", None),
    }
}

/// How records and metrics name an outcome.
pub const fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Answered => "answered",
        Outcome::Failed => "failed",
        Outcome::Overloaded { .. } => "overloaded",
        Outcome::NotExecuted => "not_executed",
        Outcome::Cancelled => "cancelled",
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Headers by which proxies tell for whom they ask.
const OF_PROXIES: [&str; 4] = ["forwarded", "via", "x-forwarded-for", "x-real-ip"];

/// Whether a caller may know the servers: one that has shown who it is if that allows it, and without keys one of this machine
/// itself. What a proxy of this machine passes on may come from anywhere.
pub fn may_know(arrival: &Arrival, headers: &HeaderMap) -> bool {
    knows(arrival.head.identity.as_deref(), arrival.peer, headers)
}

/// The same of a request that came through a router.
pub fn request_may_know(extensions: &Extensions, headers: &HeaderMap) -> bool {
    let Some(arrived) = extensions.get::<Arrived>() else { return false };
    knows(arrived.caller.as_ref().map(|caller| &**caller.identity()), arrived.peer, headers)
}

/// An error as the caller of a request is told it that came through a router.
pub fn told(extensions: &Extensions, headers: &HeaderMap, error: Error) -> Error {
    if request_may_know(extensions, headers) { error.opened() } else { error }
}

fn knows(identity: Option<&Identity>, peer: Option<IpAddr>, headers: &HeaderMap) -> bool {
    match identity {
        Some(identity) => identity.explains,
        None => {
            let is_here = peer.is_some_and(|peer| peer.to_canonical().is_loopback());
            is_here && !OF_PROXIES.iter().any(|name| headers.contains_key(*name))
        }
    }
}

/// Whether a head asks for its call's record.
pub fn asks(headers: &HeaderMap) -> Result<bool> {
    let Some(value) = headers.get(EXPLAIN) else { return Ok(false) };
    let is = |text: &str| value.as_bytes().eq_ignore_ascii_case(text.as_bytes());
    if is("1") || is("true") {
        return Ok(true);
    }
    if is("0") || is("false") {
        return Ok(false);
    }
    let shown: String = String::from_utf8_lossy(value.as_bytes()).chars().take(32).collect();
    Err(Error::invalid(format!(
        "header x-weirgate-explain is '{shown}': 1 or true asks why the call goes where it goes, 0 and false don't"
    )))
}

/// Whether a call asks for its record, and may see it.
pub fn is_asked(arrival: &Arrival, headers: &HeaderMap) -> bool {
    arrival.asks_why && may_know(arrival, headers)
}

impl Decision {
    /// One without attempts.
    pub fn new(head: &Head, routed: &Routed, status: StatusCode, stages: &Stages) -> Decision {
        let service = routed.service();
        Decision {
            request_id: head.request_id.clone(),
            at_ms: now_ms(),
            namespace: service.namespace.clone(),
            service: service.name.clone(),
            revision: routed.revision_name().clone(),
            protocol: head.protocol.label(),
            priority: head.priority.label(),
            status: status.as_u16(),
            error: None,
            stages: StageTimes::from(stages),
            batch: None,
            attempts: Vec::new(),
            considered: Vec::new(),
        }
    }

    /// As the answer's header has it.
    pub fn header(&self) -> Option<HeaderValue> {
        let mut told = self.clone();
        told.considered.truncate(IN_HEADER);
        HeaderValue::from_bytes(&serde_json::to_vec(&told).ok()?).ok()
    }
}

/// What is kept of a call that was decoded here, for its record.
pub struct Explained {
    decisions: Arc<Decisions>,
    head: Head,
    batch: Option<weirgate_replicas::BatchOf>,
    /// Of calls that servers execute.
    trail: Option<Arc<Trail>>,
    /// The caller asks, and may know.
    asked: bool,
}

impl Explained {
    /// Of a call that leaves a record: one that asks for it, or that servers execute.
    pub fn new(gateway: &Gateway, arrival: &Arrival, trail: Option<Arc<Trail>>, asked: bool) -> Option<Box<Explained>> {
        let leaves = asked || trail.is_some();
        leaves.then(|| {
            let (decisions, head) = (gateway.decisions.clone(), arrival.head.clone());
            Box::new(Explained { decisions, head, batch: None, trail, asked })
        })
    }

    /// The batch that the call was executed in.
    pub fn ran(&mut self, batch: weirgate_replicas::BatchOf) {
        self.batch = Some(batch);
    }

    /// Keeps the record of a call that was answered, and returns it as the answer's header has it, where that was asked for.
    pub fn answered(&self, routed: &Routed, stages: &Stages) -> Option<HeaderValue> {
        let decision = self.note(routed, StatusCode::OK, None, stages);
        if self.asked { decision.header() } else { None }
    }

    /// Keeps the record of a call that has failed.
    pub fn failed(&self, routed: &Routed, error: &Error) {
        let stages = Stages { total: self.head.arrived.elapsed(), ..Stages::default() };
        self.note(routed, status_of(error), Some(error.full().into()), &stages);
    }

    fn note(&self, routed: &Routed, status: StatusCode, error: Option<Box<str>>, stages: &Stages) -> Arc<Decision> {
        let label = |batch: weirgate_replicas::BatchOf| BatchOf {
            rows: batch.rows,
            closed: batch.closed.map_or("", CloseReason::label),
        };
        let (attempts, considered) = self.trail.as_ref().map(|trail| trail.told(Instant::now())).unwrap_or_default();
        let batch = self.batch.map(label);
        let decision =
            Decision { error, batch, attempts, considered, ..Decision::new(&self.head, routed, status, stages) };
        let decision = Arc::new(decision);
        self.decisions.note(decision.clone());
        decision
    }
}

/// The last decisions.
#[derive(Debug)]
pub struct Decisions {
    keep: usize,
    last: Mutex<VecDeque<Arc<Decision>>>,
}

impl Decisions {
    pub fn new(keep: usize) -> Decisions {
        Decisions { keep, last: Mutex::default() }
    }

    pub fn note(&self, decision: Arc<Decision>) {
        if self.keep == 0 {
            return;
        }
        let mut last = self.last.lock();
        let oldest = if last.len() >= self.keep { last.pop_front() } else { None };
        last.push_back(decision);
        drop(last);
        // What it held is let go of outside the lock.
        drop(oldest);
    }

    /// The newest first.
    pub fn last(&self) -> Vec<Arc<Decision>> {
        self.last.lock().iter().rev().cloned().collect()
    }

    /// The newest of this request.
    pub fn of(&self, request_id: &str) -> Option<Arc<Decision>> {
        self.last.lock().iter().rev().find(|decision| *decision.request_id == *request_id).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(request_id: &str) -> Arc<Decision> {
        Arc::new(Decision {
            request_id: request_id.into(),
            at_ms: 0,
            namespace: "ns".into(),
            service: "a".into(),
            revision: "a-1".into(),
            protocol: "openai",
            priority: "normal",
            status: 200,
            error: None,
            stages: StageTimes::default(),
            batch: None,
            attempts: Vec::new(),
            considered: Vec::new(),
        })
    }

    #[test]
    fn the_last_are_kept_and_no_more() {
        let decisions = Decisions::new(2);
        for id in ["1", "2", "3"] {
            decisions.note(decision(id));
        }
        let kept: Vec<_> = decisions.last().iter().map(|decision| decision.request_id.to_string()).collect();
        assert_eq!(kept, ["3", "2"]);
        assert!(decisions.of("1").is_none() && decisions.of("2").is_some());
        let none = Decisions::new(0);
        none.note(decision("1"));
        assert!(none.last().is_empty());
    }

    #[test]
    fn the_header_is_json_on_one_line() {
        let header = decision("1").header().unwrap();
        let value: serde_json::Value = serde_json::from_slice(header.as_bytes()).unwrap();
        assert_eq!((value["request_id"].as_str(), value["attempts"].is_null()), (Some("1"), true));
    }
}
