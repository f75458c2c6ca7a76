//! h2: calls on the streams of a few connections. A task drives each connection; its transport owns that.
//!
//! ```text
//! connections  those to one server, and which has room for a call
//! traffic      what a connection has written and read
//! outgoing     a request's body on its way, as far as the server's windows let it
//! incoming     an answer's body on its way
//! ```

mod connections;
mod incoming;
mod outgoing;
mod traffic;

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use h2::Reason;
use h2::client::ResponseFuture;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Version};
use http_body::Body;

pub(super) use connections::{Connections, Place};
pub use incoming::Incoming;

use super::body::{InBody, OutBody};
use super::fault::{Fault, FaultKind};
use super::request::RequestHead;
use super::transport::Origin;
use outgoing::Outgoing;

/// Sends a request on a stream and waits for the head of the answer.
pub(super) async fn send(
    mut place: Place,
    origin: &Origin,
    request: RequestHead,
    body: OutBody,
) -> Result<Response<InBody>, Fault> {
    let RequestHead { method, target, headers } = request;
    let mut head = Request::new(());
    (*head.method_mut(), *head.uri_mut(), *head.version_mut()) = (method, origin.uri(target)?, Version::HTTP_2);
    for (name, value) in headers {
        head.headers_mut().append(name, value);
    }
    without_connection(head.headers_mut());
    announce(head.headers_mut(), &body);

    let written = place.traffic().written();
    let is_end = body.is_end_stream();
    let (response, stream) = place.sender().send_request(head, is_end).map_err(|error| {
        if error.is_io() || error.is_go_away() || error.is_reset() {
            return Fault::new(FaultKind::Unsent, format!("the connection to {} has ended: {error}", origin.name));
        }
        Fault::new(FaultKind::Caller, format!("{}: no request for h2: {error}", origin.name))
    })?;
    let outgoing = (!is_end).then(|| Outgoing::new(stream, body));
    let mut wait = Wait { response, outgoing };
    let fault = |error: h2::Error, place: &Place| fault(&error, place.traffic().written() == written, &origin.name);
    let response = poll_fn(|cx| wait.poll(cx)).await.map_err(|stopped| match stopped {
        Stopped::Caller(error) => Fault::caller(&*error),
        Stopped::Stream(error) => fault(error, &place),
    })?;
    let outgoing = wait.outgoing.take();
    let (parts, body) = response.into_parts();
    let body = match body.is_end_stream() {
        true if outgoing.is_none() => InBody::Whole(bytes::Bytes::new()),
        _ => InBody::H2(Box::new(Incoming::new(body, outgoing, length(&parts.headers), place, &origin.name))),
    };
    let mut response = Response::new(body);
    (*response.status_mut(), *response.headers_mut()) = (parts.status, parts.headers);
    Ok(response)
}

/// Why a stream gives no answer.
enum Stopped {
    /// The caller's body broke off.
    Caller(super::body::BodyError),
    Stream(h2::Error),
}

/// The wait for an answer's head, while the request's body is still on its way.
struct Wait {
    response: ResponseFuture,
    outgoing: Option<Outgoing>,
}

impl Wait {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<h2::RecvStream>, Stopped>> {
        if let Some(outgoing) = &mut self.outgoing
            && let Poll::Ready(sent) = outgoing.poll(cx)
        {
            self.outgoing = None;
            sent.map_err(Stopped::Caller)?;
        }
        Pin::new(&mut self.response).poll(cx).map_err(Stopped::Stream)
    }
}

/// What is known of a call whose stream failed before it was answered.
fn fault(error: &h2::Error, is_unsent: bool, name: &str) -> Fault {
    if error.is_remote() && (error.reason() == Some(Reason::REFUSED_STREAM) || error.is_go_away()) {
        // A GOAWAY ends those streams only that it says were not processed.
        return Fault::new(FaultKind::NotExecuted, format!("{name} has not executed the call: {error}"));
    }
    if is_unsent {
        return Fault::new(
            FaultKind::Unsent,
            format!("the connection to {name} ended before the call was sent: {error}"),
        );
    }
    Fault::new(FaultKind::Broken, format!("the stream to {name} ended before an answer: {error}"))
}

/// Removes what h2 has no place for.
fn without_connection(headers: &mut HeaderMap) {
    const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
    for name in [HOST, CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TRANSFER_ENCODING, UPGRADE, http::header::EXPECT] {
        headers.remove(name);
    }
    if let Some(te) = headers.get(TE)
        && te != "trailers"
    {
        headers.remove(TE);
    }
}

/// Says how long the body is, as the body itself knows it.
fn announce(headers: &mut HeaderMap, body: &OutBody) {
    match body.size_hint().exact() {
        Some(0) if !headers.contains_key(CONTENT_LENGTH) => {}
        Some(length) => _ = headers.insert(CONTENT_LENGTH, HeaderValue::from(length)),
        None => _ = headers.remove(CONTENT_LENGTH),
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
