//! What of a call's headers is for the next server, and what was for us.
//!
//! `Trailer` stays: trailers are passed on, both ways. `Via` is not written: it would tell of us, and helps nobody.

use std::fmt::Write;
use std::net::IpAddr;

use http::header::{CONNECTION, HOST, TE};
use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// How a call came to us.
#[derive(Clone, Copy, Debug)]
pub struct Forwarded<'a> {
    /// Whose connection it came on; none for a Unix socket.
    pub peer: Option<IpAddr>,
    /// `http` or `https`.
    pub proto: &'static str,
    /// h2's `:authority`; none where the call has a `host` header.
    pub host: Option<&'a str>,
}

/// Makes a request's headers those for the next server. It adds the peer to `x-forwarded-for`; the protocol and the host are
/// those of the first proxy on the way, which may be us. The transport says `host` and how long the body is.
pub fn request_headers(headers: &mut HeaderMap, forwarded: &Forwarded<'_>) {
    let takes_trailers = headers.get_all(TE).iter().any(|value| names(value).any(|name| name == "trailers"));
    remove_hop_by_hop(headers);
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if let Some(peer) = forwarded.peer {
        add_peer(headers, peer);
    }
    if !headers.contains_key(FORWARDED_PROTO) {
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(forwarded.proto));
    }
    let host = headers.remove(HOST);
    if !headers.contains_key(FORWARDED_HOST) {
        let given = || HeaderValue::from_str(forwarded.host?).ok();
        if let Some(host) = host.or_else(given) {
            headers.insert(FORWARDED_HOST, host);
        }
    }
}

/// Makes an answer's headers those for the client.
pub fn response_headers(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
}

/// Makes trailers those for whoever comes next. They were not looked at by anybody who decides by headers: what says where a
/// message ends, where it goes, who sends it or how it came must stand in the head, or it could get past those who check it
/// there.
pub fn trailers(trailers: &mut HeaderMap) {
    let removed: SmallVec<[HeaderName; 8]> = trailers.keys().filter(|name| is_for_heads(name)).cloned().collect();
    for name in removed {
        trailers.remove(name);
    }
}

fn is_for_heads(name: &HeaderName) -> bool {
    const OF_HEADS: [&str; 17] = [
        "authorization",
        "cache-control",
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "cookie",
        "forwarded",
        "host",
        "location",
        "max-forwards",
        "set-cookie",
        "trailer",
        "www-authenticate",
        "x-api-key",
        "x-real-ip",
        "x-request-id",
    ];
    let text = name.as_str();
    is_hop_by_hop(name)
        || OF_HEADS.contains(&text)
        || ["access-control-", "x-forwarded-", "x-weirgate-"].iter().any(|family| text.starts_with(family))
}

/// Removes what concerns one connection only, and what `connection` says does so.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let mut removed: SmallVec<[HeaderName; 8]> = headers.keys().filter(|name| is_hop_by_hop(name)).cloned().collect();
    if removed.is_empty() {
        return;
    }
    for value in headers.get_all(CONNECTION) {
        // How long a body is concerns whoever reads it: nobody may have that removed.
        let named = names(value).filter(|name| *name != "content-length" && *name != "host");
        removed.extend(named.filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok()));
    }
    for name in removed {
        headers.remove(name);
    }
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "expect"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// The members of a list, without their parameters, in lower case.
fn names(value: &HeaderValue) -> impl Iterator<Item = String> {
    let list = value.to_str().unwrap_or_default();
    list.split(',').map(|member| member.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

fn add_peer(headers: &mut HeaderMap, peer: IpAddr) {
    let mut list = String::with_capacity(64);
    for before in headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()) {
        list.push_str(before);
        list.push_str(", ");
    }
    match peer.to_canonical() {
        // By hand: the formatter takes a thousand instructions for it.
        IpAddr::V4(peer) => {
            for (index, octet) in peer.octets().into_iter().enumerate() {
                if index > 0 {
                    list.push('.');
                }
                list.push_str(itoa::Buffer::new().format(octet));
            }
        }
        // Writing to a text does not fail.
        IpAddr::V6(peer) => drop(write!(list, "{peer}")),
    }
    if let Ok(list) = HeaderValue::try_from(list) {
        headers.insert(FORWARDED_FOR, list);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        map
    }

    const HERE: Forwarded<'static> =
        Forwarded { peer: Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)), proto: "http", host: Some("authority") };

    #[test]
    fn what_concerns_one_connection_goes_and_the_rest_stays() {
        let mut headers = map(&[
            ("host", "a"),
            ("connection", "Keep-Alive, X-Mine"),
            ("connection", "content-length, upgrade"),
            ("keep-alive", "timeout=5"),
            ("x-mine", "1"),
            ("content-length", "3"),
            ("te", "gzip;q=1, Trailers"),
            ("trailer", "x-sum"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("expect", "100-continue"),
            ("proxy-authorization", "Basic abc"),
            ("authorization", "Bearer abc"),
        ]);
        request_headers(&mut headers, &HERE);
        let expected = map(&[
            ("content-length", "3"),
            ("te", "trailers"),
            ("trailer", "x-sum"),
            ("authorization", "Bearer abc"),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "a"),
        ]);
        assert_eq!(headers, expected);
    }

    #[test]
    fn the_way_so_far_is_kept() {
        let mut headers =
            map(&[("x-forwarded-for", "1.2.3.4"), ("x-forwarded-for", "5.6.7.8"), ("x-forwarded-proto", "https")]);
        request_headers(&mut headers, &HERE);
        let expected = map(&[
            ("x-forwarded-for", "1.2.3.4, 5.6.7.8, 127.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "authority"),
        ]);
        assert_eq!(headers, expected);
    }

    #[test]
    fn trailers_say_nothing_that_heads_decide_by() {
        let mut given = map(&[
            ("grpc-status", "0"),
            ("x-sum", "abc"),
            ("authorization", "Bearer abc"),
            ("content-length", "3"),
            ("transfer-encoding", "chunked"),
            ("connection", "x-sum"),
            ("host", "a"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-weirgate-not-executed", "1"),
            ("set-cookie", "a=b"),
        ]);
        trailers(&mut given);
        assert_eq!(given, map(&[("grpc-status", "0"), ("x-sum", "abc")]));
    }

    #[test]
    fn answers_lose_what_concerned_the_connection_to_us() {
        let mut headers = map(&[("connection", "close, x-a"), ("x-a", "1"), ("trailer", "x-sum"), ("etag", "e")]);
        response_headers(&mut headers);
        assert_eq!(headers, map(&[("trailer", "x-sum"), ("etag", "e")]));
    }
}
