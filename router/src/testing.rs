//! What the tests of this crate share.

use std::time::Duration;

use weirgate_protocol::Retry;

use crate::{Revision, Service, Turns};

pub(crate) fn revision(name: &str, percent: u8) -> Revision<u8> {
    Revision { name: name.into(), variant: None, percent, lane: 0 }
}

/// A service of one revision.
pub(crate) fn service(namespace: &str, name: &str) -> Service<u8> {
    Service {
        namespace: namespace.into(),
        name: name.into(),
        model: name.into(),
        timeout: Duration::from_secs(300),
        sticky: None,
        retry: Retry::default(),
        stream_idle_timeout: None,
        revisions: vec![revision(&format!("{name}-predictor-1"), 100)],
        base: 0,
        stable: Some(format!("{name}-predictor-1").into()),
        latest: Some(0),
        turns: Turns::default(),
        refusal: None,
    }
}
