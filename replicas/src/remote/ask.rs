//! One exchange with a server, its answer read whole: what describing, watching and translating are made of.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::body::{BodyError, OutBody};
use super::fault::{Fault, FaultKind};
use super::link::Link;
use super::transport::Address;

/// An answer that came whole.
#[derive(Clone, Debug)]
pub(crate) struct Whole {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
}

/// Sends a request and reads its answer, of `limit` bytes at most.
pub(crate) async fn ask(link: &Link, request: Request<OutBody>, limit: usize) -> Result<Whole, Fault> {
    let (head, body) = link.send(request).await?.into_parts();
    let collected = Limited::new(body, limit).collect().await.map_err(|error| unread(&error, limit))?;
    let trailers = collected.trailers().cloned();
    Ok(Whole { status: head.status, headers: head.headers, body: collected.to_bytes(), trailers })
}

fn unread(error: &BodyError, limit: usize) -> Fault {
    if let Some(fault) = error.downcast_ref::<Fault>() {
        return fault.clone();
    }
    let text = match error.downcast_ref::<LengthLimitError>() {
        Some(_) => format!("the server's answer has more than {limit} bytes, which is the limit"),
        None => format!("the server's answer broke off: {error}"),
    };
    Fault::new(FaultKind::Broken, text)
}

/// A question without a body. An error is a name that no path can carry.
pub(crate) fn get(path: &str) -> Result<Request<OutBody>, String> {
    let request = Request::builder().method(Method::GET).uri(path).header(header::ACCEPT, "application/json");
    request.body(OutBody::Whole(Bytes::new())).map_err(|error| format!("'{path}' is no path: {error}"))
}

/// All that could mean more than itself in a path.
const NOT_PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A name as a segment of a path.
pub fn segment(name: &str) -> impl std::fmt::Display {
    utf8_percent_encode(name, NOT_PLAIN)
}

/// Text from a server inside ours: on one line, and cut where it would drown the rest.
pub(crate) fn shown(text: &str) -> String {
    const MOST_CHARS: usize = 512;
    let mut chars = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut shown: String = chars.by_ref().take(MOST_CHARS).collect();
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}

/// What a server that refuses says of it: `error` in its JSON as V1, V2 and OpenAI write it, `detail` as FastAPI does, or
/// the text itself.
pub(crate) fn reason(body: &[u8]) -> Option<String> {
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Object(fields) => fields.get("message")?.as_str().map(str::to_owned),
        serde_json::Value::Null => None,
        other => Some(other.to_string()),
    };
    let told = match serde_json::from_slice::<serde_json::Value>(body) {
        Ok(json) => ["error", "detail", "message"].into_iter().find_map(|key| text(json.get(key)?))?,
        // A page of HTML tells a person in a browser something, and nobody else.
        Err(_) => std::str::from_utf8(body).ok().filter(|text| !text.trim_start().starts_with('<'))?.to_owned(),
    };
    Some(shown(&told)).filter(|told| !told.is_empty())
}

/// A status and what was said with it: `503 Service Unavailable: the model loads`.
pub(crate) fn refusal(status: StatusCode, body: &[u8]) -> String {
    let name = status.canonical_reason().unwrap_or("unknown status");
    match reason(body) {
        Some(reason) => format!("{} {name}: {reason}", status.as_u16()),
        None => format!("{} {name}", status.as_u16()),
    }
}

/// Whether HTTP/2, which gRPC needs, may be spoken here.
pub(crate) fn may_speak_h2(address: &Address) -> bool {
    use weirgate_protocol::upstream_url::Scheme;
    match address {
        Address::Unix(_) => true,
        Address::Url(url) => url.scheme != Scheme::Http,
    }
}

/// A header's value, where it can be one.
pub(crate) fn value(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_stay_segments() {
        assert_eq!(segment("iris-2.v_1~").to_string(), "iris-2.v_1~");
        assert_eq!(segment("a/b?c#d e").to_string(), "a%2Fb%3Fc%23d%20e");
        assert_eq!(segment("é").to_string(), "%C3%A9");
    }

    #[test]
    fn reasons_are_found_wherever_servers_put_them() {
        for (body, expected) in [
            (r#"{"error":"no"}"#, Some("no")),
            (r#"{"error":{"message":"no","code":400}}"#, Some("no")),
            (r#"{"detail":"Not Found"}"#, Some("Not Found")),
            (r#"{"error":null}"#, None),
            ("model\nloads", Some("model loads")),
            ("<html>no</html>", None),
            ("", None),
        ] {
            assert_eq!(reason(body.as_bytes()).as_deref(), expected, "{body}");
        }
        assert_eq!(reason(&[0xff, 0xfe]), None);
        assert_eq!(shown(&"é".repeat(600)).chars().count(), 513);
    }
}
