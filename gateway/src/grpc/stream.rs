//! `ModelStreamInfer`: calls over one stream, answered in the order in which they came.
//!
//! Each message is a call of its own, with its own way through routes, limits and lanes, its own deadline and its own place
//! in the metrics. Up to [`MOST_CALLS`] of them are under way at once; then the stream is not read, and HTTP/2's flow control
//! holds the client. A call that fails is answered with a message that says so, and the stream goes on.
//!
//! Texts that a model goes on with come piece by piece, those of several calls interleaved as they are made. They wait for no
//! answer of tensors, nor do these for them.
//!
//! A task drives the calls, so that their deadlines hold whether the client reads or not; answers that it has not taken
//! count as calls under way. The task belongs to the answer's body, and ends with it when the client has gone.
//!
//! When the server closes, a stream reads no further message, answers what it has read, and ends as UNAVAILABLE, so that
//! clients open another one elsewhere and send there what was not answered.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{self, BoxFuture};
use futures_util::stream::{self, BoxStream, FuturesOrdered, SelectAll, StreamExt};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use http_body::Frame;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Sleep;
use weirgate_protocol::oip::infer_parameter::ParameterChoice;
use weirgate_protocol::oip::{self, InferParameter, ModelInferRequest, ModelInferResponse, ModelStreamInferResponse};
use weirgate_protocol::{Error, ErrorCode, Head, InferRequest, InferResponse, Protocol, Result, RetryClass};

use super::compression;
use super::infer::{InferMessage, find_model};
use super::messages::{Message, Messages};
use super::texts::{FINAL, of_revision, parameter};
use super::unary::{self, PREFIX};
use crate::auth::Caller;
use crate::auth::refusals::Refused;
use crate::gateway::Gateway;
use crate::pipeline::{self, Served};
use crate::respond::{self, Dialect, Refusal};
use crate::server::body::BodyReader;
use crate::server::edge::{self, Arrival, Arrived, body_limit};
use crate::server::encoding::Encoding;
use crate::texts::Asking;

/// Calls of one stream that are under way at once.
const MOST_CALLS: usize = 16;

/// With `true`, a call that fails ends the stream with the call's status. Triton's name for it.
const GRPC_ERRORS: HeaderName = HeaderName::from_static("triton_grpc_error");
/// The parameter of a request that asks for [`FINAL`] in its answer.
const WANTS_FINAL: &str = "triton_enable_empty_final_response";

pub(super) async fn model_stream_infer(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let arrived = Arrived::of(request.extensions(), request.headers());
    let (parts, body) = request.into_parts();
    let calls = match Calls::open(gateway, arrived, parts, body) {
        Ok(calls) => calls,
        Err(error) => return compression::refusal(error).answer(Dialect::Grpc),
    };
    let encoding = calls.shared.encoding;
    let mut response = Response::new(Body::new(Answers::of(calls)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    compression::announce(encoding, response.headers_mut());
    response
}

/// What all calls of a stream share.
struct Shared {
    gateway: Arc<Gateway>,
    parts: Parts,
    head: Head,
    request_id: HeaderValue,
    peer: Option<IpAddr>,
    caller: Option<Arc<Caller>>,
    /// How answers to compressed messages are compressed.
    encoding: Option<Encoding>,
    /// How long each call may take.
    timeout: Option<Duration>,
    /// When the stream must have ended.
    deadline: Option<Instant>,
}

/// The body of a stream's answer, which owns the task that makes it.
struct Answers {
    frames: mpsc::Receiver<Frame<Bytes>>,
    _driver: JoinSet<()>,
}

impl Answers {
    fn of(calls: Calls) -> Answers {
        let (sender, frames) = mpsc::channel(1);
        let mut driver = JoinSet::new();
        driver.spawn(calls.drive(sender));
        Answers { frames, _driver: driver }
    }
}

impl http_body::Body for Answers {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.frames.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

/// Answers that come as they are made, each in its frame, and none behind the last. An error ends the stream that they come
/// over.
type Texts = BoxStream<'static, Result<Option<Bytes>>>;

/// The calls of one stream, and where it stands.
struct Calls {
    shared: Arc<Shared>,
    messages: Messages,
    /// None of a call whose answers come as a text's.
    under_way: FuturesOrdered<BoxFuture<'static, Result<Option<Bytes>>>>,
    texts: SelectAll<Texts>,
    /// How many of them have not ended.
    open_texts: usize,
    /// Texts that have begun, from their calls: they don't wait for the turn of these.
    begun: mpsc::Receiver<Texts>,
    begins: mpsc::Sender<Texts>,
    /// What the client has yet to take.
    ready: VecDeque<Frame<Bytes>>,
    late: Pin<Box<Sleep>>,
    errors_end_it: bool,
    /// What the stream ends with once its calls are answered; `None` after that.
    end: Option<Result<()>>,
}

impl Calls {
    fn open(gateway: Arc<Gateway>, arrived: Arrived, parts: Parts, body: Body) -> Result<Calls> {
        let Arrival { head, request_id, peer, caller, .. } = Arrival::new(&parts, arrived, Protocol::V2Grpc)?;
        unary::check_content_type(&parts)?;
        let deadline = edge::grpc_timeout(&parts.headers)?.map(|timeout| head.arrived + timeout);
        let timeout = edge::request_timeout(&parts.headers)?;
        let errors_end_it = parts.headers.get(GRPC_ERRORS).is_some_and(|value| value == "true");
        // Without a deadline it is not looked at.
        let late = Box::pin(tokio::time::sleep_until(deadline.unwrap_or(head.arrived).into()));
        let encoding = compression::of_answer(compression::of_call(&parts.headers)?, &parts.headers);
        let shared = Arc::new(Shared { gateway, parts, head, request_id, peer, caller, encoding, timeout, deadline });
        let (begins, begun) = mpsc::channel(MOST_CALLS);
        Ok(Calls {
            shared,
            messages: Messages::new(body),
            under_way: FuturesOrdered::new(),
            texts: SelectAll::new(),
            open_texts: 0,
            begun,
            begins,
            ready: VecDeque::new(),
            late,
            errors_end_it,
            end: Some(Ok(())),
        })
    }

    /// Runs the stream until all of its frames are taken: messages, then trailers.
    async fn drive(mut self, frames: mpsc::Sender<Frame<Bytes>>) {
        let shared = self.shared.clone();
        loop {
            let reads = !self.messages.is_over();
            let texts = self.open_texts + self.begun.len();
            if !reads && self.under_way.is_empty() && texts == 0 {
                match self.end.take() {
                    Some(end) => self.ready.push_back(trailers(end)),
                    None if self.ready.is_empty() => return,
                    None => {}
                }
            }
            let takes_more = self.under_way.len() + texts + self.ready.len() < MOST_CALLS;
            tokio::select! {
                biased;
                () = self.late.as_mut(), if self.end.is_some() && shared.deadline.is_some() => {
                    self.ready.clear();
                    let text = "the deadline passed before the stream had ended";
                    self.cut(Error::deadline(text, RetryClass::MayHaveExecuted));
                }
                place = frames.reserve(), if !self.ready.is_empty() => match place {
                    Ok(place) => {
                        if let Some(frame) = self.ready.pop_front() {
                            place.send(frame);
                        }
                    }
                    // Nobody waits for the rest.
                    Err(_) => return,
                },
                Some(answer) = self.under_way.next(), if !self.under_way.is_empty() => match answer {
                    Ok(message) => self.ready.extend(message.map(Frame::data)),
                    Err(error) => self.cut(error),
                },
                Some(text) = self.begun.recv() => {
                    self.open_texts += 1;
                    self.texts.push(text);
                }
                () = shared.gateway.closes(), if reads => {
                    let text = "the server is stopping: what has no answer was not run, send it over another stream";
                    self.read_no_more(Error::unavailable(text));
                }
                message = self.messages.next(body_limit(shared.caller.as_deref(), shared.gateway.body_limit())), if reads && takes_more => match message {
                    Ok(Some(message)) => self.begin(message),
                    Ok(None) => {}
                    Err(error) => {
                        pipeline::refuse_unrouted(&shared.arrival(), "", &error);
                        self.read_no_more(error);
                    }
                },
                // No more of them is asked for than the client takes.
                Some(piece) = self.texts.next(), if self.open_texts > 0 && self.ready.is_empty() => match piece {
                    Ok(Some(message)) => self.ready.push_back(Frame::data(message)),
                    Ok(None) => self.open_texts -= 1,
                    Err(error) => self.cut(error),
                },
            }
        }
    }

    fn begin(&mut self, message: Message) {
        let call = answer(self.shared.clone(), message, self.begins.clone(), self.errors_end_it);
        // A panic of ours costs the one call that met it.
        let call = AssertUnwindSafe(call).catch_unwind().map(|answer| match answer {
            Ok(answer) => answer,
            Err(panic) => panicked(panic.as_ref()).map(Some),
        });
        self.under_way.push_back(call.boxed());
    }

    /// The calls that are under way are answered yet.
    fn read_no_more(&mut self, error: Error) {
        self.messages = Messages::Over;
        self.end = Some(Err(error));
    }

    /// Ends the stream at once.
    fn cut(&mut self, error: Error) {
        self.read_no_more(error);
        self.under_way.clear();
        self.texts.clear();
        self.open_texts = 0;
        while self.begun.try_recv().is_ok() {}
    }
}

impl Shared {
    /// The arrival of a message that begins now.
    fn arrival(&self) -> Arrival {
        let now = Instant::now();
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(now));
        let timeout = [self.timeout, left].into_iter().flatten().min();
        let (request_id, peer, caller) = (self.request_id.clone(), self.peer, self.caller.clone());
        // Messages have no heads to carry a record.
        let (asks_why, timer) = (false, None);
        let head = Head { arrived: now, ..self.head.clone() };
        Arrival { head, request_id, timeout, timer, peer, caller, asks_why }
    }
}

impl Shared {
    /// Tells the log of a message that its caller may not send.
    fn note_refused(&self, error: &Error) {
        let Shared { gateway, parts, head, peer, caller, .. } = self;
        let key = caller.as_ref().map(|caller| &*caller.identity().name);
        let (method, path, request_id) = (&parts.method, parts.uri.path(), &*head.request_id);
        gateway.refusals.note(&Refused { key, peer: *peer, method, path, request_id, error }, Instant::now());
    }
}

/// How a call is answered.
enum Answer {
    Whole(Bytes),
    Text(BoxStream<'static, Result<Bytes>>),
}

/// Runs one call, and frames its answer; of a text it hands over what frames its pieces. Its error is the answer too, unless
/// that is to end the stream.
async fn answer(
    shared: Arc<Shared>,
    message: Message,
    begins: mpsc::Sender<Texts>,
    errors_end_it: bool,
) -> Result<Option<Bytes>> {
    let mut id = String::new();
    let answered = infer(&shared, message, &mut id).await;
    if let Err(error) = &answered
        && matches!(error.code(), ErrorCode::Forbidden | ErrorCode::RateLimited)
    {
        shared.note_refused(error);
    }
    let told = move |error: Error| match errors_end_it {
        true => Err(error),
        false => unary::frame(&failure(id.clone(), &error)),
    };
    match answered {
        Ok(Answer::Whole(answer)) => Ok(Some(answer)),
        Ok(Answer::Text(text)) => {
            let text = AssertUnwindSafe(text.map(move |piece| piece.or_else(&told))).catch_unwind();
            let text = text.map(|piece| piece.unwrap_or_else(|panic| panicked(panic.as_ref())).map(Some));
            let text = text.chain(stream::once(future::ready(Ok(None))));
            // Whoever drives the calls takes it, and ends them when it goes.
            let _ = begins.send(text.boxed()).await;
            Ok(None)
        }
        Err(error) => told(error).map(Some),
    }
}

/// The answer to a call whose handler panicked.
fn panicked(panic: &(dyn std::any::Any + Send)) -> Result<Bytes> {
    unary::frame(&failure(String::new(), &respond::panic_error(panic)))
}

/// Leaves the request's id in `id` as soon as it is known.
async fn infer(shared: &Shared, message: Message, id: &mut String) -> Result<Answer> {
    let (gateway, arrival) = (&*shared.gateway, shared.arrival());
    // Each message is a call of its caller, and counted as one until it is answered.
    let place = shared.caller.as_ref().map(|caller| caller.enter(0.0)).transpose()?;
    let mut body = BodyReader::new(Body::new(message), PREFIX, gateway.config.client_timeout);
    let found = find_model(gateway, &arrival, &shared.parts.headers, &mut body).await;
    let model = found.inspect_err(|error| pipeline::refuse_unrouted(&arrival, "", error))?;
    if model.encoding.is_none() {
        *id = oip::peek::id(body.peeked().get(PREFIX..).unwrap_or_default()).unwrap_or_default();
    }
    let message =
        InferMessage { arrival: &arrival, parts: &shared.parts, model: &model, body: &mut body, alone: false };
    let mut wants_final = false;
    let see = |message: &ModelInferRequest| {
        id.clone_from(&message.id);
        wants_final = message.parameters.get(WANTS_FINAL).is_some_and(is_true);
    };
    let encoding = shared.encoding.filter(|_| model.encoding.is_some());
    let refused = Refusal::into_error;
    let (served, raw) = message.infer(gateway, see).await.map_err(refused)?;
    let mut answered = match served {
        Served::Answered(answered) => answered,
        Served::Passed(_) => return Err(Error::internal("one message of a stream was passed on")),
        Served::Text(call) => {
            let (about, asked) = (model.about(&call, raw, encoding), model.asked(&shared.parts));
            let asking = Asking { arrival: &arrival, asked: &asked, parts: &shared.parts, streams: true };
            let text = about.frames(Box::pin(call.ask(gateway, &asking)).await.map_err(refused)?);
            // The call is its caller's until its text has ended.
            let held = text.map(move |piece| {
                let _ = &place;
                piece
            });
            return Ok(Answer::Text(held.boxed()));
        }
    };
    let mut parameters = HashMap::with_capacity(2);
    parameters.extend([of_revision(answered.revision())]);
    if wants_final {
        parameters.insert(FINAL.to_owned(), parameter(ParameterChoice::BoolParam(true)));
    }
    let encode = |response: InferResponse, _: &InferRequest| {
        let response = ModelInferResponse { parameters, ..oip::encode_response(response, raw)? };
        let message = ModelStreamInferResponse { error_message: String::new(), infer_response: Some(response) };
        compression::frame(&message, encoding)
    };
    let message = answered.encode(encoding.is_some(), encode).await.map_err(refused)?;
    answered.finish_bare();
    Ok(Answer::Whole(message))
}

fn is_true(parameter: &InferParameter) -> bool {
    matches!(parameter.parameter_choice, Some(ParameterChoice::BoolParam(true)))
}

/// The message that a call which failed is answered with.
fn failure(id: String, error: &Error) -> ModelStreamInferResponse {
    ModelStreamInferResponse {
        error_message: error.message().to_owned(),
        infer_response: Some(ModelInferResponse { id, ..Default::default() }),
    }
}

fn trailers(end: Result<()>) -> Frame<Bytes> {
    let status = end.map_or_else(|error| respond::grpc_error(&error), |()| tonic::Status::ok(""));
    let mut trailers = HeaderMap::with_capacity(2);
    if let Err(status) = status.add_header(&mut trailers) {
        // Our texts can be written as headers; this one surely.
        trailers.insert(unary::STATUS, HeaderValue::from(status.code() as i32));
    }
    Frame::trailers(trailers)
}
