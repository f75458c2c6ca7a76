//! What the caller gets: the server's answer with our headers, and what was tried where there is none.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use weirgate_protocol::{Error, ErrorCode};
use weirgate_replicas::remote::response_headers;
use weirgate_replicas::remote::{Fault, InBody};
use weirgate_router::pool::{Considered, Outcome};

use super::download::Download;
use super::idle::Idle;
use super::run::Run;
use crate::dispatch::Lease;
use crate::explain::{self, Attempt, Candidate, Decision, us};
use crate::gateway::Gateway;
use crate::observe::Stages;
use crate::server::address::REVISION;
use crate::server::edge;

/// What is noted of a call on its way.
pub(super) struct Told {
    /// The caller wants to know.
    pub asked: bool,
    pub attempts: Vec<Attempt>,
    pub considered: Vec<(Arc<str>, Considered)>,
    read: Duration,
    queue: Duration,
    /// With servers, to the first bytes of their answers.
    server: Duration,
}

impl Told {
    pub fn new(read: Duration, asked: bool) -> Told {
        let zero = Duration::ZERO;
        Told { asked, attempts: Vec::new(), considered: Vec::new(), read, queue: zero, server: zero }
    }

    /// A server had the call until now.
    pub fn attempt(&mut self, lease: &Lease, outcome: Outcome, fault: Option<&Fault>, now: Instant) {
        let took = now.saturating_duration_since(lease.taken());
        self.queue = lease.queued().saturating_sub(self.server);
        self.server += took;
        let (because, prefix_blocks) = explain::because(lease.because());
        self.attempts.push(Attempt {
            server: lease.remote().name.clone(),
            because,
            prefix_blocks,
            queue_us: us(self.queue),
            took_us: us(took),
            outcome: explain::outcome(outcome),
            error: fault.map(|fault| fault.error.message().into()),
        });
    }

    /// An error that says what was tried before it.
    pub fn tried(&self, error: Error) -> Error {
        let told = |attempt: &Attempt| attempt.error.as_deref() != Some(error.message());
        let before: Vec<_> = self.attempts.iter().filter(|attempt| told(attempt)).collect();
        if before.is_empty() {
            return error;
        }
        let mut text = "tried before: ".to_owned();
        for (index, attempt) in before.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            // Writing to a string can't fail.
            let _ = write!(text, "{comma}{} ({})", attempt.server, attempt.error.as_deref().unwrap_or(attempt.outcome));
        }
        error.and(text)
    }

    fn stages(&self, total: Duration) -> Stages {
        Stages { read: self.read, queue: self.queue, batch: Duration::ZERO, engine: self.server, total }
    }
}

impl Run<'_> {
    /// Counts and records the call, and makes its answer.
    pub(super) fn finish(
        mut self,
        gateway: &Gateway,
        sent: Result<(http::Response<InBody>, Lease), Error>,
    ) -> Result<Response, Error> {
        let stages = self.told.stages(self.call.arrival.head.arrived.elapsed());
        let (response, lease) = match sent {
            Ok(sent) => sent,
            Err(error) => {
                let status = StatusCode::from_u16(error.row().http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let decision = Arc::new(self.decision(status, Some(error.message().into()), &stages));
                gateway.decisions.note(decision);
                return Err(error);
            }
        };
        self.count(response.status(), &stages);
        let (mut head, body) = response.into_parts();
        response_headers(&mut head.headers);
        self.mark(gateway, head.status, &mut head.headers, &stages);
        let service = self.call.routed.service();
        let idle = Idle::new(service.stream_idle_timeout.unwrap_or(service.timeout));
        let mut answer = Response::new(Body::new(Download::new(body, idle, lease)));
        *answer.status_mut() = head.status;
        *answer.headers_mut() = head.headers;
        Ok(answer)
    }

    /// A server's own refusals and failures are counted as what they would be if they were ours.
    fn count(&self, status: StatusCode, stages: &Stages) {
        let (metrics, protocol) = (&self.call.routed.lane().metrics, self.call.arrival.head.protocol);
        let code = match status.as_u16() {
            0..400 => return metrics.answered(protocol, stages),
            401 => ErrorCode::Unauthenticated,
            403 => ErrorCode::Forbidden,
            404 => ErrorCode::NotFound,
            405 => ErrorCode::MethodNotAllowed,
            413 => ErrorCode::TooLarge,
            429 => ErrorCode::QueueFull,
            400..500 => ErrorCode::InvalidRequest,
            503 => ErrorCode::Unavailable,
            504 => ErrorCode::DeadlineExceeded,
            _ => ErrorCode::UpstreamFailed,
        };
        metrics.failed(protocol, code, stages.total);
    }

    /// Adds what every answer carries, and why it went where it went.
    fn mark(&mut self, gateway: &Gateway, status: StatusCode, headers: &mut HeaderMap, stages: &Stages) {
        headers.insert(REVISION, self.call.routed.lane().revision().clone());
        edge::stamp(headers, stages);
        let decision = Arc::new(self.decision(status, None, stages));
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
