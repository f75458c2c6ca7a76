//! V2's calls for tensors to models that go on with texts, over gRPC and over HTTP.
//!
//! Such a call comes as tensors: a text and what is said of it. It becomes a call of V2's extension for texts, which is
//! passed on as if it had come by HTTP: the same queue, deadline, split, record and count, by the protocol of the call. The
//! answer is read again, for it is to become tensors.
//!
//! ```text
//! answer  what comes of such a call: whole, or piece by piece
//! ```

mod answer;

pub use answer::{Piece, pieces, whole};

use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, header};
use weirgate_protocol::{Error, InferRequest, Result, v2};
use weirgate_replicas::remote::segment;

use crate::explain::{self, EXPLAIN};
use crate::gateway::{Asked, Gateway, Routed};
use crate::pass::{PassedCall, Shape, pass_on};
use crate::pipeline;
use crate::respond::Refusal;
use crate::server::address::{REVISION, TakenPrefix};
use crate::server::body::BodyReader;
use crate::server::edge::{Arrival, GRPC_TIMEOUT, OVERHEAD, SERVER_TIMING};

/// A call for tensors that is to ask for a text.
pub struct TextCall {
    pub request: InferRequest,
    pub(crate) routed: Routed,
}

/// Who asks, and how.
pub struct Asking<'a> {
    pub arrival: &'a Arrival,
    pub asked: &'a Asked<'a>,
    /// The head of the call that the request came in.
    pub parts: &'a Parts,
    /// The text is taken as it comes, unless the request says otherwise.
    pub streams: bool,
}

/// What the answer to a text says of itself, which the answer that it becomes says, too.
pub const TOLD: [HeaderName; 4] = [REVISION, OVERHEAD, SERVER_TIMING, EXPLAIN];

/// What a head says of the message behind it, or of how it comes. The call that it becomes has a body of its own.
const OF_THE_MESSAGE: [HeaderName; 9] = [
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::ACCEPT_ENCODING,
    header::EXPECT,
    header::TE,
    GRPC_TIMEOUT,
    HeaderName::from_static("grpc-encoding"),
    HeaderName::from_static("grpc-accept-encoding"),
    HeaderName::from_static("inference-header-content-length"),
];

impl TextCall {
    /// Asks for the text: the answer is one of V2's extension. What is refused is counted and logged here.
    pub async fn ask(self, gateway: &Gateway, asking: &Asking<'_>) -> Result<Response, Refusal> {
        let TextCall { request, routed } = self;
        let &Asking { arrival, asked, parts, streams } = asking;
        let made = v2::generate_body(&request).and_then(|body| Ok((body, head(asked, parts, streams)?)));
        let (body, parts) = made.map_err(|error| {
            let knows = explain::may_know(arrival, &parts.headers);
            pipeline::refuse(arrival, &routed, error, knows)
        })?;
        let mut body = BodyReader::new(Body::from(body), 0, gateway.config.client_timeout);
        let mut call = PassedCall { arrival, parts: &parts, body: &mut body, shape: Shape::Text };
        pass_on(gateway, routed, asked, &mut call, takes_tensors).await
    }
}

/// The service was replaced by one of another kind while the call waited.
fn takes_tensors(routed: &Routed) -> Error {
    let name = &routed.service().name;
    Error::unavailable(format!(
        "service '{name}' goes on with texts no more: it was changed while this call waited for it"
    ))
}

/// The head of the call for a text that a call becomes.
fn head(asked: &Asked<'_>, given: &Parts, streams: bool) -> Result<Parts> {
    let call = if streams { "generate_stream" } else { "generate" };
    let path = format!("/v2/models/{}/{call}", segment(asked.model));
    let request = Request::post(path).body(());
    let request = request.map_err(|error| Error::invalid(format!("the model's name is none of a path: {error}")))?;
    let (mut parts, ()) = request.into_parts();
    parts.headers = given.headers.clone();
    for name in OF_THE_MESSAGE {
        parts.headers.remove(name);
    }
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // The path is one without a prefix.
    if let Some(prefix) = asked.address.prefix {
        parts.extensions.insert(TakenPrefix::from(prefix));
    }
    Ok(parts)
}
