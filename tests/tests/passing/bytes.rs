//! What arrives at a server is what its client sent, and the other way round.

use http::HeaderMap;
use hyper::body::Frame;
use weirgate_tests::http::{get, post, with};
use weirgate_tests::{Http1, Http2, Server};

use crate::upstream::{Upstream, far, full, streamed};

/// Bytes that no codec would write like this.
const BODY: &str =
    "{ \"inputs\" :\t[{\"name\":\"x\",\"shape\":[1],\"datatype\":\"FP32\",\"data\":[1e0]} ] , \"odd\": 1.50 }";

#[tokio::test]
async fn complaint_46_a_predictions_bytes_are_the_same_both_ways() {
    const ANSWER: &str = "{ \"outputs\": [ ],\n\"model_name\":\"far\" , \"x\" : 1.0e+0}";
    let upstream = Upstream::start(|_, _| async { full(200, ANSWER) }).await;
    let server = Server::start([far(&[&upstream])]).await;
    let mut http1 = Http1::connect(server.data).await;
    let http2 = Http2::connect(server.data).await;
    for (index, path) in ["/v2/models/far/infer", "/default/far/v2/models/far/infer?a=b%20c"].into_iter().enumerate() {
        let request = || with(post(path, BODY), "x-mine", "1");
        for reply in [http1.send(request()).await, http2.send(request()).await] {
            assert_eq!((reply.status, reply.text().as_str()), (200, ANSWER), "{reply:?}");
            assert!(reply.header("x-weirgate-revision").is_some() && reply.header("x-weirgate-overhead-us").is_some());
            assert!(reply.header("server-timing").is_some(), "{reply:?}");
        }
        let seen = &upstream.state.seen()[2 * index..];
        for seen in seen {
            assert_eq!((seen.method.as_str(), seen.body.as_ref()), ("POST", BODY.as_bytes()));
            assert_eq!(seen.path, path.strip_prefix("/default/far").unwrap_or(path));
            assert_eq!(seen.headers.get("x-mine").unwrap(), "1");
        }
    }
}

#[tokio::test]
async fn headers_of_one_connection_stay_on_it_and_others_are_passed() {
    let upstream = Upstream::start(|_, _| async {
        let mut answer = full(200, "{}");
        for (name, value) in [("keep-alive", "timeout=9"), ("x-theirs", "2"), ("content-encoding", "odd")] {
            answer.headers_mut().insert(name, value.parse().unwrap());
        }
        answer
    })
    .await;
    let server = Server::start([far(&[&upstream])]).await;
    let mut client = Http1::connect(server.data).await;
    let mut request = post("/v2/models/far/infer", BODY);
    for (name, value) in [
        ("connection", "x-hop"),
        ("x-hop", "1"),
        ("te", "gzip"),
        ("authorization", "Bearer theirs"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("x-request-id", "my-id"),
        ("x-request-timeout-seconds", "30"),
    ] {
        request = with(request, name, value);
    }
    let reply = client.send(request).await;
    assert_eq!((reply.header("x-theirs"), reply.header("content-encoding")), (Some("2"), Some("odd")));
    assert_eq!((reply.header("keep-alive"), reply.header("x-request-id")), (None, Some("my-id")));
    let seen = upstream.state.seen().remove(0).headers;
    let header = |name: &str| seen.get(name).map(|value| value.to_str().unwrap());
    assert_eq!([header("x-hop"), header("te"), header("connection")], [None; 3]);
    assert_eq!((header("authorization"), header("x-request-id")), (Some("Bearer theirs"), Some("my-id")));
    assert!(header("traceparent").is_some_and(|value| value.starts_with("00-0af7651916cd43dd8448eb211c80319c-")));
    assert_eq!((header("x-forwarded-for"), header("x-forwarded-proto")), (Some("127.0.0.1"), Some("http")));
    let left: f64 = header("x-request-timeout-seconds").unwrap().parse().unwrap();
    assert!(left > 0.0 && left <= 30.0, "{left}");
    assert_eq!(header("host"), Some(upstream.address.to_string().as_str()));
}

#[tokio::test]
async fn a_servers_own_refusals_and_failures_are_passed_as_they_are() {
    let upstream = Upstream::start(|_, seen| async move {
        let status = std::str::from_utf8(&seen.body).unwrap().parse().unwrap();
        let mut answer = full(status, "{\"theirs\": true}");
        answer.headers_mut().insert("retry-after", "7".parse().unwrap());
        answer
    })
    .await;
    let server = Server::start([far(&[&upstream])]).await;
    let mut client = Http1::connect(server.data).await;
    for status in [204, 302, 404, 422] {
        let reply = client.send(post("/v2/models/far/infer", status.to_string())).await;
        assert_eq!((reply.status, reply.header("retry-after")), (status, Some("7")), "{reply:?}");
    }
    for status in [500, 502] {
        let reply = client.send(post("/v2/models/far/infer", status.to_string())).await;
        assert_eq!((reply.status, reply.text().as_str()), (status, "{\"theirs\": true}"), "{reply:?}");
    }
    assert_eq!(upstream.state.count(), 6, "nothing is repeated");
}

#[tokio::test]
async fn trailers_are_passed_over_h2() {
    let upstream = Upstream::start(|_, _| async {
        let (frames, answer) = streamed("application/grpc");
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "abc".parse().unwrap());
        frames.send(Ok(Frame::data("data".into()))).unwrap();
        frames.send(Ok(Frame::trailers(trailers))).unwrap();
        answer
    })
    .await;
    // Only h2 has trailers that a client need not ask for.
    let service = far(&[&upstream]);
    let server = Server::start([service]).await;
    let client = Http2::connect(server.data).await;
    let reply = client.send(with(get("/default/far/anything"), "te", "trailers")).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "data"));
}
