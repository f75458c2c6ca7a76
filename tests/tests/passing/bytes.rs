//! What arrives at a server is what its client sent, and the other way round.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Frame;
use hyper::client::conn::http2::handshake;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use weirgate_tests::environment::binary;
use weirgate_tests::http::{get, post, with};
use weirgate_tests::process::{Folder, run};
use weirgate_tests::{Http1, Http2, Server, within};

use weirgate_tests::upstream::{Upstream, far, far_at, full, streamed};

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
    assert_eq!(seen.get_all("x-request-timeout-seconds").iter().count(), 1);
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
        for (name, value) in [("x-sum", "abc"), ("set-cookie", "a=b"), ("x-forwarded-for", "1.2.3.4")] {
            trailers.insert(name, value.parse().unwrap());
        }
        frames.send(Ok(Frame::data("data".into()))).unwrap();
        frames.send(Ok(Frame::trailers(trailers))).unwrap();
        answer
    })
    .await;
    // Only h2 has trailers that a client need not ask for.
    let service = far_at(&format!("h2c://{}", upstream.address));
    let server = Server::start([service]).await;
    let client = Http2::connect(server.data).await;
    let reply = client.send(with(get("/default/far/anything"), "te", "trailers")).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "data"));
    let names: Vec<_> = reply.trailers.keys().map(http::HeaderName::as_str).collect();
    assert_eq!(names, ["x-sum"], "what heads decide by is not taken from trailers");
}

#[tokio::test]
async fn trailers_of_a_short_body_are_passed_though_its_length_was_told() {
    let upstream = Upstream::start(|_, _| async { full(200, "{}") }).await;
    let server = Server::start([far_at(&format!("h2c://{}", upstream.address))]).await;
    let stream = TcpStream::connect(server.data).await.unwrap();
    let (mut client, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let mut driver = JoinSet::new();
    driver.spawn(async move { drop(connection.await) });
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "abc".parse().unwrap());
    trailers.insert("authorization", "Bearer late".parse().unwrap());
    let body = Full::new(Bytes::from("{}")).with_trailers(std::future::ready(Some(Ok(trailers))));
    let request = Request::post("http://weirgate.test/v2/models/far/infer").header("content-length", "2").body(body);
    let answer = within("an answer", client.send_request(request.unwrap())).await.unwrap();
    assert_eq!(answer.status(), 200);
    let seen = upstream.state.seen().remove(0);
    let trailers = seen.trailers.expect("they are passed");
    assert_eq!((seen.body, trailers.len(), trailers.get("x-sum").unwrap()), ("{}".into(), 1, &"abc".parse().unwrap()));
}

#[tokio::test]
async fn a_credential_that_was_for_the_gateway_is_not_passed_and_any_other_is() {
    let folder = Folder::new();
    let made = run(Command::new(binary()).args(["key", "new", "all", "--service", "*"]));
    let entry = String::from_utf8(made.stdout).unwrap();
    let path = folder.file("keys.yaml", &format!("keys:\n{entry}"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let key = String::from_utf8(made.stderr).unwrap().trim().to_owned();
    let upstream = Upstream::start(|_, _| async { full(200, "{}") }).await;
    let server = Server::with([far(&[&upstream])]).flag("--api-keys", path.to_str().unwrap()).start().await;
    let mut client = Http1::connect(server.data).await;
    let call = || post("/v2/models/far/infer", BODY);
    let theirs = with(with(call(), "x-api-key", &key), "authorization", "Bearer theirs");
    let ours = with(call(), "authorization", &format!("Bearer {key}"));
    for (request, passed) in [(theirs, Some("Bearer theirs")), (ours, None)] {
        assert_eq!(client.send(request).await.status, 200);
        let seen = upstream.state.seen().pop().unwrap().headers;
        assert_eq!(seen.get("authorization").map(|value| value.to_str().unwrap()), passed);
        assert!(!seen.contains_key("x-api-key"));
    }
}

#[tokio::test]
async fn a_server_is_told_the_time_that_is_left() {
    let upstream = Upstream::start(|state, _| async move {
        if state.count() == 1 {
            state.go.notified().await;
        }
        full(200, "{}")
    })
    .await;
    let server = Server::start([far(&[&upstream]).concurrency(1)]).await;
    let mut calls = JoinSet::new();
    for index in 0..2 {
        let request =
            with(with(post("/v2/models/far/infer", BODY), "x-request-timeout-seconds", "30"), "grpc-timeout", "40S");
        let address = server.data;
        calls.spawn(async move { Http1::connect(address).await.send(request).await.status });
        server.reaches("far", index, 1).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    upstream.state.go.notify_one();
    assert_eq!(within("both answers", calls.join_all()).await, [200; 2]);
    let headers = upstream.state.seen().pop().unwrap().headers;
    let only = |name: &str| {
        let values: Vec<_> = headers.get_all(name).iter().collect();
        assert_eq!(values.len(), 1, "{name}: {values:?}");
        values[0].to_str().unwrap().to_owned()
    };
    let left: f64 = only("x-request-timeout-seconds").parse().unwrap();
    assert!(left > 0.0 && left <= 29.96, "{left}");
    let left: u64 = only("grpc-timeout").strip_suffix('u').expect("microseconds").parse().unwrap();
    assert!(left <= 29_960_000, "{left}");
}
