//! HTTP/2: where a gRPC call's status stands, and what becomes of calls that end early.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use weirgate_loadtest::client::{Client, Connection, Counts, Failure};
use weirgate_loadtest::request::{Answer, Protocol, Request};

use crate::server::{listen, run};

/// A server that answers by path; `given_up` hears of calls that were dropped.
async fn serve(given_up: Arc<Notify>) -> (SocketAddr, JoinSet<()>) {
    listen(move |number, stream| {
        let given_up = given_up.clone();
        async move {
            let service = service_fn(move |request: http::Request<Incoming>| answer(number, request, given_up.clone()));
            let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        }
    })
    .await
}

type Reply = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

/// Notifies when it is dropped.
struct Dropped(Arc<Notify>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

async fn answer(
    connection: usize,
    request: http::Request<Incoming>,
    given_up: Arc<Notify>,
) -> Result<Response<Reply>, Infallible> {
    let path = request.uri().path().to_owned();
    let authority = request.uri().authority().unwrap().to_string();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let status = |code: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-status", HeaderValue::from_static(code));
        headers
    };
    let mut response = match path.as_str() {
        "/trailers-only" => {
            let mut response = Response::new(Full::default().boxed_unsync());
            response.headers_mut().extend(status("8"));
            response
        }
        "/never" => {
            let _dropped = Dropped(given_up);
            std::future::pending().await
        }
        "/no-grpc" => {
            let mut response = Response::new(Full::from("busy").boxed_unsync());
            *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
            response
        }
        "/authority" => Response::new(Full::from(authority).boxed_unsync()),
        _ => {
            let trailers = status("0");
            Response::new(Full::from(body).with_trailers(async move { Some(Ok(trailers)) }).boxed_unsync())
        }
    };
    response.headers_mut().insert("x-weirgate-revision", connection.to_string().parse().unwrap());
    response.headers_mut().insert("x-weirgate-overhead-us", HeaderValue::from_static("17"));
    Ok(response)
}

async fn connect(address: SocketAddr, drivers: &mut JoinSet<()>) -> Connection {
    Client::plain(address).unwrap().connect(Protocol::Grpc, drivers).await.unwrap()
}

fn request(path: &str, body: &[u8]) -> Request {
    Request::new(Protocol::Grpc, path, body.to_vec())
}

#[test]
fn statuses_in_trailers_and_without_a_body() {
    run(async {
        let (address, _server) = serve(Arc::default()).await;
        let mut drivers = JoinSet::new();
        let mut connection = connect(address, &mut drivers).await;
        let mut ask = async |path: &str| connection.call(&request(path, b"\0\0\0\0\x02hi"), true).await.result.unwrap();

        let answer = ask("/echo").await;
        assert!(answer.is_ok());
        assert_eq!((&answer.body[..], answer.length), (&b"\0\0\0\0\x02hi"[..], 7));
        assert_eq!((answer.revision.as_deref(), answer.overhead_us), (Some(&b"0"[..]), Some(17)));

        assert_eq!(ask("/trailers-only").await.outcome(), "grpc 8");
        let answer = ask("/no-grpc").await;
        assert_eq!((answer.is_ok(), answer.outcome().as_str()), (false, "grpc without a status (HTTP 503)"));
    });
}

#[test]
fn the_authority_is_the_targets_or_the_one_that_is_given() {
    run(async {
        let (address, _server) = serve(Arc::default()).await;
        let mut drivers = JoinSet::new();
        let mut connection = connect(address, &mut drivers).await;
        let own = request("/authority", b"");
        let given = own.clone().with_header("host", HeaderValue::from_static("models.example"));
        for (request, expected) in [(own, address.to_string()), (given, "models.example".to_owned())] {
            assert_eq!(connection.call(&request, true).await.result.unwrap().body, expected);
        }
    });
}

#[test]
fn shares_use_one_connection_at_once() {
    run(async {
        let (address, _server) = serve(Arc::default()).await;
        let mut drivers = JoinSet::new();
        let first = connect(address, &mut drivers).await;
        let mut calls = JoinSet::new();
        for _ in 0..50 {
            let mut share = first.share().unwrap();
            calls.spawn(async move { share.call(&request("/echo", &vec![7; 100_000]), false).await.result.unwrap() });
        }
        for answer in calls.join_all().await {
            assert!(answer.is_ok() && answer.body.is_empty());
            assert_eq!((answer.length, answer.revision.as_deref()), (100_000, Some(&b"0"[..])));
        }
        drop(first);
        // Without a sender the connection is closed, and its task ends.
        assert!(drivers.join_next().await.unwrap().is_ok());
    });
}

#[test]
fn a_server_gets_no_more_calls_at_once_than_it_allows_and_those_that_wait_are_counted() {
    const ALLOWED: usize = 3;
    run(async {
        let (asked, release) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let seen = (asked.clone(), release.clone());
        let (address, _server) = listen(move |_, stream| {
            let (asked, release) = seen.clone();
            async move {
                let mut server = h2::server::Builder::new();
                let mut connection =
                    server.max_concurrent_streams(ALLOWED as u32).handshake::<_, Bytes>(stream).await.unwrap();
                let mut answers = JoinSet::new();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    asked.add_permits(1);
                    let release = release.clone();
                    answers.spawn(async move {
                        release.acquire().await.unwrap().forget();
                        let mut response = Response::new(());
                        response.headers_mut().insert("grpc-status", HeaderValue::from_static("0"));
                        respond.send_response(response, true).unwrap();
                    });
                }
            }
        })
        .await;
        let client = Client::plain(address).unwrap();
        let mut drivers = JoinSet::new();
        let first = client.connect(Protocol::Grpc, &mut drivers).await.unwrap();
        let mut calls = JoinSet::new();
        for _ in 0..8 {
            let mut share = first.share().unwrap();
            calls.spawn(async move { share.call(&request("/x", b""), false).await.result.unwrap() });
        }
        asked.acquire_many(ALLOWED as u32).await.unwrap().forget();
        release.add_permits(8);
        assert!(calls.join_all().await.iter().all(Answer::is_ok));
        assert_eq!(client.take_counts(), Counts { opened: 1, most_open: 1, most_waiting: 8 - ALLOWED });
    });
}

#[test]
fn a_dropped_call_is_reset_and_its_connection_lives_on() {
    run(async {
        let given_up = Arc::new(Notify::new());
        let (address, _server) = serve(given_up.clone()).await;
        let mut drivers = JoinSet::new();
        let mut connection = connect(address, &mut drivers).await;
        let never = request("/never", b"");
        for _ in 0..3 {
            let call = tokio::time::timeout(Duration::from_millis(20), connection.call(&never, true)).await;
            assert!(call.is_err());
            given_up.notified().await;
        }
        assert!(connection.is_open());
        assert!(connection.call(&request("/echo", b""), true).await.result.unwrap().is_ok());
    });
}

#[test]
fn what_resets_and_breaks_is_told() {
    run(async {
        let (address, _server) = listen(|number, stream| async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            let Some(Ok((_, mut respond))) = connection.accept().await else { return };
            match number {
                0 => respond.send_reset(h2::Reason::REFUSED_STREAM),
                // The stream ends inside the answer.
                1 => {
                    let mut body = respond.send_response(Response::new(()), false).unwrap();
                    body.send_data(Bytes::from_static(b"half"), false).unwrap();
                    body.send_reset(h2::Reason::INTERNAL_ERROR);
                }
                // The connection ends.
                _ => return,
            }
            while connection.accept().await.is_some() {}
        })
        .await;
        let mut drivers = JoinSet::new();
        for expected in [Failure::Refused, Failure::Reset("INTERNAL_ERROR".to_owned()), Failure::Closed] {
            let mut connection = connect(address, &mut drivers).await;
            let failure = connection.call(&request("/x", b""), true).await.result.unwrap_err();
            assert_eq!(failure, expected);
        }
        let (address, _server) = crate::server::fixed(b"HTTP/1.1 400 Bad Request\r\n\r\n", &[]).await;
        let failure = Client::plain(address).unwrap().connect(Protocol::Grpc, &mut drivers).await.unwrap_err();
        assert!(matches!(failure, Failure::Malformed(_) | Failure::Closed), "{failure:?}");
    });
}

/// A frame of the first stream.
fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let stream = if kind == SETTINGS { 0 } else { 1 };
    [&[0, 0, payload.len() as u8, kind, flags, 0, 0, 0, stream], payload].concat()
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

#[test]
fn an_answer_before_the_request_is_whole_is_that_answer() {
    // `:status: 200` from HPACK's table, and a field that is spelt out.
    let (ok, status) = (b"\x88", b"\x00\x0bgrpc-status\x018");
    let at_once = frame(HEADERS, END_HEADERS | END_STREAM, &[&ok[..], status].concat());
    let in_parts =
        [frame(HEADERS, END_HEADERS, ok), frame(DATA, 0, b"half"), frame(HEADERS, END_HEADERS | END_STREAM, status)];
    run(async {
        for (answer, length) in [(at_once, 0), (in_parts.concat(), 4)] {
            // The reset comes in one piece with the answer, and the server goes on reading nothing.
            let no_error = frame(RST_STREAM, 0, &[0; 4]);
            let bytes = [answer, no_error].concat();
            let (address, _server) = listen(move |_, mut stream| {
                let bytes = bytes.clone();
                async move {
                    stream.write_all(&frame(SETTINGS, 0, b"")).await.unwrap();
                    // As much as the first windows let in.
                    stream.read_exact(&mut vec![0; 60_000]).await.unwrap();
                    stream.write_all(&bytes).await.unwrap();
                    std::future::pending::<()>().await;
                }
            })
            .await;
            let mut drivers = JoinSet::new();
            let mut connection = connect(address, &mut drivers).await;
            let answer = connection.call(&request("/x", &vec![0; 8 << 20]), true).await.result.unwrap();
            assert_eq!((answer.outcome().as_str(), answer.length), ("grpc 8", length));
            assert!(connection.is_open());
        }
    });
}
