//! Callers that are refused, as the log tells it.

use weirgate_protocol::oip;
use weirgate_tests::grpc::{MODEL_INFER, frame, request};
use weirgate_tests::http::{get, with};
use weirgate_tests::process::Folder;
use weirgate_tests::{Http1, Http2, Server, Service, calls, eventually, row};

use super::{file, key, private};

async fn server() -> (Server, [String; 2], Folder) {
    let folder = Folder::new();
    let (one, one_entry) = key("one", "default/identity", "");
    let (few, few_entry) = key("few", "*", "requestsPerSecond: 0.001\nburst: 1");
    let path = private(&folder, "keys.yaml", &file(&[&one_entry, &few_entry]));
    let start = Server::with([Service::new("identity"), Service::sum(1)]);
    (start.flag("--api-keys", path.to_str().unwrap()).start().await, [one, few], folder)
}

/// The line of this request.
async fn line(server: &Server, id: &str) -> String {
    let has = |line: &&str| line.contains("a caller was refused") && line.contains(&format!("request_id=\"{id}\""));
    eventually(&format!("the line of request {id}"), async || server.log().lines().find(has).map(str::to_owned)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_says_who_was_refused_for_what_and_why() {
    let (server, [one, few], _folder) = server().await;
    let mut client = Http1::connect(server.data).await;
    let call = |model: &str, id: &str| with(calls::json(model, &row(&[1.0])), "x-request-id", id);
    let secret = "wgk_not-a-key";
    for (id, status, request) in [
        ("nobody", 401, call("identity", "nobody")),
        ("unknown", 401, with(call("identity", "unknown"), "x-api-key", secret)),
        ("query", 401, with(get("/v2/models/identity?key=hidden"), "x-request-id", "query")),
        ("other", 403, with(call("sum", "other"), "x-api-key", &one)),
        ("first", 200, with(call("identity", "first"), "x-api-key", &few)),
        ("second", 429, with(call("identity", "second"), "x-api-key", &few)),
    ] {
        assert_eq!(client.send(request).await.status, status, "{id}");
    }
    let message = oip::encode_request("sum", None, row(&[1.0]), true).unwrap();
    let refused = request(MODEL_INFER, frame(0, &prost::Message::encode_to_vec(&message)));
    let h2 = Http2::connect(server.data).await;
    h2.send(with(with(refused, "x-api-key", &one), "x-request-id", "grpc")).await;
    for (id, expected) in [
        ("nobody", &["code=\"unauthenticated\"", "method=POST", "path=\"/v2/models/identity/infer\""][..]),
        ("unknown", &["code=\"unauthenticated\"", "not known here"]),
        ("query", &["method=GET", "path=\"/v2/models/identity\""]),
        ("other", &["code=\"forbidden\"", "key=\"one\"", "path=\"/v2/models/sum/infer\""]),
        ("second", &["code=\"rate_limit_exceeded\"", "key=\"few\"", "0.001 requests a second"]),
        ("grpc", &["code=\"forbidden\"", "key=\"one\"", "ModelInfer"]),
    ] {
        let line = line(&server, id).await;
        assert!(line.contains("peer=127.0.0.1"), "{line}");
        for text in expected {
            assert!(line.contains(text), "'{text}' is missing: {line}");
        }
    }
    let log = server.log();
    assert!(!log.contains("request_id=\"first\""), "it was let in");
    for secret in [secret, &one, &few, "hidden"] {
        assert!(!log.contains(secret), "'{secret}' is in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_refusals_is_no_flood_of_lines() {
    let (server, [one, _], _folder) = server().await;
    let mut client = Http1::connect(server.data).await;
    for _ in 0..500 {
        assert_eq!(client.send(calls::json("identity", &row(&[1.0]))).await.status, 401);
    }
    let other = with(calls::json("sum", &row(&[1.0])), "x-api-key", &one);
    assert_eq!(client.send(with(other, "x-request-id", "other")).await.status, 403);
    assert!(line(&server, "other").await.contains("left_out=0"), "a flood of strangers hides nobody else");
    let lines = server.log().lines().filter(|line| line.contains("a caller was refused")).count();
    // Ten at once, and then one now and then.
    assert!((11..500).contains(&lines), "{lines} lines");
}
