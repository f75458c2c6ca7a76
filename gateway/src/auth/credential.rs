//! What a caller shows: a key or a token, in one of two headers, for every protocol alike.

use http::{HeaderMap, HeaderName, HeaderValue, header};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const BEARER: &[u8] = b"bearer ";

/// Takes the credential out of a request's head: nobody behind the edge, and no server that the call is passed to, has a
/// use for it. Where both headers are there, `x-api-key` counts, and `authorization` stays unless it says the same: it may
/// be meant for somebody else.
pub fn take(headers: &mut HeaderMap) -> Option<HeaderValue> {
    let Some(key) = headers.remove(API_KEY) else {
        let token = headers.get(header::AUTHORIZATION).and_then(bearer)?;
        headers.remove(header::AUTHORIZATION);
        return Some(token);
    };
    if headers.get(header::AUTHORIZATION).and_then(bearer).as_ref() == Some(&key) {
        headers.remove(header::AUTHORIZATION);
    }
    Some(key)
}

fn bearer(value: &HeaderValue) -> Option<HeaderValue> {
    let (scheme, token) = value.as_bytes().split_at_checked(BEARER.len())?;
    let token = scheme.eq_ignore_ascii_case(BEARER).then(|| token.trim_ascii())?;
    let mut token = HeaderValue::from_bytes(token).ok()?;
    token.set_sensitive(true);
    Some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(headers: &[(&'static str, &'static str)]) -> (Option<String>, usize) {
        let entries =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let mut headers: HeaderMap = entries.collect();
        let taken = take(&mut headers).map(|value| value.to_str().unwrap().to_owned());
        (taken, headers.len())
    }

    #[test]
    fn either_header_is_taken_and_removed() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(taken(&[("x-api-key", "k")]), (some("k"), 0));
        assert_eq!(taken(&[("authorization", "Bearer k")]), (some("k"), 0));
        assert_eq!(taken(&[("authorization", "bearer  k ")]), (some("k"), 0));
        assert_eq!(taken(&[("x-api-key", "k"), ("authorization", "Bearer k")]), (some("k"), 0));
        assert_eq!(taken(&[("x-api-key", "k"), ("authorization", "Bearer other")]), (some("k"), 1));
        assert_eq!(taken(&[("authorization", "Basic a2V5")]), (None, 1));
        assert_eq!(taken(&[("accept", "*/*")]), (None, 1));
    }
}
