//! From a text to the YAML documents in it, within limits that no honest manifest comes near.

use serde_json::Value;
use serde_saphyr::{Options, UserMessageFormatter};

const MOST_BYTES: usize = 1 << 20;

/// The documents of a text, empty ones left out, or what is wrong with the text.
pub(crate) fn documents(text: &str) -> Result<Vec<Value>, String> {
    if text.len() > MOST_BYTES {
        return Err(format!("holds {} bytes: allowed are {MOST_BYTES}, split it into several texts", text.len()));
    }
    serde_saphyr::from_multiple_with_options(text, options())
        .map_err(|error| format!("can't be read as YAML: {}", error.render_with_formatter(&UserMessageFormatter)))
}

fn options() -> Options {
    serde_saphyr::options! {
        // Only true and false are booleans: a label `answer: no` is text, as in Kubernetes.
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_depth: 64,
            max_documents: 1_024,
            max_nodes: 100_000,
            // Counts what aliases repeat, so a few lines can't become gigabytes.
            max_total_scalar_bytes: 2 * MOST_BYTES,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 10_000,
        },
    }
}
