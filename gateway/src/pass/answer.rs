//! What the caller gets: the server's answer with our headers, and what was tried where there is none.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use weirgate_protocol::{Error, RetryClass};
use weirgate_replicas::remote::response_headers;
use weirgate_replicas::remote::{Fault, InBody};
use weirgate_router::pool::{Considered, Outcome};

use super::download::{Download, Open};
use super::idle::Idle;
use super::run::Run;
use super::verdict::{counted, of_grpc};
use crate::dispatch::{Lease, Turned};
use crate::explain::{self, Attempt, Candidate, Decision};
use crate::gateway::{Gateway, Routed};
use crate::observe::{Stages, us};
use crate::respond::status_of;
use crate::server::address::REVISION;
use crate::server::edge::{self, Arrival};

/// What is noted of a call on its way.
pub(super) struct Told {
    /// The caller wants to know.
    pub asked: bool,
    pub attempts: Vec<Attempt>,
    pub considered: Vec<(Arc<str>, Considered)>,
    /// Some server may have executed the call.
    pub executed: bool,
    read: Duration,
    queue: Duration,
    /// With servers, to the first bytes of their answers.
    server: Duration,
}

impl Told {
    pub fn new(read: Duration, asked: bool) -> Told {
        let (queue, server) = (Duration::ZERO, Duration::ZERO);
        Told { asked, attempts: Vec::new(), considered: Vec::new(), executed: false, read, queue, server }
    }

    /// Servers had the call for so long, which had been in the lane for `queued` before, its earlier attempts included.
    pub fn took(&mut self, queued: Duration, took: Duration) {
        self.queue = queued.saturating_sub(self.server);
        self.server += took;
    }

    /// A server had the call until now.
    pub fn attempt(&mut self, lease: &Lease, outcome: Outcome, fault: Option<&Fault>, now: Instant) {
        let (because, prefix_blocks) = explain::because(lease.because());
        self.attempts.push(Attempt {
            server: lease.remote().name.clone(),
            because,
            prefix_blocks,
            queue_us: us(lease.queued().saturating_sub(self.server)),
            took_us: us(now.saturating_duration_since(lease.taken())),
            outcome: explain::outcome(outcome),
            error: fault.map(|fault| fault.error.message().into()),
        });
    }

    /// The error of a call, and what was tried before `last` attempts of it, for a caller who `knows` the servers or does not.
    /// What may have been executed by any server may have been executed.
    pub fn tried(&self, error: Error, last: usize, knows: bool) -> Error {
        let error = match error.retry_class() {
            RetryClass::NotExecuted if self.executed => error.with_retry_class(RetryClass::MayHaveExecuted),
            _ => error,
        };
        let before = &self.attempts[..self.attempts.len().saturating_sub(last)];
        if before.is_empty() {
            return error;
        }
        let mut text = "tried before: ".to_owned();
        for (index, attempt) in before.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            let why = attempt.error.as_deref().unwrap_or(attempt.outcome);
            // Writing to a string can't fail.
            let _ = match knows {
                true => write!(text, "{comma}{} ({why})", attempt.server),
                false => write!(text, "{comma}server {} ({})", index + 1, attempt.outcome),
            };
        }
        error.and(text)
    }

    fn stages(&self, total: Duration) -> Stages {
        Stages { read: self.read, queue: self.queue, batch: Duration::ZERO, engine: self.server, total }
    }
}

/// Leaves a record of a call that was refused before any server had it. One that is routed again leaves it there.
pub fn note_refusal(gateway: &Gateway, arrival: &Arrival, routed: &Routed, turned: &Turned) {
    let error = match turned {
        Turned::Moved => return,
        Turned::Failed(_) if routed.has_substitute() => return,
        Turned::Failed(error) | Turned::Refused(error) => error,
    };
    let stages = Stages { total: arrival.head.arrived.elapsed(), ..Stages::default() };
    let decision = Decision::new(&arrival.head, routed, status_of(error), &stages);
    gateway.decisions.note(Arc::new(Decision { error: Some(error.full().into()), ..decision }));
}

impl Run<'_> {
    /// Records the call, and makes its answer, by whose end it is counted.
    pub(super) fn finish(
        mut self,
        gateway: &Gateway,
        sent: Result<(http::Response<InBody>, Lease), Error>,
    ) -> Result<Response, Error> {
        let arrived = self.call.arrival.head.arrived;
        let stages = self.told.stages(arrived.elapsed());
        let (response, lease) = match sent {
            Ok(sent) => sent,
            Err(error) => {
                let decision = self.decision(status_of(&error), Some(error.full().into()), &stages);
                gateway.decisions.note(Arc::new(decision));
                return Err(error);
            }
        };
        let (mut head, body) = response.into_parts();
        let protocol = self.call.arrival.head.protocol;
        let code = counted(head.status, of_grpc(&head.headers, protocol));
        let late = if self.call.is_impatient() { Outcome::Cancelled } else { Outcome::Failed };
        let service = self.call.routed.service();
        let end = self.call.bounds(&head.headers).then_some(self.call.deadline);
        let idle = Idle::new(service.stream_idle_timeout.unwrap_or(service.timeout)).until(end);
        let open = Open { lease, protocol, arrived, stages, code, late };
        let mut answer = Response::new(Body::new(Download::new(body, idle, open)));
        response_headers(&mut head.headers);
        self.mark(gateway, head.status, &mut head.headers, &stages);
        *answer.status_mut() = head.status;
        *answer.headers_mut() = head.headers;
        Ok(answer)
    }

    /// Adds what every answer carries, and why it went where it went.
    fn mark(&mut self, gateway: &Gateway, status: StatusCode, headers: &mut HeaderMap, stages: &Stages) {
        headers.insert(REVISION, self.call.routed.lane().revision().clone());
        edge::stamp(headers, stages);
        let decision = Arc::new(self.decision(status, None, stages));
        // A server's own word on it is not for its callers.
        headers.remove(explain::EXPLAIN);
        if self.told.asked
            && let Some(value) = decision.header()
        {
            headers.insert(explain::EXPLAIN, value);
        }
        gateway.decisions.note(decision);
    }

    fn decision(&mut self, status: StatusCode, error: Option<Box<str>>, stages: &Stages) -> Decision {
        let considered = std::mem::take(&mut self.told.considered);
        Decision {
            error,
            attempts: std::mem::take(&mut self.told.attempts),
            considered: considered.into_iter().map(|(name, seen)| Candidate::new(name, &seen)).collect(),
            ..Decision::new(&self.call.arrival.head, self.call.routed, status, stages)
        }
    }
}
