//! Which connections take another call.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use weirgate_loadtest::client::{Client, Counts, Failure};
use weirgate_loadtest::request::Protocol;

use crate::server::{connect, listen, post, request, run, seen};

const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n";

/// Says which connection and which of its requests it answers, as `00`, `01`, `10`.
async fn tell(stream: &mut TcpStream, connection: usize, turn: usize) {
    stream.write_all(format!("{ANSWER}{connection}{turn}").as_bytes()).await.unwrap();
}

#[test]
fn one_connection_takes_many_calls() {
    run(async {
        let (address, _server) = listen(|number, mut stream| async move {
            for turn in 0.. {
                if request(&mut stream).await.is_none() {
                    return;
                }
                tell(&mut stream, number, turn).await;
            }
        })
        .await;
        let mut connection = connect(address).await;
        for turn in 0..9 {
            let answer = connection.call(&post("{}"), true).await.result.unwrap();
            assert_eq!(seen(&answer).1, format!("0{turn}"));
            assert!(connection.is_open());
        }
        assert!(connection.share().is_none());
    });
}

#[test]
fn one_that_was_closed_or_spoke_between_calls_is_opened_anew() {
    for between in [&b""[..], b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n"] {
        run(async {
            let closed = Arc::new(Notify::new());
            let close = closed.clone();
            let (address, _server) = listen(move |number, mut stream| {
                let close = close.clone();
                async move {
                    request(&mut stream).await.unwrap();
                    tell(&mut stream, number, 0).await;
                    stream.write_all(between).await.unwrap();
                    if between.is_empty() {
                        drop(stream);
                        close.notify_one();
                    } else {
                        close.notify_one();
                        std::future::pending::<()>().await;
                    }
                }
            })
            .await;
            let mut connection = connect(address).await;
            for number in 0..3 {
                let before = Instant::now();
                let call = connection.call(&post("{}"), true).await;
                assert_eq!(seen(&call.result.unwrap()).1, format!("{number}0"));
                // Opening it anew is a part of the call, and told apart.
                assert_eq!(call.connected.is_some(), number > 0);
                let connected = call.connected.unwrap_or_default();
                assert!(call.sent >= before && call.sent + connected < call.done, "{connected:?}");
                closed.notified().await;
                // Until the system has told the runtime of it.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    }
}

#[test]
fn one_that_closes_when_a_request_comes_fails_it() {
    run(async {
        let (address, _server) = listen(|_, mut stream| async move {
            request(&mut stream).await;
        })
        .await;
        let mut connection = connect(address).await;
        let call = connection.call(&post("{}"), true).await;
        assert_eq!(call.result.unwrap_err(), Failure::Closed);
        assert!(!connection.is_open());
    });
}

#[test]
fn one_that_closes_when_another_request_comes_may_have_been_idle_too_long() {
    run(async {
        let (address, _server) = listen(|number, mut stream| async move {
            request(&mut stream).await;
            tell(&mut stream, number, 0).await;
            request(&mut stream).await;
        })
        .await;
        let mut connection = connect(address).await;
        assert!(connection.call(&post("{}"), true).await.result.is_ok());
        assert_eq!(connection.call(&post("{}"), true).await.result.unwrap_err(), Failure::ClosedReused);
        // That was not tried again by itself.
        let answer = connection.call(&post("{}"), true).await.result.unwrap();
        assert_eq!(seen(&answer).1, "10");
    });
}

#[test]
fn connections_are_counted_however_they_were_opened() {
    run(async {
        let (address, _server) = listen(|number, mut stream| async move {
            request(&mut stream).await;
            tell(&mut stream, number, 0).await;
        })
        .await;
        let client = Client::plain(address).unwrap();
        let mut open = Vec::new();
        for _ in 0..3 {
            open.push(client.connect(Protocol::V2, &mut JoinSet::new()).await.unwrap());
        }
        for connection in &mut open {
            assert!(connection.call(&post("{}"), true).await.result.is_ok());
        }
        // Until the system has told the runtime that they are closed.
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(open[0].call(&post("{}"), true).await.result.is_ok());
        assert_eq!(client.take_counts(), Counts { opened: 4, most_open: 3, most_waiting: 0 });
        drop(open);
        assert_eq!(client.take_counts().most_open, 3);
        assert_eq!(client.take_counts(), Counts::default());
    });
}

#[test]
fn one_with_more_than_an_answer_on_it_is_closed() {
    run(async {
        let (address, _server) = listen(|number, mut stream| async move {
            request(&mut stream).await;
            stream.write_all(format!("{ANSWER}{number}0HTTP/1.1 200 OK\r\n").as_bytes()).await.unwrap();
            std::future::pending::<()>().await;
        })
        .await;
        let mut connection = connect(address).await;
        for number in 0..2 {
            let answer = connection.call(&post("{}"), true).await.result.unwrap();
            assert_eq!(seen(&answer).1, format!("{number}0"));
            assert!(!connection.is_open());
        }
    });
}

#[test]
fn one_whose_server_says_close_is_closed() {
    run(async {
        let (address, _server) = listen(|number, mut stream| async move {
            request(&mut stream).await;
            let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\ncontent-length: 1\r\n\r\n{number}");
            stream.write_all(answer.as_bytes()).await.unwrap();
            std::future::pending::<()>().await;
        })
        .await;
        let mut connection = connect(address).await;
        for number in 0..2 {
            let answer = connection.call(&post("{}"), true).await.result.unwrap();
            assert_eq!((seen(&answer).1, connection.is_open()), (number.to_string(), false));
        }
    });
}

#[test]
fn one_whose_call_was_dropped_is_closed() {
    run(async {
        let (asked, gone) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let (ask, go) = (asked.clone(), gone.clone());
        let (address, _server) = listen(move |_, mut stream| {
            let (ask, go) = (ask.clone(), go.clone());
            async move {
                request(&mut stream).await.unwrap();
                ask.notify_one();
                // Its end comes, without the connection itself being dropped by the client's owner.
                assert_eq!(request(&mut stream).await, None);
                go.fetch_add(1, Ordering::Relaxed);
                ask.notify_one();
            }
        })
        .await;
        let mut connection = connect(address).await;
        let request = post("{}");
        tokio::select! {
            call = connection.call(&request, true) => panic!("{call:?}"),
            () = asked.notified() => {}
        }
        assert!(!connection.is_open());
        asked.notified().await;
        assert_eq!(gone.load(Ordering::Relaxed), 1);
    });
}
