//! What of a call's headers is for the next server, and what was for us.
//!
//! `Trailer` stays: trailers are passed on, both ways. `Via` is not written: it would tell of us, and helps nobody.

use std::net::IpAddr;

use http::header::{CONNECTION, TE};
use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Headers that are added to a caller's on the way to a server; more of them than that cost an allocation.
const MOST_ADDED: usize = 8;

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

/// A request's headers for the next server, of those that the caller sent and `keeps` lets pass. It adds the peer to
/// `x-forwarded-for`; the protocol and the host are those of the first proxy on the way, which may be us. The transport says
/// `host` and how long the body is.
pub fn request_headers(
    given: &HeaderMap,
    forwarded: &Forwarded<'_>,
    mut keeps: impl FnMut(&HeaderName) -> bool,
) -> Vec<(HeaderName, HeaderValue)> {
    let of_connection = named_by_connection(given);
    let mut headers = Vec::with_capacity(given.len() + MOST_ADDED);
    let (mut takes_trailers, mut has_proto, mut has_host) = (false, false, false);
    let mut host = None;
    let mut way: SmallVec<[&HeaderValue; 2]> = SmallVec::new();
    for (name, value) in given {
        let text = name.as_str();
        if text == "te" {
            takes_trailers |= names(value).any(|name| name.eq_ignore_ascii_case("trailers"));
        }
        if is_hop_by_hop(name) || of_connection.iter().any(|named| named.eq_ignore_ascii_case(text)) {
            continue;
        }
        match text {
            "host" => {
                host.get_or_insert(value);
                continue;
            }
            "x-forwarded-for" => {
                way.push(value);
                continue;
            }
            "x-forwarded-proto" => has_proto = true,
            "x-forwarded-host" => has_host = true,
            _ => {}
        }
        if keeps(name) {
            headers.push((name.clone(), value.clone()));
        }
    }
    if takes_trailers {
        headers.push((TE, HeaderValue::from_static("trailers")));
    }
    match forwarded.peer {
        Some(peer) => headers.extend(with_peer(&way, peer).map(|way| (FORWARDED_FOR, way))),
        None => headers.extend(way.into_iter().map(|value| (FORWARDED_FOR, value.clone()))),
    }
    if !has_proto {
        headers.push((FORWARDED_PROTO, HeaderValue::from_static(forwarded.proto)));
    }
    if !has_host {
        let given = || HeaderValue::from_str(forwarded.host?).ok();
        headers.extend(host.cloned().or_else(given).map(|host| (FORWARDED_HOST, host)));
    }
    headers
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
    let named = named_by_connection(headers).into_iter();
    removed.extend(named.filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok()));
    for name in removed {
        headers.remove(name);
    }
}

/// What `connection` says concerns the connection. How long a body is concerns whoever reads it, and so does the host: nobody
/// may have those removed.
fn named_by_connection(headers: &HeaderMap) -> SmallVec<[&str; 4]> {
    let is_essential = |name: &&str| ["content-length", "host"].iter().any(|own| name.eq_ignore_ascii_case(own));
    let values = headers.iter().filter(|(name, _)| *name == CONNECTION);
    values.flat_map(|(_, value)| names(value)).filter(|name| !is_essential(name)).collect()
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

/// The members of a list, without their parameters.
fn names(value: &HeaderValue) -> impl Iterator<Item = &str> {
    let list = value.to_str().unwrap_or_default();
    list.split(',').map(|member| member.split(';').next().unwrap_or_default().trim())
}

/// The way of a call so far, and its last hop.
fn with_peer(way: &[&HeaderValue], peer: IpAddr) -> Option<HeaderValue> {
    let mut list: SmallVec<[u8; 64]> = SmallVec::new();
    for before in way.iter().filter_map(|value| value.to_str().ok()) {
        list.extend_from_slice(before.as_bytes());
        list.extend_from_slice(b", ");
    }
    match peer.to_canonical() {
        // By hand: the formatter takes a thousand instructions for it.
        IpAddr::V4(peer) => {
            for (index, octet) in peer.octets().into_iter().enumerate() {
                if index > 0 {
                    list.push(b'.');
                }
                if octet >= 100 {
                    list.push(b'0' + octet / 100);
                }
                if octet >= 10 {
                    list.push(b'0' + octet / 10 % 10);
                }
                list.push(b'0' + octet % 10);
            }
        }
        IpAddr::V6(peer) => list.extend_from_slice(peer.to_string().as_bytes()),
    }
    HeaderValue::from_bytes(&list).ok()
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

    fn sent(given: &HeaderMap) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in request_headers(given, &HERE, |name| *name != "x-ours") {
            map.append(name, value);
        }
        map
    }

    #[test]
    fn what_concerns_one_connection_goes_and_the_rest_stays() {
        let headers = map(&[
            ("host", "a"),
            ("x-ours", "1"),
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
        let expected = map(&[
            ("content-length", "3"),
            ("te", "trailers"),
            ("trailer", "x-sum"),
            ("authorization", "Bearer abc"),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "a"),
        ]);
        assert_eq!(sent(&headers), expected);
    }

    #[test]
    fn the_way_so_far_is_kept() {
        let headers =
            map(&[("x-forwarded-for", "1.2.3.4"), ("x-forwarded-for", "5.6.7.8"), ("x-forwarded-proto", "https")]);
        let expected = map(&[
            ("x-forwarded-for", "1.2.3.4, 5.6.7.8, 127.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "authority"),
        ]);
        assert_eq!(sent(&headers), expected);
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
