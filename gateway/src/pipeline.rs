//! A call's way through the gateway, the same for every protocol: route, admit, read, decode, bind, submit, await.
//!
//! A call that is refused by name, size or a full queue is refused before its body is read. One deadline governs all of it.
//! Until a call is decoded it can still be routed again, with what has been read of it: where the lane is retired, or its
//! revision fails while another can answer.

mod answered;

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderValue;
use http::request::Parts;
use weirgate_protocol::v1::instances;
use weirgate_protocol::{
    Call, Error, InferRequest, InferResponse, LoadedModel, ModelSpec, Payload, Priority, Result, Retry, RetryClass,
    Target, Work, given,
};
use weirgate_replicas::remote::via;
use weirgate_replicas::{Along, BatchOf};

pub use self::answered::Answered;
use crate::dispatch::{Reservation, Submission, Trail, Turned};
use crate::explain::{self, Explained};
use crate::gateway::{Asked, Gateway, Routed};
use crate::observe::{Stages, count_unanswered, count_unrouted};
use crate::pass::{self, PassCall, Shape, Way};
use crate::respond::Refusal;
use crate::server::body::{BodyLimit, BodyReader};
use crate::server::codings::Codings;
use crate::server::edge::Arrival;
use crate::server::large::{in_place, undo_codings};
use crate::texts::TextCall;

/// How often a call is routed again before it is refused: each time means that its service has changed meanwhile.
pub(crate) const MOST_MOVES: usize = 100;

/// A call for tensors, as an adapter hands it over.
pub struct InferCall<'a, D> {
    pub arrival: &'a Arrival,
    pub asked: Asked<'a>,
    pub body: &'a mut BodyReader<Body>,
    /// The call's head, where it may be passed on as it is; none for one of the messages of a stream.
    pub passes: Option<&'a Parts>,
    /// The protocol's codec, run on the whole body. It sees what the model takes: some protocols don't say it themselves.
    pub decode: D,
}

/// How a call for tensors was answered.
pub enum Served {
    /// By what was decoded here.
    Answered(Box<Answered>),
    /// By a server that it was passed to.
    Passed(Response),
    /// Not yet: its model goes on with texts, and is asked for one.
    Text(Box<TextCall>),
}

/// Runs one call for tensors. Errors are counted and logged here.
pub async fn infer<D>(gateway: &Gateway, call: InferCall<'_, D>) -> Result<Served, Refusal>
where
    D: FnMut(Bytes, &ModelSpec) -> Result<InferRequest>,
{
    let (arrival, asked) = (call.arrival, call.asked);
    let mut routed = route(gateway, arrival, &asked)?;
    let deadline = deadline(arrival, &routed);
    let call_headers = call.passes.map(|parts| &parts.headers);
    let served = match check_version(&routed, asked.version) {
        Ok(()) => run(gateway, &mut routed, call, deadline).await,
        Err(error) => Err(error),
    };
    match served {
        Ok(Ran::Passed(response)) => Ok(Served::Passed(response)),
        Ok(Ran::Text(request)) => Ok(Served::Text(Box::new(TextCall { request, routed }))),
        Ok(Ran::Answered(request, response, stages, explained)) => {
            let answered = Answered {
                request,
                response,
                routed,
                protocol: arrival.head.protocol,
                stages,
                arrived: arrival.head.arrived,
                deadline,
                explained,
            };
            Ok(Served::Answered(Box::new(answered)))
        }
        Err(error) => {
            let knows = call_headers.is_some_and(|headers| explain::may_know(arrival, headers));
            Err(refuse(arrival, &routed, error, knows))
        }
    }
}

/// Routes a call. That there is nowhere is counted and logged here.
pub fn route(gateway: &Gateway, arrival: &Arrival, asked: &Asked<'_>) -> Result<Routed> {
    gateway.route(asked).inspect_err(|error| refuse_unanswered(gateway, arrival, asked, error))
}

/// The earliest of what the service allows and the caller asks for.
pub(crate) fn deadline(arrival: &Arrival, routed: &Routed) -> Instant {
    let longest = routed.service().timeout;
    arrival.head.arrived + arrival.timeout.map_or(longest, |asked| asked.min(longest))
}

/// Counts and logs an error of a call that was routed. `knows`: its caller may know the servers.
pub(crate) fn refuse(arrival: &Arrival, routed: &Routed, error: Error, knows: bool) -> Refusal {
    let (protocol, took) = (arrival.head.protocol, arrival.head.arrived.elapsed());
    routed.lane().metrics.failed(protocol, error.code(), took);
    let service = routed.service();
    log_failure(arrival, &format_args!("{}/{}", service.namespace, service.name), &error);
    Refusal::of(if knows { error.opened() } else { error }, routed)
}

/// Refuses a version that is not served before the body is read, where that is known by then.
fn check_version(routed: &Routed, version: &str) -> Result<()> {
    // What servers serve they say themselves.
    if version.is_empty() || routed.lane().spoken().is_some() {
        return Ok(());
    }
    let Ok(model) = routed.lane().loaded() else { return Ok(()) };
    model.version(version).map(drop).map_err(|error| routed.name_revision(error))
}

/// Counts and logs a call that reached no revision, for its service where there is one.
fn refuse_unanswered(gateway: &Gateway, arrival: &Arrival, asked: &Asked<'_>, error: &Error) {
    let Ok(service) = gateway.service(asked) else { return refuse_unrouted(arrival, asked.model, error) };
    count_unanswered(&service.namespace, &service.name, arrival.head.protocol, error.code());
    log_failure(arrival, &format_args!("{}/{}", service.namespace, service.name), error);
}

/// Counts and logs a call that reached no service.
pub fn refuse_unrouted(arrival: &Arrival, model: &str, error: &Error) {
    count_unrouted(arrival.head.protocol, error.code());
    log_failure(arrival, &model, error);
}

/// A call that went well.
enum Ran {
    Answered(InferRequest, InferResponse, Stages, Option<Box<Explained>>),
    Passed(Response),
    Text(InferRequest),
}

/// Leaves in `routed` the revision that answered, or the last one that was to.
async fn run<D>(gateway: &Gateway, routed: &mut Routed, call: InferCall<'_, D>, deadline: Instant) -> Result<Ran>
where
    D: FnMut(Bytes, &ModelSpec) -> Result<InferRequest>,
{
    let InferCall { arrival, asked, body, passes, mut decode } = call;
    let asks = passes.is_some_and(|parts| explain::is_asked(arrival, &parts.headers));
    let (mut held, mut fits) = (None, true);
    for _ in 0..MOST_MOVES {
        let turned = match start(gateway, routed, (arrival, &asked, passes), body, &mut held, fits, deadline).await {
            Ok(Started::Passed(response)) => return Ok(Ran::Passed(response)),
            Ok(Started::Text(prepared)) => {
                let coded = (body.codings(), body.framing());
                let mut call = Decoding { arrival, asked, coded, batched: false, decode: &mut decode };
                let read = call.read_text(gateway, prepared, deadline).await;
                return read.map(Ran::Text).inspect_err(|error| {
                    note_refusal(gateway, arrival, routed, &Turned::Refused(error.clone()));
                });
            }
            Ok(Started::Prepared(prepared, batched)) => {
                let coded = (body.codings(), body.framing());
                let mut call = Decoding { arrival, asked, coded, batched, decode: &mut decode };
                match call.read(gateway, prepared, deadline).await {
                    Ok(read) => return execute(gateway, routed, (arrival, &asked, asks), read, deadline).await,
                    // What is wrong with it for a batch may be right for its server, which says itself if it is not.
                    Err(error) if batched && pass::is_unfit(&error) => fits = false,
                    Err(error) => {
                        note_refusal(gateway, arrival, routed, &Turned::Refused(error.clone()));
                        return Err(error);
                    }
                }
                continue;
            }
            Err(turned) => turned,
        };
        move_on(gateway, routed, &asked, turned, deadline).await?;
    }
    Err(moved_too_often(routed))
}

pub(crate) fn moved_too_often(routed: &Routed) -> Error {
    let name = &routed.service().name;
    Error::unavailable(format!("service '{name}' has changed {MOST_MOVES} times while this call waited for it"))
}

/// Routes a call again that its lane has turned away, if another can answer.
pub(crate) async fn move_on(
    gateway: &Gateway,
    routed: &mut Routed,
    asked: &Asked<'_>,
    turned: Turned,
    deadline: Instant,
) -> Result<()> {
    match turned {
        Turned::Refused(error) => return Err(error),
        Turned::Failed(error) if !routed.has_substitute() => return Err(error),
        Turned::Failed(_) | Turned::Moved => *routed = route_again(gateway, asked, deadline).await?,
    }
    Ok(())
}

/// How far a call has come.
enum Started {
    /// It is decoded next; whether that is for a batch alone, and it may be passed as it is instead.
    Prepared(Prepared, bool),
    /// It is decoded next, and then asks for a text.
    Text(Prepared),
    Passed(Response),
}

/// A call that has been read, before a model that is loaded.
type Prepared = (Reservation, Arc<LoadedModel>, ReadBody);

/// Passes a call on, or brings it before a model. `held` is its body, once that has been read; one that does not fit in a
/// batch is passed.
async fn start(
    gateway: &Gateway,
    routed: &Routed,
    (arrival, asked, passes): (&Arrival, &Asked<'_>, Option<&Parts>),
    reader: &mut BodyReader<Body>,
    held: &mut Option<ReadBody>,
    fits: bool,
    deadline: Instant,
) -> Result<Started, Turned> {
    let way = pass::way(gateway, routed, arrival, deadline).await?;
    let is_batched = matches!(way, Way::Batched { .. });
    // Rows of JSON have no versions that are known here.
    let fits = fits && (asked.version.is_empty() || way != Way::Batched { rows: true });
    match passes {
        Some(parts) if way == Way::Passed || (is_batched && !fits) => {
            if let Some((bytes, _)) = held.take() {
                reader.restore(bytes);
            }
            let call = PassCall { arrival, address: asked.address, parts, body: reader, shape: Shape::Predict };
            // In a box of its own: a call for engines need not have room for it.
            Box::pin(pass::pass(gateway, routed, call, deadline)).await.map(Started::Passed)
        }
        _ => {
            let limit = arrival.body_limit(gateway.body_limit());
            let placed = take_place(routed, (reader, limit), held, arrival.head.priority, deadline).await;
            let (reservation, mut model, body) =
                placed.inspect_err(|turned| note_refusal(gateway, arrival, routed, turned))?;
            match way {
                Way::Batched { rows: true } => model = Arc::new(LoadedModel::new(instances::spec(), [])),
                Way::AsGiven => model = Arc::new(LoadedModel::new(given::spec(asked.version), [])),
                Way::Text => return Ok(Started::Text((reservation, model, body))),
                _ => {}
            }
            Ok(Started::Prepared((reservation, model, body), is_batched && passes.is_some()))
        }
    }
}

/// Keeps the record of a call that servers were to execute, and that none of them had.
fn note_refusal(gateway: &Gateway, arrival: &Arrival, routed: &Routed, turned: &Turned) {
    if routed.lane().passes() {
        pass::note_refusal(gateway, arrival, routed, turned);
    }
}

/// How a call's bytes are read.
struct Decoding<'a, D> {
    arrival: &'a Arrival,
    asked: Asked<'a>,
    coded: (Codings, usize),
    /// It is decoded for a batch alone.
    batched: bool,
    decode: &'a mut D,
}

/// A call that has been decoded and checked against its model, and how long its client was waited for.
type Decoded = (Reservation, InferRequest, Work, Payload, Duration);

impl<D> Decoding<'_, D>
where
    D: FnMut(Bytes, &ModelSpec) -> Result<InferRequest>,
{
    async fn read(
        &mut self,
        gateway: &Gateway,
        (mut reservation, model, (bytes, read)): Prepared,
        deadline: Instant,
    ) -> Result<Decoded> {
        let limit = self.arrival.body_limit(gateway.body_limit());
        let spec = model.version(self.asked.version)?;
        let pinned = !self.asked.version.is_empty();
        let bytes = undo_codings(self.coded, bytes, limit, deadline, |held| reservation.cover(held)).await?;
        let length = bytes.len();
        let bind = || -> Result<_> {
            let mut request = (self.decode)(bytes, spec)?;
            if self.batched && request.extras.is_some() {
                return Err(Error::invalid("the request says more than its tensors, which a batch can't carry"));
            }
            let (work, payload) = spec.bind(&mut request, pinned)?;
            Ok((request, work, payload))
        };
        let (request, work, payload) = in_place(length, deadline, RetryClass::NotExecuted, bind).await?;
        reservation.cover(work.bytes)?;
        Ok((reservation, request, work, payload, read))
    }

    /// Decodes a call that asks for a text. Its place is given up by that: it takes another as what it is passed as.
    async fn read_text(
        &mut self,
        gateway: &Gateway,
        (mut reservation, model, (bytes, _)): Prepared,
        deadline: Instant,
    ) -> Result<InferRequest> {
        let limit = self.arrival.body_limit(gateway.body_limit());
        let spec = model.version(self.asked.version)?;
        let bytes = undo_codings(self.coded, bytes, limit, deadline, |held| reservation.cover(held)).await?;
        in_place(bytes.len(), deadline, RetryClass::NotExecuted, || (self.decode)(bytes, spec)).await
    }
}

/// Has a call executed, and keeps a record of one that fails where calls leave records. `asks`: its caller asks for it.
async fn execute(
    gateway: &Gateway,
    routed: &Routed,
    (arrival, asked, asks): (&Arrival, &Asked<'_>, bool),
    decoded: Decoded,
    deadline: Instant,
) -> Result<Ran> {
    let trail = routed.lane().passes().then(|| Trail::new(asks));
    let mut explained = Explained::new(gateway, arrival, trail.clone(), asks);
    let via = if routed.lane().passes() { asked.address.headers().and_then(via::of) } else { None };
    match submit(routed, (arrival, via), decoded, trail, deadline).await {
        Ok((request, response, stages, batch)) => {
            if let Some(explained) = &mut explained {
                explained.ran(batch);
            }
            Ok(Ran::Answered(request, response, stages, explained))
        }
        Err(error) => {
            if let Some(explained) = explained.filter(|_| routed.lane().passes()) {
                explained.failed(routed, &error);
            }
            Err(error)
        }
    }
}

async fn submit(
    routed: &Routed,
    (arrival, via): (&Arrival, Option<HeaderValue>),
    (reservation, mut request, mut work, payload, read): Decoded,
    trail: Option<Arc<Trail>>,
    deadline: Instant,
) -> Result<(InferRequest, InferResponse, Stages, BatchOf)> {
    let service = routed.service();
    let target =
        Target { namespace: service.namespace.clone(), service: service.name.clone(), model: service.model.clone() };
    let repeats = service.retry != Retry::NotExecuted;
    let mut along = Along::default();
    if routed.lane().passes() {
        along = Along { id: request.id.clone(), extras: request.extras.take(), via };
        if along.extras.is_some() {
            // What it says may change what a server does with it, and is its own.
            work.signature = None;
        }
    }
    let call = Call { head: arrival.head.clone(), target, deadline, work, payload };
    let submitted = reservation.submit(Submission { call, along, repeats, trail }, Instant::now())?;
    let answer = submitted.answer().await?;
    let response = InferResponse {
        model_name: service.model.clone(),
        model_version: answer.version,
        id: request.id.take(),
        outputs: answer.outputs,
    };
    let stages = Stages {
        read,
        queue: answer.timing.queue,
        batch: answer.timing.batch,
        engine: answer.timing.engine,
        total: Duration::ZERO,
    };
    Ok((request, response, stages, answer.batch))
}

/// A body, and how long its client was waited for.
type ReadBody = (Bytes, Duration);

/// Takes a place in the lane, reads the body unless that is done, and waits for the model.
async fn take_place(
    routed: &Routed,
    (reader, limit): (&mut BodyReader<Body>, BodyLimit),
    body: &mut Option<ReadBody>,
    priority: Priority,
    deadline: Instant,
) -> Result<Prepared, Turned> {
    let lane = routed.lane();
    let announced = match body {
        Some((bytes, _)) => bytes.len(),
        None => reader.check_length(limit)?,
    };
    let mut reservation = lane.admit(announced, priority, deadline, Instant::now())?;
    let read = match body {
        Some(read) => {
            reservation.cover(announced)?;
            read.clone()
        }
        None => body.insert(reader.read_all(limit, deadline, &mut reservation).await?).clone(),
    };
    let model = lane.ready(deadline).await?;
    Ok((reservation, model, read))
}

/// Routes a call by the table that holds now. Where that still leads to a retired lane, it waits for one that does not.
async fn route_again(gateway: &Gateway, asked: &Asked<'_>, deadline: Instant) -> Result<Routed> {
    // Watched before the table is read, so that no change is missed.
    let mut changes = gateway.watch_changes();
    let mut place = None;
    loop {
        let routed = gateway.route(asked)?;
        if routed.lane().takes_calls() {
            return Ok(routed);
        }
        if place.is_none() {
            let full = |_| {
                let text = "too many calls wait for services that are being replaced (flag --max-queued-requests)";
                Error::queue_full(text, Duration::from_secs(1))
            };
            place = Some(gateway.astray.try_acquire().map_err(full)?);
        }
        let changed = tokio::time::timeout_at(deadline.into(), changes.changed()).await;
        if !matches!(changed, Ok(Ok(()))) {
            let text = "the deadline passed while the call's revision was being replaced";
            return Err(Error::deadline(text, RetryClass::NotExecuted));
        }
    }
}

/// Failures of ours are logged with what finds the request again; those of callers only when asked for.
/// `service`: `namespace/name`, or the model that was asked for where there is none.
fn log_failure(arrival: &Arrival, service: &dyn Display, error: &Error) {
    let head = &arrival.head;
    let (code, message) = (error.row().label, error.full());
    let (request_id, traceparent) = (&*head.request_id, head.traceparent.as_deref());
    let protocol = head.protocol.label();
    if error.row().http >= 500 {
        tracing::warn!(request_id, traceparent, protocol, %service, code, message, "call failed");
    } else {
        tracing::debug!(request_id, traceparent, protocol, %service, code, message, "call refused");
    }
}
