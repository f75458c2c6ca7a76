//! Tokens of OpenAI's calls, as the server behind the gateway says how many were used.

use hyper::body::Frame;
use weirgate_tests::http::{post, with};
use weirgate_tests::process::Folder;
use weirgate_tests::{Http1, Reply, Server};

use super::{file, key, private};
use weirgate_tests::upstream::{Answer, Upstream, far, full, streamed};

/// A gateway that passes calls to a server which answers so, and a key with 6000 tokens a minute, 100 a second.
async fn server(answer: impl Fn() -> Answer + Clone + Send + Sync + 'static) -> (Server, String, Upstream, Folder) {
    let upstream = Upstream::start(move |_, _| {
        let answer = answer();
        async { answer }
    })
    .await;
    let folder = Folder::new();
    let (key, entry) = key("metered", "*", "tokensPerMinute: 6000");
    let path = private(&folder, "keys.yaml", &file(&[&entry]));
    let server = Server::with([far(&[&upstream])]).flag("--api-keys", path.to_str().unwrap()).start().await;
    (server, key, upstream, folder)
}

async fn chat(server: &Server, key: &str, stream: bool) -> Reply {
    let body = format!(r#"{{"model":"far","stream":{stream},"messages":[]}}"#);
    Http1::connect(server.data).await.send(with(post("/v1/chat/completions", body), "x-api-key", key)).await
}

/// The debt of so many tokens at least is to be waited for: 100 come each second.
async fn owes(server: &Server, key: &str, seconds: std::ops::RangeInclusive<u64>) {
    let reply = chat(server, key, false).await;
    let wait: u64 = reply.header("retry-after").unwrap_or_else(|| panic!("{reply:?}")).parse().unwrap();
    assert!(reply.status == 429 && reply.text().contains("6000 tokens a minute"), "{reply:?}");
    assert!(seconds.contains(&wait), "{wait} s");
    // Whoever owes nothing is not refused by it.
    let error = &reply.json()["error"];
    assert_eq!([&error["type"], &error["code"]], ["rate_limit_exceeded"; 2], "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_answer_says_was_used_is_owed() {
    let (server, key, upstream, _folder) =
        server(|| full(200, r#"{"choices":[],"usage":{"total_tokens":18000}}"#)).await;
    assert_eq!(chat(&server, &key, false).await.status, 200);
    // 6000 were there: 12,000 are owed, less what came meanwhile.
    owes(&server, &key, 30..=121).await;
    assert_eq!(upstream.state.count(), 1, "who owes is refused here");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_events_of_a_stream_say_what_is_owed() {
    let (server, key, upstream, _folder) = server(|| {
        let (frames, answer) = streamed("text/event-stream");
        for piece in
            ["data: {\"usage\":null}\n\n", "data: {\"usage\":{\"total_to", "kens\":18000}}\n\ndata: [DONE]\n\n"]
        {
            frames.send(Ok(Frame::data(piece.into()))).unwrap();
        }
        answer
    })
    .await;
    let reply = chat(&server, &key, true).await;
    assert!(reply.status == 200 && reply.text().ends_with("data: [DONE]\n\n"), "{reply:?}");
    owes(&server, &key, 30..=121).await;
    assert_eq!(upstream.state.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_behind_the_gateway_costs_nothing() {
    let (server, key, upstream, _folder) = server(|| full(400, r#"{"usage":{"total_tokens":18000}}"#)).await;
    for _ in 0..3 {
        assert_eq!(chat(&server, &key, false).await.status, 400);
    }
    assert_eq!(upstream.state.count(), 3);
}
