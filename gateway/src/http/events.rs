//! CloudEvents around a V1 call: whether a request is one, and its answer in the same mode.

use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use weirgate_protocol::cloudevents::{self, Event};
use weirgate_protocol::{Error, Result};

/// The headers of binary mode, in the order of [`cloudevents::REQUIRED`].
const ATTRIBUTES: [HeaderName; 4] = [
    HeaderName::from_static("ce-specversion"),
    HeaderName::from_static("ce-id"),
    HeaderName::from_static("ce-source"),
    HeaderName::from_static("ce-type"),
];
const TIME: HeaderName = HeaderName::from_static("ce-time");

/// Headers of an answer in binary mode.
pub fn headers() -> impl Iterator<Item = HeaderName> {
    ATTRIBUTES.into_iter().chain([TIME])
}

/// How a request is wrapped.
pub enum Mode {
    /// It is no event.
    Plain,
    Binary(Event),
    /// The event, once its body has been read.
    Structured(Option<Event>),
}

impl Mode {
    pub fn of(headers: &HeaderMap) -> Result<Mode> {
        if let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) {
            let media_type = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            if media_type == cloudevents::STRUCTURED {
                return Ok(Mode::Structured(None));
            }
            if media_type.starts_with(cloudevents::FAMILY) {
                let (media_type, one) = (media_type.chars().take(64).collect::<String>(), cloudevents::STRUCTURED);
                return Err(Error::unsupported_media(format!("'{media_type}' is not read: send each event as {one}")));
            }
        }
        if !ATTRIBUTES.iter().any(|name| headers.contains_key(name)) {
            return Ok(Mode::Plain);
        }
        let mut attributes = [None; cloudevents::REQUIRED.len()];
        for (name, attribute) in ATTRIBUTES.iter().zip(&mut attributes) {
            *attribute = headers.get(name).map(|value| value.to_str()).transpose().map_err(|_| {
                Error::invalid(format!("header {name} is not ASCII: write other characters percent-encoded"))
            })?;
        }
        Event::new(attributes).map(Mode::Binary)
    }

    /// Reads the data of a request with `decode`.
    pub fn decode<T>(&mut self, body: Bytes, decode: impl FnOnce(&[u8]) -> Result<T>) -> Result<T> {
        let Mode::Structured(event) = self else { return decode(&body) };
        let (found, data) = cloudevents::decode(&body)?;
        *event = Some(found);
        decode(&data).map_err(|error| Error::invalid(format!("in the event's data: {error}")))
    }

    /// The body of an answer with this data.
    pub fn encode(&self, model: &str, data: Bytes) -> Bytes {
        match self {
            Mode::Structured(Some(event)) => cloudevents::encode(event, model, &now(), &data),
            _ => data,
        }
    }

    /// The headers of an answer.
    pub fn stamp(&self, model: &str, headers: &mut HeaderMap) {
        let media_type = match self {
            Mode::Structured(_) => cloudevents::STRUCTURED,
            Mode::Plain | Mode::Binary(_) => "application/json",
        };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        let Mode::Binary(event) = self else { return };
        let attributes = [event.version, &event.id, &cloudevents::source(model), cloudevents::RESPONSE_TYPE];
        for (name, value) in ATTRIBUTES.into_iter().zip(attributes).chain([(TIME, &*now())]) {
            // Each was a header of the request, or is made of what headers can carry.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
    }
}

fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}
