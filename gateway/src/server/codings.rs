//! What heads say of content codings: how a request's body is encoded, and how its client takes the answer.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use weirgate_protocol::{Error, Result};

use super::body::BodyLimit;
use super::encoding::{Encoding, compress, decompress};

/// The value of `Accept-Encoding` that says what is read here.
pub const READ_HERE: HeaderValue = HeaderValue::from_static("zstd, gzip, deflate, identity");
/// More would only be a way to hide how much a body becomes.
const MOST_CODINGS: usize = 2;
/// Below this an answer fits into one packet or so, and compressing it only costs time.
const LEAST_BODY: usize = 1 << 10;

/// The codings of a request's body, in the order in which they were applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Codings([Option<Encoding>; MOST_CODINGS]);

impl From<Encoding> for Codings {
    fn from(coding: Encoding) -> Self {
        Codings([Some(coding), None])
    }
}

impl Codings {
    /// Reads `Content-Encoding`; what can't be undone is [`Error::unsupported_media`].
    pub fn of(headers: &HeaderMap) -> Result<Codings> {
        let mut codings = Codings::default();
        if !headers.contains_key(header::CONTENT_ENCODING) {
            return Ok(codings);
        }
        let mut places = codings.0.iter_mut();
        for name in items(headers.get_all(header::CONTENT_ENCODING)) {
            if name.eq_ignore_ascii_case(b"identity") {
                continue;
            }
            let coding = Encoding::parse(name).ok_or_else(|| {
                let shown: String = String::from_utf8_lossy(name).chars().take(32).collect();
                Error::unsupported_media(format!(
                    "content-encoding '{shown}' is not read here: send zstd, gzip, deflate or the body as it is"
                ))
            })?;
            let place = places.next().ok_or_else(|| {
                Error::unsupported_media(format!("content-encoding names more than {MOST_CODINGS} codings: send fewer"))
            })?;
            *place = Some(coding);
        }
        Ok(codings)
    }

    pub fn is_identity(self) -> bool {
        self == Codings::default()
    }

    /// The same for a message behind `framing` bytes, which stay where there is nothing to undo, and else are gone.
    pub fn undo_framed(
        self,
        body: Bytes,
        framing: usize,
        limit: BodyLimit,
        cover: impl FnMut(usize) -> Result<()>,
    ) -> Result<Bytes> {
        let skipped = if self.is_identity() { 0 } else { framing.min(body.len()) };
        self.undo(body.slice(skipped..), limit, cover)
    }

    /// The body as it was before the codings. `cover` as in [`decompress`].
    pub fn undo(self, mut body: Bytes, limit: BodyLimit, mut cover: impl FnMut(usize) -> Result<()>) -> Result<Bytes> {
        for coding in self.0.into_iter().rev().flatten() {
            body = decompress(coding, &body, limit, &mut cover)?;
        }
        Ok(body)
    }
}

/// How a client takes an answer, from its `Accept-Encoding`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// The header was there, so another value could make another answer.
    negotiated: bool,
    coding: Option<Encoding>,
    /// `identity;q=0`: even a small answer is to be encoded.
    refuses_identity: bool,
}

impl Accepted {
    /// What can't be read in the header is left out: an answer as it is suits everybody.
    pub fn of(headers: &HeaderMap) -> Accepted {
        if !headers.contains_key(header::ACCEPT_ENCODING) {
            return Accepted::default();
        }
        let weights = Weights::read(items(headers.get_all(header::ACCEPT_ENCODING)));
        // Of equal weights the first wins.
        let mut best = None;
        for coding in [Encoding::Zstd, Encoding::Gzip, Encoding::Deflate] {
            let weight = weights.of(coding);
            if weight > best.map_or(0, |(weight, _)| weight) {
                best = Some((weight, coding));
            }
        }
        let identity = weights.identity.or(weights.others.filter(|weight| *weight == 0));
        let preferred = |(weight, _): &(u16, Encoding)| identity.is_none_or(|identity| *weight >= identity);
        Accepted {
            negotiated: true,
            coding: best.filter(preferred).map(|(_, coding)| coding),
            refuses_identity: identity == Some(0),
        }
    }

    /// Whether an answer may be compressed for this client.
    pub fn any(self) -> bool {
        self.coding.is_some()
    }

    /// Compresses an answer of these parts if its client wants that and it is large enough; says in `headers` what it did.
    pub fn apply(self, parts: Vec<Bytes>, headers: &mut HeaderMap) -> Result<Vec<Bytes>> {
        if !self.negotiated {
            return Ok(parts);
        }
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        let length: usize = parts.iter().map(Bytes::len).sum();
        let Some(coding) = self.coding.filter(|_| self.refuses_identity || length >= LEAST_BODY) else {
            return Ok(parts);
        };
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
        Ok(vec![compress(coding, &parts)?])
    }
}

/// Weights in thousandths, of those that the header names.
#[derive(Default)]
struct Weights {
    gzip: Option<u16>,
    deflate: Option<u16>,
    zstd: Option<u16>,
    identity: Option<u16>,
    others: Option<u16>,
}

impl Weights {
    fn read<'a>(items: impl Iterator<Item = &'a [u8]>) -> Weights {
        let mut weights = Weights::default();
        for item in items {
            let mut parts = item.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
            let name = parts.next().unwrap_or_default();
            let Some(weight) = parts.next().map_or(Some(1_000), weight) else { continue };
            let place = match Encoding::parse(name) {
                Some(Encoding::Gzip) => &mut weights.gzip,
                Some(Encoding::Deflate) => &mut weights.deflate,
                Some(Encoding::Zstd) => &mut weights.zstd,
                None if name == b"*" => &mut weights.others,
                None if name.eq_ignore_ascii_case(b"identity") => &mut weights.identity,
                None => continue,
            };
            *place = Some(weight);
        }
        weights
    }

    fn of(&self, coding: Encoding) -> u16 {
        let named = match coding {
            Encoding::Gzip => self.gzip,
            Encoding::Deflate => self.deflate,
            Encoding::Zstd => self.zstd,
        };
        named.or(self.others).unwrap_or(0)
    }
}

/// `q=0.5` in thousandths.
fn weight(text: &[u8]) -> Option<u16> {
    let value = text.strip_prefix(b"q=").or_else(|| text.strip_prefix(b"Q="))?;
    let value: f32 = std::str::from_utf8(value).ok()?.parse().ok()?;
    (0.0..=1.0).contains(&value).then_some((value * 1_000.0).round() as u16)
}

/// The items of all values of a list header.
fn items<'a>(values: http::header::GetAll<'a, HeaderValue>) -> impl Iterator<Item = &'a [u8]> {
    let items = values.into_iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    items.map(<[u8]>::trim_ascii).filter(|item| !item.is_empty())
}

#[cfg(test)]
mod tests {
    use weirgate_protocol::ErrorCode;

    use super::*;

    fn headers(name: http::HeaderName, values: &[&str]) -> HeaderMap {
        let value = |value: &&str| (name.clone(), HeaderValue::from_str(value).unwrap());
        values.iter().map(value).collect()
    }

    #[test]
    fn a_list_of_codings_is_undone_from_its_end() {
        let of = |values: &[&str]| Codings::of(&headers(header::CONTENT_ENCODING, values));
        for none in [&[][..], &["identity"], &["Identity, identity", "identity"], &[""], &[","]] {
            assert!(of(none).unwrap().is_identity(), "{none:?}");
        }
        let text = Bytes::from_static(b"text");
        let twice =
            compress(Encoding::Zstd, &[compress(Encoding::Gzip, std::slice::from_ref(&text)).unwrap()]).unwrap();
        let limit = BodyLimit { bytes: 1 << 10, set_by: "flag --max-body" };
        for both in [&["x-gzip, identity, zstd"][..], &["GZIP", "zstd"]] {
            assert_eq!(of(both).unwrap().undo(twice.clone(), limit, |_| Ok(())).unwrap(), text, "{both:?}");
        }
        for (wrong, named) in [("br", "'br'"), ("gzip, gzip, gzip", "more than 2"), ("gzip;q=1", "'gzip;q=1'")] {
            let error = of(&[wrong]).unwrap_err();
            assert_eq!(error.code(), ErrorCode::UnsupportedMedia);
            assert!(error.message().contains(named), "{error}");
        }
    }

    #[test]
    fn the_clients_weights_choose() {
        let of = |values: &[&str]| Accepted::of(&headers(header::ACCEPT_ENCODING, values)).coding;
        for (accepted, expected) in [
            ("gzip, deflate", Some(Encoding::Gzip)),
            ("gzip, deflate, br, zstd", Some(Encoding::Zstd)),
            ("deflate", Some(Encoding::Deflate)),
            ("zstd;q=0.2, x-gzip;q=0.3, deflate;q=0.25", Some(Encoding::Gzip)),
            ("*", Some(Encoding::Zstd)),
            ("*, zstd;q=0", Some(Encoding::Gzip)),
            ("gzip;q=0, *;q=0", None),
            ("gzip;q=0", None),
            ("identity", None),
            ("identity, gzip;q=0.5", None),
            ("identity;q=0.5, gzip;q=0.5", Some(Encoding::Gzip)),
            ("identity;q=0, gzip", Some(Encoding::Gzip)),
            ("br", None),
            ("gzip;q=2", None),
            ("gzip;level=9", None),
            ("", None),
        ] {
            assert_eq!(of(&[accepted]), expected, "{accepted}");
        }
        assert_eq!(of(&["br", "gzip"]), Some(Encoding::Gzip));
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn small_answers_stay_as_they_are_unless_that_is_refused() {
        let applied = |accept: &[&str], length: usize| {
            let mut head = HeaderMap::new();
            let accepted = Accepted::of(&headers(header::ACCEPT_ENCODING, accept));
            let parts = accepted.apply(vec![vec![b'x'; length].into()], &mut head).unwrap();
            let value = |name| head.get(name).map(|value| value.to_str().unwrap().to_owned());
            (parts[0].len() == length, value(header::CONTENT_ENCODING), value(header::VARY))
        };
        let varies = Some("accept-encoding".to_owned());
        assert_eq!(applied(&[], 4096), (true, None, None));
        assert_eq!(applied(&["gzip"], 1023), (true, None, varies.clone()));
        assert_eq!(applied(&["gzip"], 1024), (false, Some("gzip".to_owned()), varies.clone()));
        assert_eq!(applied(&["gzip, identity;q=0"], 10), (false, Some("gzip".to_owned()), varies.clone()));
        assert_eq!(applied(&["zstd, *;q=0"], 10), (false, Some("zstd".to_owned()), varies));
    }
}
