//! What the kernels ask of a network, beyond what its file is held to.

use super::cpu::attend::MAX_HEAD;
use crate::gguf::HyperParameters;

/// Refuses a network whose rows don't fill the vectors that the kernels take at once.
pub fn check(hyper: &HyperParameters) -> Result<(), String> {
    for (what, numbers) in [
        ("a token has", hyper.width),
        ("all heads together have", hyper.queries()),
        ("the feed-forward part has", hyper.feed_forward),
    ] {
        if !numbers.is_multiple_of(32) {
            return Err(format!("{what} {numbers} numbers, and supported are multiples of 32"));
        }
    }
    let head = hyper.head_dim;
    if !head.is_multiple_of(16) || head > MAX_HEAD {
        return Err(format!("a head has {head} numbers, and supported are multiples of 16, up to {MAX_HEAD}"));
    }
    Ok(())
}
