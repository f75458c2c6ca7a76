//! Where a request goes, besides to a model: what its path began with, its host, the revision it asks for, and the key that
//! it sticks by. Each is looked at only when it can matter.

use std::sync::Arc;

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Uri, header};
use weirgate_protocol::{Error, ErrorCode, Result, StickyKey};
use weirgate_router::Wanted;

use crate::auth::Caller;

/// The revision that is asked for, and the one that answered.
pub const REVISION: HeaderName = HeaderName::from_static("x-weirgate-revision");

/// `/{namespace}/{label}`, which a path may begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix<'a> {
    pub namespace: &'a str,
    pub label: &'a str,
}

impl<'a> Prefix<'a> {
    /// The path's prefix and the rest, which may be empty.
    pub fn split(path: &'a str) -> Option<(Prefix<'a>, &'a str)> {
        let (namespace, after) = path.strip_prefix('/')?.split_once('/')?;
        let length = after.find('/').unwrap_or(after.len());
        let (label, rest) = after.split_at(length);
        (!namespace.is_empty() && !label.is_empty()).then_some((Prefix { namespace, label }, rest))
    }

    /// The error where no service has this name.
    pub fn unknown(&self) -> Error {
        let shown = |text: &str| text.chars().take(64).collect::<String>();
        Error::not_found(format!("namespace '{}' has no service '{}'", shown(self.namespace), shown(self.label)))
    }
}

/// A prefix that has been taken off a request's path, kept with the request.
#[derive(Clone, Debug)]
pub struct TakenPrefix {
    namespace: Box<str>,
    label: Box<str>,
}

impl From<Prefix<'_>> for TakenPrefix {
    fn from(prefix: Prefix<'_>) -> Self {
        TakenPrefix { namespace: prefix.namespace.into(), label: prefix.label.into() }
    }
}

impl TakenPrefix {
    pub fn as_prefix(&self) -> Prefix<'_> {
        Prefix { namespace: &self.namespace, label: &self.label }
    }
}

/// A request's address. The default is that of a call which names a model and nothing else.
#[derive(Clone, Copy, Debug, Default)]
pub struct Address<'a> {
    pub prefix: Option<Prefix<'a>>,
    head: Option<(&'a Uri, &'a HeaderMap)>,
    /// The head has no header of ours.
    is_plain: bool,
    /// It was looked up, and names no service.
    is_nobodys: bool,
    /// Who asks: what it may not use is not there for it.
    caller: Option<&'a Caller>,
}

impl<'a> Address<'a> {
    /// The address of a request whose prefix is known.
    pub fn new(prefix: Option<Prefix<'a>>, parts: &'a http::request::Parts) -> Address<'a> {
        let (head, caller) = (Some((&parts.uri, &parts.headers)), caller(&parts.extensions));
        Address { prefix, head, caller, ..Address::default() }
    }

    /// The same address of a head that is known to have none of our headers, where `is_plain`: they are not looked for.
    pub fn plain(self, is_plain: bool) -> Address<'a> {
        Address { is_plain, ..self }
    }

    /// The same address, which was found to name no service: that is not looked up again.
    pub fn nobodys(self) -> Address<'a> {
        Address { is_nobodys: true, ..self }
    }

    pub fn is_nobodys(&self) -> bool {
        self.is_nobodys
    }

    /// The address of a request that came through a router.
    pub fn of<B>(request: &'a http::Request<B>) -> Address<'a> {
        let prefix = request.extensions().get::<TakenPrefix>().map(TakenPrefix::as_prefix);
        let (head, caller) = (Some((request.uri(), request.headers())), caller(request.extensions()));
        Address { prefix, head, caller, ..Address::default() }
    }

    /// The same of its head alone.
    pub fn of_parts(parts: &'a http::request::Parts) -> Address<'a> {
        let prefix = parts.extensions.get::<TakenPrefix>().map(TakenPrefix::as_prefix);
        Address::new(prefix, parts)
    }

    /// The address of a call that names a model and nothing else, by this caller.
    pub fn of_caller(caller: &'a Caller) -> Address<'a> {
        Address { caller: Some(caller), ..Address::default() }
    }

    /// Whether a service is there for whoever asks.
    pub fn may_use(&self, namespace: &str, name: &str) -> bool {
        self.caller.is_none_or(|caller| caller.may_use(namespace, name))
    }

    /// What was looked up, if whoever asks may use it. Who may not use everything gets one and the same answer for what is
    /// not there and for what is not its own.
    pub fn permit<T>(&self, found: Result<T>, service: impl FnOnce(&T) -> Option<(&str, &str)>) -> Result<T> {
        let Some(caller) = self.caller.filter(|caller| caller.is_restricted()) else { return found };
        match found {
            Ok(found) if service(&found).is_none_or(|(namespace, name)| caller.may_use(namespace, name)) => Ok(found),
            Err(error) if !matches!(error.code(), ErrorCode::NotFound | ErrorCode::Conflict) => Err(error),
            _ => Err(caller.refuse_service()),
        }
    }

    /// `:authority`, or the `Host` header; a host that is no text is nobody's.
    pub fn host(&self) -> Option<&'a str> {
        let (uri, headers) = self.head?;
        uri.host().or_else(|| headers.get(header::HOST)?.to_str().ok())
    }

    /// The page that a browser sends the request for, where it is of another origin than this host and port.
    pub fn foreign_origin(&self) -> Option<&'a HeaderValue> {
        let (uri, headers) = self.head?;
        let own = uri.authority().map(|authority| authority.as_str().as_bytes());
        let own = own.or_else(|| headers.get(header::HOST).map(HeaderValue::as_bytes));
        headers.get_all(header::ORIGIN).iter().find(|origin| {
            let origin = origin.as_bytes();
            let page = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
            !page.zip(own).is_some_and(|(page, own)| page.eq_ignore_ascii_case(own))
        })
    }

    /// The revision that the header asks for.
    pub fn revision(&self) -> Result<Wanted<'a>> {
        if self.is_plain {
            return Ok(Wanted::Any);
        }
        let Some(value) = self.head.and_then(|(_, headers)| headers.get(REVISION)) else { return Ok(Wanted::Any) };
        let text = std::str::from_utf8(value.as_bytes()).map_err(|_| {
            Error::invalid("header x-weirgate-revision is not UTF-8: give stable, latest, or a revision's name")
        })?;
        Ok(Wanted::parse(text))
    }

    /// The request's headers, where it has any.
    pub fn headers(&self) -> Option<&'a HeaderMap> {
        self.head.map(|(_, headers)| headers)
    }

    /// The value of a header of ours, if the request carries one that is not empty.
    pub fn own_header(&self, name: &HeaderName) -> Option<&'a [u8]> {
        if self.is_plain {
            return None;
        }
        let value = self.head?.1.get(name)?.as_bytes();
        (!value.is_empty()).then_some(value)
    }

    /// The value of the key, if the request carries one.
    pub fn key(&self, key: &StickyKey) -> Option<&'a [u8]> {
        let (_, headers) = self.head?;
        let value = match key {
            StickyKey::Header(name) => headers.get(&**name)?.as_bytes(),
            StickyKey::Cookie(name) => cookie(headers, name.as_bytes())?,
        };
        (!value.is_empty()).then_some(value)
    }
}

fn caller(extensions: &Extensions) -> Option<&Caller> {
    extensions.get::<Arc<Caller>>().map(Arc::as_ref)
}

fn cookie<'a>(headers: &'a HeaderMap, name: &[u8]) -> Option<&'a [u8]> {
    let values = headers.get_all(header::COOKIE).iter();
    let mut pairs = values.flat_map(|value| value.as_bytes().split(|&byte| byte == b';'));
    pairs.find_map(|pair| pair.trim_ascii().strip_prefix(name)?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Address<'a> {
        Address { head: Some((uri, headers)), ..Address::default() }
    }

    #[test]
    fn a_prefix_is_two_parts_before_more() {
        let prefix = Prefix { namespace: "ns", label: "a" };
        assert_eq!(Prefix::split("/ns/a/v2/models/a"), Some((prefix, "/v2/models/a")));
        assert_eq!(Prefix::split("/ns/a/"), Some((prefix, "/")));
        assert_eq!(Prefix::split("/ns/a"), Some((prefix, "")));
        for other in ["", "/", "/ns", "/ns/", "//a/v2", "/ns//v2", "ns/a/v2"] {
            assert_eq!(Prefix::split(other), None, "{other}");
        }
    }

    #[test]
    fn the_host_of_either_version() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("a.ns:80"));
        let one = Uri::from_static("/v2");
        assert_eq!(at(&one, &headers).host(), Some("a.ns:80"));
        let two = Uri::from_static("http://b.ns:80/v2");
        assert_eq!(at(&two, &headers).host(), Some("b.ns"));
        assert_eq!(Address::default().host(), None);
    }

    #[test]
    fn a_page_of_another_origin_is_told_apart() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("a.ns:80"));
        for (origin, foreign) in [
            (None, false),
            (Some("http://a.ns:80"), false),
            (Some("https://A.NS:80"), false),
            (Some("http://a.ns"), true),
            (Some("http://a.ns:81"), true),
            (Some("null"), true),
            (Some("a.ns:80"), true),
        ] {
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            let uri = Uri::from_static("/");
            assert_eq!(at(&uri, &headers).foreign_origin().is_some(), foreign, "{origin:?}");
        }
    }

    #[test]
    fn keys_of_both_places() {
        let mut headers = HeaderMap::new();
        headers.insert("x-user", HeaderValue::from_static("alice"));
        headers.append(header::COOKIE, HeaderValue::from_static("sid2=no; empty=; SID=other"));
        headers.append(header::COOKIE, HeaderValue::from_static("a=b;sid=7"));
        let uri = Uri::from_static("/");
        let address = at(&uri, &headers);
        let key = |text| address.key(&StickyKey::parse(text).unwrap());
        assert_eq!(key("header:X-User"), Some(&b"alice"[..]));
        assert_eq!(key("cookie:sid"), Some(&b"7"[..]));
        assert_eq!([key("cookie:empty"), key("cookie:none"), key("header:none")], [None; 3]);
    }

    #[test]
    fn the_revision_that_is_asked_for() {
        let uri = Uri::from_static("/");
        let mut headers = HeaderMap::new();
        assert_eq!(at(&uri, &headers).revision(), Ok(Wanted::Any));
        headers.insert(REVISION, HeaderValue::from_static("latest"));
        assert_eq!(at(&uri, &headers).revision(), Ok(Wanted::Latest));
        headers.insert(REVISION, HeaderValue::from_bytes(b"\xff").unwrap());
        assert!(at(&uri, &headers).revision().is_err());
    }
}
