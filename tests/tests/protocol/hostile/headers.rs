//! Wrong headers and query strings.

use super::{RIGHT, case, refused};
use weirgate_tests::{Raw, Server, Service};

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_can_not_be_read() {
    const TIMEOUT: &[&str] = &["x-request-timeout-seconds"];
    let timeouts = ["", "0", "-1", "nan", "inf", "-inf", "soon", "1s", "1,5", "0x1", "1 2", "\u{e9}", "1e999"];
    let mut cases: Vec<_> = timeouts
        .map(|value| {
            case(format!("timeout '{value}'"), RIGHT, 400, TIMEOUT)
                .lines(format!("x-request-timeout-seconds: {value}\r\n"))
        })
        .into();
    for value in ["", "1", "S", "-1S", "1x", "999999999S", "1.5S", "\u{e9}"] {
        let case = case(format!("grpc-timeout '{value}'"), RIGHT, 400, &["grpc-timeout"]);
        cases.push(case.lines(format!("grpc-timeout: {value}\r\n")));
    }
    cases.extend([
        case("a revision nobody knows", RIGHT, 404, &["nobody"]).lines("x-weirgate-revision: nobody\r\n"),
        case("a revision of another script", RIGHT, 404, &["\u{e9}"]).lines("x-weirgate-revision: \u{e9}\r\n"),
        case("a header that is no ASCII", RIGHT, 200, &["-"]).lines("x-unknown: \u{e9}\r\n"),
        case("a coding nobody knows", RIGHT, 415, &["'br'", "gzip"]).lines("content-encoding: br\r\n"),
        case("a coding that it has not", RIGHT, 400, &["gzip"]).lines("content-encoding: gzip\r\n"),
        case("a coding of a kilobyte", RIGHT, 415, &["zzz"])
            .lines(format!("content-encoding: {}\r\n", "z".repeat(1024))),
        case("a route that is none", RIGHT, 404, &["no route"]).path("/v2/models/x/y/z/infer"),
        case("a model that is no UTF-8", RIGHT, 400, &["UTF-8"]).path("/v2/models/%ff/infer"),
        case("a model with a NUL", RIGHT, 404, &["model"]).path("/v2/models/a%00b/infer"),
        case("a version nobody knows", RIGHT, 404, &["version"]).path("/v2/models/identity/versions/-1/infer"),
        case("a version that is no UTF-8", RIGHT, 400, &["UTF-8"]).path("/v2/models/identity/versions/%ff/infer"),
        // These say nothing that is acted on.
        case("a query string", RIGHT, 200, &["-"]).path("/v2/models/identity/infer?a=%ff&&=&a=b#c"),
        case("another content type", RIGHT, 200, &["-"]).lines("content-type: text/plain\r\n"),
        case("a content type that is none", RIGHT, 200, &["-"]).lines("content-type: ;;;\r\n"),
        case("an accepted coding that is none", RIGHT, 200, &["-"]).lines("accept-encoding: ;q=,gzip;q=x,,\u{e9}\r\n"),
        case("a trace that is none", RIGHT, 200, &["-"]).lines("traceparent: zz-zz\r\n"),
        case("an id that is no ASCII", RIGHT, 200, &["-"]).lines("x-request-id: \u{e9}\r\n"),
        case("a cookie that is none", RIGHT, 200, &["-"]).lines("cookie: =;=;;;\u{e9}\r\n"),
    ]);
    refused(cases).await;
}

/// What hyper refuses itself, and what it lets through.
#[tokio::test(flavor = "multi_thread")]
async fn heads_that_are_no_http() {
    let bare = |name: &str, lines: &str, status: u16| {
        case(name, "", status, &[]).framed(format!("content-length: 0\r\n{lines}"))
    };
    refused(vec![
        bare("a line without a colon", "nonsense\r\n", 400),
        bare("a name with a space", "x y: 1\r\n", 400),
        bare("a space before the colon", "x : 1\r\n", 400),
        bare("an empty name", ": 1\r\n", 400),
        bare("a NUL in a value", "x: a\0b\r\n", 400),
        bare("a NUL in a name", "x\0y: 1\r\n", 400),
        bare("a folded line", "x: 1\r\n 2\r\n", 400),
        bare("a carriage return within a value", "x: a\rb\r\n", 400),
        bare("a thousand lines", &"x: 1\r\n".repeat(1_000), 431),
        bare("a value of a megabyte", &format!("x: {}\r\n", "v".repeat(1 << 20)), 431),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_connection_and_a_half_head_hurt_nobody() {
    let server = Server::start([Service::new("identity")]).await;
    for bytes in
        ["", "\r\n\r\n", "P", "POST /v2/models/identity/infer HTTP/1.1\r\nhost", "PRI * HTTP/2.0\r\n\r\nSM\r\n"]
    {
        let mut raw = Raw::connect(server.data).await;
        raw.write(bytes).await;
        drop(raw);
    }
    let mut raw = Raw::connect(server.data).await;
    raw.write(format!(
        "\r\nPOST /v2/models/identity/infer HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{RIGHT}",
        RIGHT.len()
    ))
    .await;
    assert_eq!(raw.read_answer().await.unwrap().0, 200);
    server.is_idle("identity").await;
}
