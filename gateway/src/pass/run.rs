//! Attempts: a lease, an exchange, and what becomes of a call whose server failed.
//!
//! What surely was not executed goes back into the lane, to its old place, and is executed elsewhere. What was handed over
//! and not answered is told to its caller, unless the service says that repeating does no harm.

use std::time::Instant;

use axum::body::Body;
use axum::response::Response;
use http::HeaderMap;
use http::request::Parts;
use http_body_util::BodyExt;
use weirgate_protocol::{Error, Result, Retry};
use weirgate_replicas::remote::{Fault, FaultKind, InBody, OutBody, Replay, RequestHead};

use super::answer::{Told, note_refusal};
use super::head::{EVENT_STREAM, Head, JSON, is_content};
use super::hedge::{Sent, exchange};
use super::idle::Idle;
use super::upload::{Spoilt, Upload};
use super::verdict::{Verdict, judge};
use super::wanting::wanting;
use crate::dispatch::{Lease, MOST_ATTEMPTS, Turned, Wanting};
use crate::explain;
use crate::gateway::{Gateway, Routed};
use crate::server::address::Address;
use crate::server::body::BodyReader;
use crate::server::edge::Arrival;

/// A call that is passed on.
pub struct PassCall<'a> {
    pub arrival: &'a Arrival,
    pub address: Address<'a>,
    pub parts: &'a Parts,
    pub body: &'a mut BodyReader<Body>,
    pub shape: Shape,
}

/// What a call's messages are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A prediction: it may be hedged where its service says so.
    Predict,
    /// One body, one answer.
    Exchange,
    /// A text that is asked for by V2's extension, whatever the protocol of the call.
    Text,
    /// Messages both ways, for as long as both sides like.
    Stream,
}

/// Passes a call to a server of its lane. It can be routed again as long as nothing of its body has left.
pub async fn pass(
    gateway: &Gateway,
    routed: &Routed,
    call: PassCall<'_>,
    deadline: Instant,
) -> Result<Response, Turned> {
    let arrival = call.arrival;
    let begun = Run::begin(gateway, routed, call, deadline).await;
    let mut run = begun.inspect_err(|turned| note_refusal(gateway, arrival, routed, turned))?;
    let sent = run.attempts().await;
    Ok(run.finish(gateway, sent)?)
}

/// What each attempt of a call has in common.
pub(super) struct Sending<'a> {
    pub routed: &'a Routed,
    pub arrival: &'a Arrival,
    pub deadline: Instant,
    pub wanting: Wanting,
    shape: Shape,
    head: Head<'a>,
}

/// A call under way.
pub(super) struct Run<'a> {
    pub call: Sending<'a>,
    pub told: Told,
    lease: Option<Lease>,
    body: Replay,
    /// The body for the next attempt.
    next: Option<OutBody>,
    /// Bytes that the call holds while it waits.
    held: usize,
    spoilt: Option<Spoilt>,
}

impl<'a> Run<'a> {
    async fn begin(
        gateway: &Gateway,
        routed: &'a Routed,
        call: PassCall<'a>,
        deadline: Instant,
    ) -> Result<Run<'a>, Turned> {
        let PassCall { arrival, address, parts, body, shape } = call;
        let (lane, limit) = (routed.lane(), arrival.body_limit(gateway.body_limit()));
        let announced = if shape == Shape::Stream { 0 } else { body.check_length(limit)? };
        let mut reservation =
            lane.admit(announced.min(OutBody::REPLAY), arrival.head.priority, deadline, Instant::now())?;
        let (whole, read) = if shape == Shape::Stream {
            (false, Default::default())
        } else {
            body.read_first(OutBody::REPLAY, limit, deadline, &mut reservation).await?
        };
        let head = Head::new(parts, address.prefix, arrival, gateway.config.tls.scheme())?;
        let wanting = wanting(routed, &arrival.head, &address, body.peeked());
        let told = Told::new(read, explain::is_asked(arrival, &parts.headers));
        let held = body.peeked().len();
        let framing = body.framing();
        let (first, rest, trailers) = body.hand_over();
        let (body, spoilt) = if whole {
            (OutBody::Whole(first), None)
        } else {
            let mut limit = limit;
            limit.bytes = limit.bytes.saturating_add(framing);
            let bounds = (shape != Shape::Stream).then(|| (limit, Idle::new(gateway.config.client_timeout)));
            let (upload, spoilt) = Upload::new((first, rest, trailers), bounds);
            (OutBody::Stream(upload.boxed_unsync()), Some(spoilt))
        };
        let mut body = body.replay(OutBody::REPLAY);
        let next = body.body();
        let lease = reservation.lease(&wanting, deadline, Instant::now()).await?;
        let call = Sending { routed, arrival, deadline, wanting, shape, head };
        Ok(Run { call, told, lease: Some(lease), body, next, held, spoilt })
    }

    /// Sends the call until there is an answer to pass on, or no hope.
    async fn attempts(&mut self) -> Result<(http::Response<InBody>, Lease)> {
        if self.told.asked
            && let Some(lease) = &self.lease
        {
            self.told.considered = lease.considered(&self.call.wanting, Instant::now());
        }
        loop {
            let (Some(mut lease), Some(body)) = (self.lease.take(), self.next.take()) else {
                return Err(Error::internal("a call was sent twice whose body is gone"));
            };
            let (taken, queued) = (lease.taken(), lease.queued());
            let running = self.call.routed.lane().metrics.while_running();
            let (sent, verdict) = exchange(&self.call, &mut self.told, &mut lease, body).await;
            running.ends();
            let now = Instant::now();
            lease.ends(verdict.outcome, now);
            self.told.attempt(&lease, verdict.outcome, sent.as_ref().err(), now);
            self.told.took(queued, now.saturating_duration_since(taken));
            self.told.executed |= verdict.executed;
            let goes_on = self.goes_on(&verdict, &lease, now);
            if goes_on {
                self.call.wanting.avoid.push(lease.remote().id);
            }
            let again = match sent {
                Ok(response) => {
                    // What the server said is kept for the caller where no other has room at once.
                    let next = if goes_on { lease.at_once(&self.call.wanting, now) } else { None };
                    let Some(next) = next else { return Ok((response, lease)) };
                    lease.lane().metrics.repeated(verdict.executed);
                    next
                }
                Err(fault) if !goes_on => return Err(self.error(fault)),
                Err(_) => {
                    lease.lane().metrics.repeated(verdict.executed);
                    let again = lease.again(&self.call.wanting, self.held, self.call.deadline).await;
                    again.map_err(|error| self.told.tried(error, 0, self.call.may_know()))?
                }
            };
            self.lease = Some(again);
            self.next = self.body.body();
        }
    }

    /// Whether the call is sent once more, if there is a server for it.
    fn goes_on(&self, verdict: &Verdict, lease: &Lease, now: Instant) -> bool {
        verdict.repeats
            && self.told.attempts.len() < MOST_ATTEMPTS
            // More may have been sent of it than is kept.
            && self.body.is_kept()
            && (!verdict.executed || lease.may_repeat(now))
    }

    /// What the caller is told of a server that did not answer.
    fn error(&self, fault: Fault) -> Error {
        if fault.kind == FaultKind::Caller
            && let Some(own) = self.spoilt.as_ref().and_then(|spoilt| spoilt.get())
        {
            return own.clone();
        }
        if self.call.may_know() {
            return self.told.tried(fault.error, 1, true);
        }
        let (request_id, reason) = (&*self.call.arrival.head.request_id, fault.error.message());
        tracing::warn!(request_id, reason, "a server did not answer");
        self.told.tried(fault.discreet(), 1, false)
    }
}

impl Sending<'_> {
    pub fn request(&self, lease: &Lease) -> Result<RequestHead, Fault> {
        let refused = |error| Fault { kind: FaultKind::Caller, error };
        self.head.request(lease.remote(), self.deadline).map_err(refused)
    }

    pub fn judge(&self, sent: &Sent) -> Verdict {
        judge(sent, self.routed.service().retry, self.arrival.head.protocol)
    }

    /// Whether the caller may know the servers.
    fn may_know(&self) -> bool {
        explain::may_know(self.arrival, self.head.given())
    }

    /// The caller gives less time than the service allows.
    pub fn is_impatient(&self) -> bool {
        self.arrival.timeout.is_some_and(|timeout| timeout < self.routed.service().timeout)
    }

    /// Whether all of an answer with this head must have come by the deadline: a prediction, and what is one document. Streams
    /// go on for as long as they don't pause.
    pub fn bounds(&self, headers: &HeaderMap) -> bool {
        match self.shape {
            Shape::Predict => !is_content(headers, EVENT_STREAM),
            Shape::Exchange | Shape::Text => is_content(headers, JSON),
            Shape::Stream => false,
        }
    }

    pub fn hedges(&self) -> bool {
        self.shape == Shape::Predict && self.routed.service().retry == (Retry::Idempotent { hedge: true })
    }
}
