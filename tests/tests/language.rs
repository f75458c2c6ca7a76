//! Language models under load: rollouts without a cut stream, callers who come and go, and what others' users complained of.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Request;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use weirgate_tests::dice::{self, Dice};
use weirgate_tests::environment::{models, scale};
use weirgate_tests::http::{Body, post};
use weirgate_tests::process::resident_bytes;
use weirgate_tests::wait::{eventually, within};
use weirgate_tests::{Http1, Raw, Server, Service};

const CHAT: &str = "/v1/chat/completions";

fn ask(path: &str, body: &Value) -> Request<Body> {
    post(path, body.to_string())
}

fn chat(tokens: usize) -> Value {
    json!({
        "model": "chat", "messages": [{"role": "user", "content": "Count."}], "temperature": 0, "max_tokens": tokens,
        "ignore_eos": true, "stream": true,
    })
}

/// The texts of the chunks of a streamed chat, and why it ended; none where it was cut.
fn read(events: &str) -> Option<(Vec<String>, String)> {
    let events: Vec<&str> = events.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect();
    let (last, chunks) = events.split_last()?;
    let chunks: Vec<Value> = chunks.iter().map(|chunk| serde_json::from_str(chunk).unwrap()).collect();
    let choice = |chunk: &Value| chunk["choices"][0].clone();
    let reason = choice(chunks.last()?)["finish_reason"].as_str()?.to_owned();
    let texts = chunks.iter().filter_map(|chunk| Some(choice(chunk)["delta"]["content"].as_str()?.to_owned()));
    (*last == "[DONE]").then(|| (texts.collect(), reason))
}

async fn gauge(server: &Server, name: &str) -> f64 {
    server.metrics().await.sum(name, &[("service", "chat")])
}

/// Nothing runs or waits, and no sequence holds memory.
async fn is_at_rest(server: &Server) {
    eventually("the engine to be at rest", async || {
        let metrics = server.metrics().await;
        let sum = |name, more: &[(&str, &str)]| metrics.sum(name, &[&[("service", "chat")], more].concat());
        let held = [
            sum("weirgate_running_sequences", &[]),
            sum("weirgate_waiting_sequences", &[]),
            sum("weirgate_kv_cache_bytes", &[("state", "used")]),
            sum("weirgate_running_requests", &[]),
            sum("weirgate_queue_requests", &[]),
        ];
        (held == [0.0; 5]).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_stream_is_cut_while_a_canary_is_rolled_out() {
    const TOKENS: usize = 16;
    let stable = Service::smollm2("chat").argument("--max_num_seqs=8");
    let server = Server::start([stable.clone()]).await;
    let over = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for _ in 0..4 {
        let (over, address) = (over.clone(), server.data);
        callers.spawn(async move {
            let mut caller = Http1::connect(address).await;
            let mut revisions = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let reply = caller.send(ask(CHAT, &chat(TOKENS))).await;
                assert_eq!(reply.status, 200, "{}", reply.text());
                let (_, reason) = read(&reply.text()).unwrap_or_else(|| panic!("a stream was cut: {}", reply.text()));
                assert_eq!(reason, "length", "{}", reply.text());
                revisions.push(reply.header("x-weirgate-revision").unwrap().to_owned());
            }
            revisions
        });
    }
    let percents = async |wanted: &[u64]| {
        let mut found = Vec::new();
        eventually(&format!("the calls to be split {wanted:?}"), async || {
            let revisions = server.revisions("chat").await;
            let runs = revisions.iter().filter(|revision| revision.state != "Stopped");
            found = runs.map(|revision| (revision.percent, revision.name.clone(), revision.state.clone())).collect();
            found.sort();
            let ready = found.iter().all(|(_, _, state)| state == "Ready");
            (ready && found.iter().map(|(percent, ..)| *percent).eq(wanted.iter().copied())).then_some(())
        })
        .await;
        found.into_iter().map(|(_, name, _)| name).collect::<Vec<_>>()
    };
    let names = percents(&[100]).await;
    let next = stable.argument("--max_model_len=4096");
    for percent in [30, 60] {
        server.write(&next.clone().canary_percent(percent));
        percents(&[(percent as u64).min(100 - percent as u64), (percent as u64).max(100 - percent as u64)]).await;
        tokio::time::sleep(scale(Duration::from_millis(500), Duration::from_secs(20))).await;
    }
    server.write(&next);
    let last = percents(&[100]).await;
    assert_ne!(names, last);
    // A last call of each goes to the new one alone.
    tokio::time::sleep(Duration::from_millis(300)).await;
    over.store(true, Ordering::Relaxed);
    let mut asked: Vec<String> = within("the callers", callers.join_all()).await.into_iter().flatten().collect();
    println!("{} streams", asked.len());
    asked.sort();
    asked.dedup();
    assert_eq!(asked.len(), 2, "both revisions have answered: {asked:?}");
    is_at_rest(&server).await;
}

/// Complaint 37: the first token waited for a timer that gathers chunks.
#[tokio::test(flavor = "multi_thread")]
async fn complaint_37_text_goes_out_as_it_is_made() {
    let server = Server::start([Service::smollm2("chat")]).await;
    let mut raw = Raw::connect(server.data).await;
    let body = chat(2_000).to_string();
    let length = body.len();
    raw.write(format!("POST {CHAT} HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n{body}")).await;
    let has = |bytes: &[u8], count: usize| String::from_utf8_lossy(bytes).matches("\"content\":").count() > count;
    within("the first text", raw.read_until(|bytes| has(bytes, 1).then_some(()))).await.unwrap();
    // Far from the end, and no more is held back than what was just made.
    let made = gauge(&server, "weirgate_generated_tokens_total").await;
    assert!(made < 1_000.0, "{made} tokens were made before the first was sent");
    within("more text", raw.read_until(|bytes| has(bytes, made as usize).then_some(()))).await.unwrap();
    drop(raw);
    is_at_rest(&server).await;
}

/// One caller's calls: some are heard to the end, and some are left at any moment.
async fn come_and_go(address: SocketAddr, mut dice: Dice, calls: usize) -> (usize, usize) {
    let (mut heard, mut left) = (0, 0);
    let mut caller = Http1::connect(address).await;
    for _ in 0..calls {
        let tokens = 1 + dice.below(8) as usize;
        let question = format!("{} and {}", dice.below(50), dice.below(1_000));
        let body = json!({
            "model": "chat", "prompt": question, "max_tokens": tokens, "ignore_eos": true, "seed": 1,
            "stream": dice.below(2) == 0,
        });
        let request = ask("/v1/completions", &body);
        if dice.below(3) == 0 {
            let patience = Duration::from_micros(dice.below(60_000));
            if tokio::time::timeout(patience, caller.send(request)).await.is_ok() {
                heard += 1;
                continue;
            }
            left += 1;
            caller = Http1::connect(address).await;
        } else {
            let reply = caller.send(request).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            heard += 1;
        }
    }
    (heard, left)
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_who_come_and_go_leave_nothing_behind() {
    const CALLERS: usize = 8;
    let seed = dice::seed();
    let server = Server::start([Service::smollm2("chat").argument("--kv_cache_memory_bytes=33554432")]).await;
    let run = async |calls: usize, round: u64| {
        let mut callers = JoinSet::new();
        for caller in 0..CALLERS {
            let dice = Dice::new(seed ^ (round << 32) ^ caller as u64);
            callers.spawn(come_and_go(server.data, dice, calls / CALLERS));
        }
        let ended = callers.join_all().await;
        is_at_rest(&server).await;
        ended.into_iter().fold((0, 0), |(heard, left), (also, more)| (heard + also, left + more))
    };
    // Caches and pools fill in a first while, which is not judged.
    run(scale(80, 1_000), 0).await;
    let before = resident_bytes(server.pid());
    let (heard, left) = run(scale(160, 10_000), 1).await;
    let grown = resident_bytes(server.pid()).saturating_sub(before);
    println!("{heard} answers heard, {left} left; grown by {grown} bytes");
    assert!(heard > 0 && left > 0);
    assert!(grown < 16 << 20, "the server grew by {grown} bytes");
}

/// Complaint 43: short streams were held until the longest of their batch had ended.
#[tokio::test(flavor = "multi_thread")]
async fn complaint_43_a_short_stream_ends_while_a_long_one_runs() {
    let server = Server::start([Service::smollm2("chat")]).await;
    let address = server.data;
    let mut long = JoinSet::new();
    long.spawn(async move { Http1::connect(address).await.send(ask(CHAT, &chat(1_500))).await.status });
    eventually("the long stream to run", async || {
        (gauge(&server, "weirgate_running_sequences").await == 1.0).then_some(())
    })
    .await;
    let reply =
        within("the short stream", async { Http1::connect(address).await.send(ask(CHAT, &chat(3))).await }).await;
    assert_eq!(read(&reply.text()).unwrap().1, "length");
    assert!(long.try_join_next().is_none(), "the long one has not ended");
    long.shutdown().await;
    is_at_rest(&server).await;
}

/// Complaint 31: a call by V1 of a language model, and a prompt that is too long, were answered 500.
#[tokio::test]
async fn complaint_31_what_a_language_model_cannot_answer_is_the_callers_fault() {
    let server = Server::start([Service::smollm2("chat").argument("--max_model_len=64")]).await;
    let mut caller = Http1::connect(server.data).await;
    for (path, body) in
        [("/v1/models/chat:predict", json!({"instances": [[1]]})), ("/v2/models/chat/infer", json!({"inputs": []}))]
    {
        let reply = caller.send(ask(path, &body)).await;
        assert!((400..500).contains(&reply.status), "{path}: {}", reply.text());
        assert!(reply.text().contains("/v1/chat/completions") || path.contains("infer"), "{}", reply.text());
    }
    let long = "word ".repeat(200);
    let reply =
        caller.send(ask(CHAT, &json!({"model": "chat", "messages": [{"role": "user", "content": long}]}))).await;
    assert_eq!(reply.status, 400);
    let error = &reply.json()["error"];
    assert_eq!(error["code"], "context_length_exceeded", "{error}");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("64") && message.contains("2"), "{message}");
    let reply = caller.send(ask("/v1/models/chat:predict", &json!({}))).await;
    assert!(reply.status < 500);
}

/// Complaint 30: OpenAI's clients found nothing below `/v1`, or nothing below `/openai/v1`.
#[tokio::test]
async fn complaint_30_every_base_leads_to_the_same_model() {
    let server = Server::start([Service::smollm2("chat").argument("--model_name=tiny")]).await;
    let mut caller = Http1::connect(server.data).await;
    let mut answers = Vec::new();
    for base in ["/v1", "/openai/v1", "/default/chat/v1", "/default/chat/openai/v1"] {
        let body = json!({"model": "tiny", "prompt": "One, two,", "temperature": 0, "max_tokens": 4});
        let reply = caller.send(ask(&format!("{base}/completions"), &body)).await;
        assert_eq!(reply.status, 200, "{base}: {}", reply.text());
        answers.push(reply.json()["choices"].to_string());
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    let unknown = caller.send(ask("/v1/completions", &json!({"model": "chat", "prompt": "a"}))).await;
    assert_eq!(unknown.status, 404, "it is called by its own name: {}", unknown.text());
}

/// A crash of the engine's process takes down nothing else.
#[tokio::test]
async fn a_language_model_runs_in_a_process_of_its_own() {
    let apart = Service::smollm2("chat").annotation("weirgate.dev/isolation", "process");
    let server = Server::start([apart]).await;
    let mut caller = Http1::connect(server.data).await;
    let reply = caller.send(ask(CHAT, &chat(5))).await;
    assert_eq!(read(&reply.text()).map(|(_, reason)| reason).as_deref(), Some("length"), "{}", reply.text());
    let reply = caller.send(ask("/v2/models/chat/generate", &json!({"text_input": "a"}))).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[tokio::test]
async fn embeddings_are_those_of_the_model_whatever_asks() {
    let folder = models().join("all-minilm-l6-v2");
    let server = Server::start([Service::embedder("vectors", folder)]).await;
    let mut caller = Http1::connect(server.data).await;
    let texts = ["The cat sleeps.", "A cat is asleep.", "Stock prices fell."];
    let body = json!({"model": "vectors", "input": texts});
    let reply = caller.send(ask("/v1/embeddings", &body)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let answer = reply.json();
    let vector = |index: usize| -> Vec<f64> {
        let values = answer["data"][index]["embedding"].as_array().unwrap();
        values.iter().map(|value| value.as_f64().unwrap()).collect()
    };
    let cosine = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let (first, second, third) = (vector(0), vector(1), vector(2));
    assert_eq!(first.len(), 384);
    assert!((cosine(&first, &first) - 1.0).abs() < 1e-5, "they have length 1");
    assert!(cosine(&first, &second) > cosine(&first, &third) + 0.3);
    let many = "word ".repeat(400);
    let reply = caller.send(ask("/v1/embeddings", &json!({"model": "vectors", "input": many}))).await;
    assert_eq!(reply.status, 400);
    assert!(reply.text().contains("256"), "{}", reply.text());
    let reply = caller
        .send(ask("/v1/embeddings", &json!({"model": "vectors", "input": many, "truncate_prompt_tokens": -1})))
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let reply =
        caller.send(ask(CHAT, &json!({"model": "vectors", "messages": [{"role": "user", "content": "a"}]}))).await;
    assert!(reply.status == 400 && reply.text().contains("makes embeddings"), "{}", reply.text());
}
