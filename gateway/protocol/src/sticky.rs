//! What makes calls belong together, so that all of them go to the same revision.

use std::fmt;

/// Where a call carries the key that it sticks by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StickyKey {
    /// The value of a header or of gRPC metadata; the name in lower case.
    Header(Box<str>),
    /// The value of a cookie.
    Cookie(Box<str>),
}

impl StickyKey {
    /// What may be written.
    pub const ALLOWED: &str = "header:NAME or cookie:NAME";

    /// Reads `header:NAME` or `cookie:NAME`.
    pub fn parse(text: &str) -> Option<StickyKey> {
        let (place, name) = text.split_once(':')?;
        // The characters of a token in RFC 9110, which header and cookie names are.
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || name.len() > 128 || !name.bytes().all(token) {
            return None;
        }
        match place {
            "header" => Some(StickyKey::Header(name.to_ascii_lowercase().into())),
            "cookie" => Some(StickyKey::Cookie(name.into())),
            _ => None,
        }
    }
}

impl fmt::Display for StickyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StickyKey::Header(name) => write!(f, "header:{name}"),
            StickyKey::Cookie(name) => write!(f, "cookie:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_places_and_nothing_else() {
        assert_eq!(StickyKey::parse("header:X-User").map(|key| key.to_string()), Some("header:x-user".to_owned()));
        assert_eq!(StickyKey::parse("cookie:SID").map(|key| key.to_string()), Some("cookie:SID".to_owned()));
        for bad in ["", "header", "header:", "query:user", "header:a b", "Header:a", "cookie:ä"] {
            assert_eq!(StickyKey::parse(bad), None, "{bad}");
        }
    }
}
