//! A call's way through the gateway, the same for every protocol: route, admit, read, decode, bind, submit, await.
//!
//! A call that is refused by name, size or a full queue is refused before its body is read. One deadline governs all of it.

use std::num::NonZeroUsize;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use tokio::sync::Semaphore;
use weirgate_protocol::{Call, Error, InferRequest, InferResponse, Protocol, Result, Target};

use crate::gateway::{Gateway, Routed};
use crate::observe::{Stages, count_unrouted};
use crate::server::body::BodyReader;
use crate::server::edge::Arrival;

/// Bodies above this are decoded where it does not hold up the other connections of a thread.
const LARGE_BODY: usize = 256 << 10;

/// Large bodies are decoded, and large answers encoded, as many at a time as there are CPUs: more would only take memory.
static LARGE_WORK: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(std::thread::available_parallelism().map_or(1, NonZeroUsize::get)));

/// A call for tensors, as an adapter hands it over.
pub struct InferCall<'a, D> {
    pub arrival: &'a Arrival,
    pub model: &'a str,
    pub version: &'a str,
    pub body: &'a mut BodyReader<Body>,
    /// The protocol's codec, run on the whole body.
    pub decode: D,
}

/// An answered call, to be encoded by its adapter.
pub struct Answered {
    /// What was asked, less its inputs: the id, and how outputs are wanted.
    pub request: InferRequest,
    pub response: InferResponse,
    service: Routed,
    protocol: Protocol,
    stages: Stages,
    arrived: Instant,
}

impl Answered {
    /// Encodes the answer, where it does not hold up other connections.
    pub async fn encode<T>(&mut self, encode: impl FnOnce(InferResponse, &InferRequest) -> Result<T>) -> Result<T> {
        let bytes: usize = self.response.outputs.iter().map(|output| output.data.len()).sum();
        let response = std::mem::take(&mut self.response);
        let encoded = in_place(bytes, || encode(response, &self.request)).await;
        if let Err(error) = &encoded {
            self.service.base_lane().metrics.failed(self.protocol, error.code());
        }
        encoded
    }

    /// Call when the answer is encoded: notes its times and returns them.
    pub fn finish(mut self) -> Stages {
        self.stages.total = self.arrived.elapsed();
        self.service.base_lane().metrics.answered(self.protocol, &self.stages);
        self.stages
    }
}

/// Runs one call for tensors. Errors are counted and logged here.
pub async fn infer<D>(gateway: &Gateway, call: InferCall<'_, D>) -> Result<Answered>
where
    D: FnOnce(Bytes) -> Result<InferRequest>,
{
    let (arrival, model) = (call.arrival, call.model);
    let service = gateway.route(model, call.version).inspect_err(|error| refuse_unrouted(arrival, model, error))?;
    let result = run(gateway, &service, call).await;
    if let Err(error) = &result {
        service.base_lane().metrics.failed(arrival.head.protocol, error.code());
        log_failure(arrival, &service.name, error);
    }
    result
}

/// Counts and logs a call that reached no service.
pub fn refuse_unrouted(arrival: &Arrival, model: &str, error: &Error) {
    count_unrouted(arrival.head.protocol, error.code());
    log_failure(arrival, model, error);
}

async fn run<D>(gateway: &Gateway, service: &Routed, call: InferCall<'_, D>) -> Result<Answered>
where
    D: FnOnce(Bytes) -> Result<InferRequest>,
{
    let head = &call.arrival.head;
    let timeout = call.arrival.timeout.map_or(service.timeout, |asked| asked.min(service.timeout));
    let deadline = head.arrived + timeout;
    let limit = gateway.body_limit();
    let announced = call.body.check_length(limit)?;
    let mut reservation = service.base_lane().admit(announced, deadline, Instant::now())?;
    let (bytes, read) = call.body.read_all(limit, deadline, &mut reservation).await?;
    let spec = service.base_lane().ready(deadline).await?;
    let (decode, length) = (call.decode, bytes.len());
    let bind = || -> Result<_> {
        let mut request = decode(bytes)?;
        let (work, payload) = spec.bind(&mut request)?;
        Ok((request, work, payload))
    };
    let (mut request, work, payload) = in_place(length, bind).await?;
    reservation.cover(work.bytes)?;
    let target =
        Target { namespace: service.namespace.clone(), service: service.name.clone(), model: service.model.clone() };
    let submitted = reservation.submit(Call { head: head.clone(), target, deadline, work, payload }, Instant::now());
    let answer = submitted.answer().await?;
    let response = InferResponse {
        model_name: service.model.clone(),
        model_version: None,
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
    Ok(Answered { request, response, service: service.clone(), protocol: head.protocol, stages, arrived: head.arrived })
}

/// Runs `work` on so many bytes: at once where they are few, else in turn and without the other connections of the thread.
async fn in_place<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    if bytes < LARGE_BODY {
        return work();
    }
    // The semaphore is never closed; without a permit the work is done all the same.
    let _turn = LARGE_WORK.acquire().await;
    tokio::task::block_in_place(work)
}

/// Failures of ours are logged with what finds the request again; those of callers only when asked for.
fn log_failure(arrival: &Arrival, service: &str, error: &Error) {
    let head = &arrival.head;
    let (code, message) = (error.row().label, error.message());
    let (request_id, traceparent) = (&*head.request_id, head.traceparent.as_deref());
    let protocol = head.protocol.label();
    if error.row().http >= 500 {
        tracing::warn!(request_id, traceparent, protocol, service, code, message, "call failed");
    } else {
        tracing::debug!(request_id, traceparent, protocol, service, code, message, "call refused");
    }
}
