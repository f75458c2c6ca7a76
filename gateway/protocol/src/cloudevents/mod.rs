//! CloudEvents that carry a V1 request or its answer, as far as they are more than headers.
//!
//! In binary mode the attributes are HTTP headers, and the body is the data. In structured mode the body is an envelope:
//! one JSON object that holds the attributes and the data. Both are read here into an [`Event`], whose answer takes its id.
//! What else a request's event carries (time, subject, extensions) stays with the request, as with KServe.

mod envelope;

pub use envelope::{decode, encode};

use crate::error::{Error, Result, Shown};

/// The `Content-Type` of structured mode.
pub const STRUCTURED: &str = "application/cloudevents+json";
/// The begin of every `Content-Type` of CloudEvents; what comes behind it says which.
pub const FAMILY: &str = "application/cloudevents";

/// The type of an answer's event: KServe's, by which its users' triggers choose.
pub const RESPONSE_TYPE: &str = "io.kserve.inference.response";

/// The attributes that every event must have.
pub const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];

const VERSIONS: [&str; 2] = ["1.0", "0.3"];

/// The source of an answer's event: KServe's, too.
pub fn source(model: &str) -> String {
    format!("io.kserve.inference.{model}")
}

/// What an answer needs to know of its request's event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// One of the versions that are known.
    pub version: &'static str,
    pub id: String,
}

impl Event {
    /// Checks the required attributes, in the order of [`REQUIRED`].
    pub fn new(attributes: [Option<&str>; 4]) -> Result<Event> {
        for (name, value) in REQUIRED.iter().zip(attributes) {
            if value.is_none_or(str::is_empty) {
                return Err(Error::invalid(format!("the cloud event has no {name}: give {}", REQUIRED.join(", "))));
            }
        }
        let [version, id, ..] = attributes.map(Option::unwrap_or_default);
        let known = VERSIONS.into_iter().find(|known| *known == version);
        let version = known.ok_or_else(|| {
            let (version, known) = (Shown(version), VERSIONS.join(" and "));
            Error::invalid(format!("the cloud event has specversion '{version}': {known} are understood"))
        })?;
        Ok(Event { version, id: id.to_owned() })
    }
}
