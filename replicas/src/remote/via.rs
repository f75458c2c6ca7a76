//! The gateways that a call has passed, which each of them adds itself to: so a call that comes back to one is known there.
//!
//! A server of a manifest may be the gateway itself, or one that leads back to it. Without this such a call would go round
//! until its deadline, and take a slot each time. A gateway is known by a number that says nothing of it, other than the
//! `via` of HTTP, and no server needs to understand it.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use http::{HeaderMap, HeaderName, HeaderValue};
use weirgate_protocol::{Error, Result};

/// The gateways, the first one first.
pub const VIA: HeaderName = HeaderName::from_static("x-weirgate-via");

/// Gateways that one call may pass.
const MOST: usize = 16;

/// This process among gateways.
static HERE: LazyLock<HeaderValue> = LazyLock::new(|| {
    // Keys of the standard library's hashes are random.
    let number = RandomState::new().hash_one(std::process::id());
    HeaderValue::from_str(&format!("{number:016x}")).unwrap_or_else(|_| HeaderValue::from_static("here"))
});

/// Adds this gateway to those that a call has passed.
pub(super) fn add(headers: &mut Vec<(HeaderName, HeaderValue)>) {
    headers.push((VIA, HERE.clone()));
}

/// Refuses a call that has been here before, or has passed too many gateways.
pub fn check(headers: &HeaderMap) -> Result<()> {
    let passed = headers.get_all(VIA).iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    let mut count = 0;
    let mut since = None;
    for gateway in passed {
        count += 1;
        if gateway.trim_ascii() == HERE.as_bytes() {
            since = Some(count);
        }
    }
    match since {
        Some(since) => {
            let others = count - since;
            let way = match others {
                0 => "at once".to_owned(),
                1 => "by way of another".to_owned(),
                _ => format!("by way of {others} others"),
            };
            Err(Error::loop_detected(format!(
                "the call has come back to this gateway {way}: a server of the service (weirgate.dev/upstream) is the gateway \
                 itself, or leads to it"
            )))
        }
        None if count >= MOST => Err(Error::loop_detected(format!(
            "the call has passed {count} gateways, and may pass {MOST}: their servers (weirgate.dev/upstream) lead from one to \
             the next"
        ))),
        None => Ok(()),
    }
}

/// The gateways that a call has passed, as a header of a call that is made of it.
pub fn of(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut values = headers.get_all(VIA).iter();
    let first = values.next()?;
    let mut all = first.as_bytes().to_vec();
    for value in values {
        all.extend_from_slice(b", ");
        all.extend_from_slice(value.as_bytes());
    }
    HeaderValue::from_bytes(&all).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (VIA, value.parse().unwrap())).collect()
    }

    #[test]
    fn a_call_that_has_been_here_is_known() {
        let mut headers = passed(&["1, 2", "3"]);
        assert_eq!(check(&headers), Ok(()));
        let mut added = Vec::new();
        add(&mut added);
        headers.extend(added);
        assert_eq!(headers.get_all(VIA).iter().count(), 3);
        let error = check(&headers).unwrap_err();
        assert!(error.row().http == 508 && error.message().contains("to this gateway at once"), "{error}");
        headers.append(VIA, HeaderValue::from_static("4,5"));
        assert!(check(&headers).unwrap_err().message().contains("by way of 2 others"));
        assert_eq!(check(&HeaderMap::new()), Ok(()));
    }

    #[test]
    fn a_call_passes_so_many_gateways_and_no_more() {
        let chain = |count: usize| (0..count).map(|number| number.to_string()).collect::<Vec<_>>().join(",");
        assert_eq!(check(&passed(&[&chain(MOST - 1)])), Ok(()));
        let error = check(&passed(&[&chain(MOST)])).unwrap_err();
        assert!(error.message().contains("has passed 16 gateways, and may pass 16"), "{error}");
    }

    #[test]
    fn the_gateways_of_a_call_are_one_header_of_another() {
        assert_eq!(of(&HeaderMap::new()), None);
        assert_eq!(of(&passed(&["1,2", "3"])).unwrap(), "1,2, 3");
    }
}
