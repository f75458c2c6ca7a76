//! Annotations below `weirgate.dev/`: the few things that InferenceService has no field for.

use std::num::NonZeroUsize;

use crate::inference_service::Metadata;
use crate::problem::{Report, join, quoted};
use crate::suggest::nearest;

const PREFIX: &str = "weirgate.dev/";
const MAX_QUEUED_REQUESTS: &str = "weirgate.dev/max-queued-requests";

const LATER: [&str; 4] =
    ["weirgate.dev/retry", "weirgate.dev/sticky", "weirgate.dev/stream-idle-timeout", "weirgate.dev/upstream"];

#[derive(Debug, Default)]
pub(crate) struct Annotations {
    pub max_queued_requests: Option<NonZeroUsize>,
}

impl Annotations {
    /// Reads ours, refuses what looks like ours and is not, and leaves all others alone.
    pub fn read(metadata: &Metadata, report: &mut Report) -> Annotations {
        let mut read = Annotations::default();
        for (name, value) in metadata.annotations.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
            let path = join("metadata.annotations", name);
            match name.as_str() {
                MAX_QUEUED_REQUESTS => match value.parse() {
                    Ok(limit) => read.max_queued_requests = Some(limit),
                    Err(_) => {
                        let message =
                            format!("is {}: allowed is a whole number of at least 1, in quotes", quoted(value));
                        report.error(&path, message);
                    }
                },
                name if LATER.contains(&name) => report.error(&path, "is not supported yet: remove it"),
                name => report.error(&path, unknown(name)),
            }
        }
        read
    }
}

fn unknown(name: &str) -> String {
    match nearest(name, LATER.into_iter().chain([MAX_QUEUED_REQUESTS])) {
        Some(meant) => format!("is not an annotation of Weirgate: did you mean {meant}"),
        None => "is not an annotation of Weirgate: remove it".to_owned(),
    }
}
