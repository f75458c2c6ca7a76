//! Every framing of a body, cut anywhere.

use proptest::prelude::*;
use weirgate_loadtest::client::Failure;

use crate::server::{call, connect, fixed, post, run, seen};

/// Answers, and the bodies in them.
const ANSWERS: [(&str, &str); 8] = [
    ("HTTP/1.1 200 OK\r\nContent-Length: 11\r\nX-Weirgate-Revision: r-7\r\n\r\nhello world", "hello world"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world"),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=\"y\"\r\nhello\r\n00006 ;z\r\n world\r\n000\r\n\
         Server-Timing: total;dur=5\r\nx: y\r\n\r\n",
        "hello world",
    ),
    ("HTTP/1.1 200 OK\r\n\r\nhello\r\n\r\nworld", "hello\r\n\r\nworld"),
    ("HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n", ""),
    (
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\nContent-Length: 2\n\nhi",
        "hi",
    ),
    ("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 4\r\n\r\nbusy", "busy"),
];

#[test]
fn a_cut_anywhere_changes_nothing() {
    run(async {
        for (answer, body) in ANSWERS {
            for cut in 0..answer.len() {
                let (address, _server) = fixed(answer.as_bytes(), &[cut]).await;
                let answered = call(address, &post("{}")).await.result;
                let answered = answered.unwrap_or_else(|failure| panic!("{answer:?} cut at {cut}: {failure}"));
                let status = if answer.contains(" 503 ") { 503 } else { 200 };
                assert_eq!(seen(&answered), (status, body.to_owned(), body.len() as u64), "{answer:?} cut at {cut}");
                let revision = answer.contains("r-7").then_some(&b"r-7"[..]);
                assert_eq!(answered.revision.as_deref(), revision, "{answer:?} cut at {cut}");
            }
        }
    });
}

#[test]
fn an_end_anywhere_is_told() {
    run(async {
        for (answer, _) in &ANSWERS[..4] {
            for end in 0..answer.len() {
                let (address, _server) = fixed(&answer.as_bytes()[..end], &[]).await;
                let expected = if end == 0 { Failure::Closed } else { Failure::Cut };
                let result = call(address, &post("{}")).await.result;
                assert_eq!(result.map(|answer| seen(&answer)), Err(expected), "{answer:?} ends at {end}");
            }
        }
    });
}

#[test]
fn a_body_that_is_not_kept_is_counted() {
    run(async {
        let body = "x".repeat(3 << 20);
        let chunks: String =
            body.as_bytes().chunks(70_000).map(|c| format!("{:x}\r\n{}\r\n", c.len(), "x".repeat(c.len()))).collect();
        for answer in [
            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()),
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"),
            format!("HTTP/1.1 200 OK\r\n\r\n{body}"),
        ] {
            for keep in [false, true] {
                let (address, _server) = fixed(answer.as_bytes(), &[]).await;
                let call = connect(address).await.call(&post("{}"), keep).await;
                let answer = call.result.unwrap();
                assert_eq!(answer.length, body.len() as u64);
                assert!(if keep { answer.body == body } else { answer.body.is_empty() && answer.headers.is_empty() });
                assert!(call.sent <= call.done);
            }
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn chunks_of_any_sizes_cut_anywhere(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..400), 0..12),
        cuts in prop::collection::vec(0usize..300, 0..12),
    ) {
        let mut answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        for chunk in &chunks {
            answer.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
            answer.extend_from_slice(chunk);
            answer.extend_from_slice(b"\r\n");
        }
        answer.extend_from_slice(b"0\r\n\r\n");
        let answered = run(async {
            let (address, _server) = fixed(&answer, &cuts).await;
            call(address, &post("{}")).await.result.unwrap()
        });
        prop_assert_eq!(&answered.body[..], &chunks.concat()[..]);
    }
}
