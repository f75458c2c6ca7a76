//! Callers that were refused, as the log tells it: a line for each, as long as they are few.
//!
//! Anybody can be refused as often as he likes, so lines are rationed; each says how many like it were left out before. What
//! was shown as a key or token is never part of one.

use std::net::IpAddr;
use std::time::Instant;

use http::Method;
use parking_lot::Mutex;
use weirgate_protocol::{Error, ErrorCode};
use weirgate_router::limits::Bucket;

/// Lines a second of one kind, and at once after a pause.
const LINES: f64 = 1.0;
const BURST: f64 = 10.0;
/// How much of a path is shown.
const LONGEST_PATH: usize = 128;

/// A request that was refused.
pub struct Refused<'a> {
    /// The name of the key, or the subject of the token, where what was shown was good.
    pub key: Option<&'a str>,
    pub peer: Option<IpAddr>,
    pub method: &'a Method,
    /// Without its query, which may hold anything.
    pub path: &'a str,
    pub request_id: &'a str,
    pub error: &'a Error,
}

/// The refusals of a data port.
pub struct Refusals {
    /// Of strangers, of callers who may not, and of those who want more than they may: a flood of one hides no other.
    kinds: [Mutex<Kind>; 3],
}

struct Kind {
    ration: Bucket,
    /// Refusals without a line since the last one.
    left_out: u64,
}

impl Kind {
    /// How many were left out before this one; none where it is left out too.
    fn line(&mut self, now: Instant) -> Option<u64> {
        if self.ration.try_take(1.0, now).is_err() {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        Some(std::mem::take(&mut self.left_out))
    }
}

impl Refusals {
    pub fn new(now: Instant) -> Refusals {
        let kind = || Mutex::new(Kind { ration: Bucket::new(LINES, BURST, now), left_out: 0 });
        Refusals { kinds: [kind(), kind(), kind()] }
    }

    /// Tells of a refusal, or counts it for the next line.
    pub fn note(&self, refused: &Refused<'_>, now: Instant) {
        let &Refused { key, peer, method, path, request_id, error } = refused;
        let kind = match error.code() {
            ErrorCode::Unauthenticated => 0,
            ErrorCode::Forbidden => 1,
            _ => 2,
        };
        let Some(left_out) = self.kinds[kind].lock().line(now) else { return };
        let (code, reason) = (error.row().label, error.message());
        let peer = peer.map(tracing::field::display);
        let path: String = path.chars().take(LONGEST_PATH).flat_map(char::escape_debug).collect();
        tracing::info!(code, key, peer, %method, path, request_id, reason, left_out, "a caller was refused");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_flood_has_a_line_now_and_then_that_says_how_large_it_is() {
        let now = Instant::now();
        let refusals = Refusals::new(now);
        let mut kind = refusals.kinds[0].lock();
        let told = (0..1_000).filter_map(|_| kind.line(now)).collect::<Vec<_>>();
        assert_eq!(told, [0; BURST as usize]);
        assert_eq!(kind.line(now + Duration::from_millis(1_100)), Some(990));
        assert_eq!(kind.line(now + Duration::from_millis(1_200)), None);
        assert_eq!(kind.line(now + Duration::from_secs(60)), Some(1));
        assert_eq!(refusals.kinds[1].lock().line(now), Some(0), "others are told all the same");
    }
}
