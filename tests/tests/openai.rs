//! Text from models that the gateway runs itself: OpenAI's client in Python, and what no client shows.

#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use weirgate_tests::wait::{eventually, within};
use weirgate_tests::{Raw, Server, Service, environment, suites};

fn short() -> Service {
    Service::smollm2("short").argument("--max_model_len=64").concurrency(1).max_queued(1)
}

/// A call of HTTP/1.1, to the byte.
fn ask(path: &str, body: &Value) -> String {
    let body = body.to_string();
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: weirgate.test\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

fn found(bytes: &[u8], text: &str) -> Option<()> {
    bytes.windows(text.len()).any(|window| window == text.as_bytes()).then_some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn openais_client_gets_text() {
    const SUITE: &str = "test_openai_text.py";
    let server = Server::start([Service::smollm2("smol"), short()]).await;
    let mut command = suites::suite("clients", SUITE, &server);
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    let fault = suites::fault(SUITE, &run.await.unwrap());
    assert!(fault.is_none(), "{}\n{}", fault.unwrap_or_default(), server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn openais_client_gets_embeddings() {
    const SUITE: &str = "test_openai_embeddings.py";
    let folder = environment::models().join("all-minilm-l6-v2");
    let server = Server::start([Service::embedder("vectors", folder)]).await;
    let mut command = suites::suite("clients", SUITE, &server);
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    let fault = suites::fault(SUITE, &run.await.unwrap());
    assert!(fault.is_none(), "{}\n{}", fault.unwrap_or_default(), server.log());
}

#[tokio::test]
async fn a_stream_is_events_and_its_last_is_done() {
    let server = Server::start([short()]).await;
    let body = json!({
        "model": "short", "messages": [{"role": "user", "content": "hi"}], "temperature": 0, "max_tokens": 3,
        "stream": true, "stream_options": {"include_usage": true},
    });
    let mut raw = Raw::connect(server.data).await;
    raw.write(ask("/v1/chat/completions", &body)).await;
    let read = raw.read_until(|bytes| found(bytes, "data: [DONE]\n\n").map(|()| bytes.to_vec())).await.unwrap();
    let text = String::from_utf8(read).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let head = head.to_lowercase();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    assert!(!head.contains("content-length"), "{head}");
    let events: Vec<&str> = body.lines().filter(|line| line.starts_with("data: ")).collect();
    assert!(events[0].contains(r#""delta":{"role":"assistant","content":""}"#), "{}", events[0]);
    assert!(events[0].ends_with(r#""usage":null}"#), "{}", events[0]);
    let [.., last, usage, done] = &events[..] else { panic!("{body}") };
    assert!(last.contains(r#""delta":{},"logprobs":null,"finish_reason":"length"}"#), "{last}");
    assert!(usage.contains(r#""choices":[],"usage":{"prompt_tokens":"#), "{usage}");
    assert_eq!(*done, "data: [DONE]");
}

#[tokio::test]
async fn a_caller_that_leaves_has_its_sequence_taken_out() {
    let server = Server::start([Service::smollm2("smol")]).await;
    let body = json!({
        "model": "smol", "prompt": "One, two,", "max_tokens": 2_000, "ignore_eos": true, "stream": true,
    });
    let mut raw = Raw::connect(server.data).await;
    raw.write(ask("/v1/completions", &body)).await;
    assert!(within("the first text", raw.read_until(|bytes| found(bytes, "\"text\":"))).await.is_some());
    let running = async || server.metrics().await.sum("weirgate_running_sequences", &[("service", "smol")]);
    assert_eq!(running().await, 1.0);
    drop(raw);
    eventually("the sequence to be taken out", async || (running().await == 0.0).then_some(())).await;
    let generated = server.metrics().await.sum("weirgate_generated_tokens_total", &[("service", "smol")]);
    assert!(generated < 2_000.0, "{generated}");
}
