//! Bodies whose length is wrong, said twice, or said in a way that is none.

use super::{RIGHT, case, refused};

#[tokio::test(flavor = "multi_thread")]
async fn lengths_that_are_none_are_refused_by_the_parser() {
    let bare = |name: &str, lines: &str| case(name, RIGHT, 400, &[]).framed(lines);
    let right = RIGHT.len();
    refused(vec![
        bare("negative", "content-length: -1\r\n"),
        bare("signed", &format!("content-length: +{right}\r\n")),
        bare("no number", "content-length: many\r\n"),
        bare("empty", "content-length: \r\n"),
        bare("hexadecimal", "content-length: 0x10\r\n"),
        bare("beyond 64 bits", "content-length: 99999999999999999999999\r\n"),
        bare("two that differ", &format!("content-length: {right}\r\ncontent-length: 5\r\n")),
        bare("a list that differs", &format!("content-length: {right}, 5\r\n")),
        bare("a coding that is not the last", "transfer-encoding: chunked, gzip\r\n"),
        bare("a coding nobody knows", "transfer-encoding: nonsense\r\n"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_that_are_none_are_400() {
    const BROKEN: &[&str] = &["the framing of the request's body is broken"];
    let chunked =
        |name: &str, body: String| case(name, body, 400, BROKEN).framed("transfer-encoding: chunked\r\n").ends();
    refused(vec![
        chunked("no size", "\r\n{}\r\n0\r\n\r\n".to_owned()),
        chunked("a size that is none", "zz\r\n{}\r\n0\r\n\r\n".to_owned()),
        chunked("a negative size", "-2\r\n{}\r\n0\r\n\r\n".to_owned()),
        chunked("a size beyond 64 bits", "fffffffffffffffff\r\n{}\r\n0\r\n\r\n".to_owned()),
        chunked("a chunk longer than its size", "2\r\n{}}}\r\n0\r\n\r\n".to_owned()),
        chunked("an extension without end", format!("2;{}\r\n{{}}\r\n0\r\n\r\n", "e".repeat(1 << 20))),
        chunked("trailers without end", format!("2\r\n{{}}\r\n0\r\n{}\r\n", "x: 1\r\n".repeat(100_000))),
    ])
    .await;
}

/// A request that says both is the way into smuggling: the chunks count, and the connection ends with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_length_and_chunks_at_once() {
    let body = format!("{:x}\r\n{RIGHT}\r\n0\r\n\r\n", RIGHT.len());
    let both = |lines: &str| case(lines, body.clone(), 200, &["-"]).framed(lines);
    refused(vec![
        both("content-length: 5\r\ntransfer-encoding: chunked\r\n"),
        both("transfer-encoding: chunked\r\ncontent-length: 5\r\n"),
        case("the same twice", RIGHT, 200, &["-"])
            .framed(format!("content-length: {0}\r\ncontent-length: {0}\r\n", RIGHT.len())),
    ])
    .await;
}
