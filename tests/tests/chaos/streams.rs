//! Streams that are passed on: as they come, each on its own, and never whole when they are not.

use http::Request;
use serde_json::json;
use weirgate_tests::events::Events;
use weirgate_tests::{Http1, eventually, http as client};

use crate::scene::{Scene, upstreams};

/// A chat that is streamed: so many chunks, each but the first behind a gate if there is one.
fn chat(id: &str, chunks: usize, gate: Option<&str>) -> Request<client::Body> {
    let body = json!({"model": crate::scene::NAME, "messages": [], "stream": true, "max_tokens": chunks, "id": id});
    let request = client::post("/v1/chat/completions", body.to_string());
    match gate {
        Some(gate) => client::with(request, "x-gate", gate),
        None => request,
    }
}

impl Scene {
    pub async fn stream(&self, id: &str, chunks: usize, gate: Option<&str>) -> Events {
        Events::open(self.server.data, chat(id, chunks, gate)).await
    }
}

/// The server does not send its second chunk before the client has seen the first.
#[tokio::test(flavor = "multi_thread")]
async fn complaint_37_each_chunk_is_passed_on_at_once() {
    let scene = upstreams(1, |service| service).await;
    let mut events = scene.stream("one", 3, Some("go")).await;
    let first = events.next().await.expect("the first chunk");
    assert!(first.contains("one.0"), "{first}");
    scene.fleet.open("go");
    let rest = events.rest().await.expect("the stream ends well");
    assert!(rest.len() == 3 && rest[1].contains("one.2") && rest[2] == "[DONE]", "{rest:?}");
}

/// A short stream comes and goes while a long one, which began before, still runs at the same server.
#[tokio::test(flavor = "multi_thread")]
async fn complaint_43_streams_join_and_leave_without_waiting_for_each_other() {
    let scene = upstreams(1, |service| service).await;
    let mut long = scene.stream("long", 3, Some("go")).await;
    assert!(long.next().await.is_some());
    for round in 0..3 {
        let id = format!("short{round}");
        let short = scene.stream(&id, 5, None).await.rest().await.expect("the short stream ends well");
        assert!(short.len() == 6 && short[..5].iter().all(|event| event.contains(&id)), "{short:?}");
    }
    scene.fleet.open("go");
    let rest = long.rest().await.expect("the long stream ends well");
    assert!(rest[..2].iter().all(|event| event.contains("long")), "{rest:?}");
}

/// The server dies in the middle of a stream: the client sees that it was cut off.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_server_dies_does_not_end_as_if_it_were_whole() {
    let mut scene = upstreams(1, |service| service).await;
    let mut events = scene.stream("one", 3, Some("never")).await;
    assert!(events.next().await.is_some());
    scene.fleet.kill(0);
    let rest = events.rest().await;
    let whole = rest.as_ref().is_ok_and(|events| events.last().is_some_and(|last| last == "[DONE]"));
    let told = rest.as_ref().is_ok_and(|events| events.iter().any(|event| event.contains("error")));
    assert!(!whole && (rest.is_err() || told), "{rest:?}");
}

/// The client of a stream leaves: the server is told, and its slot is free.
#[tokio::test(flavor = "multi_thread")]
async fn complaint_38_a_stream_that_is_left_stops_at_the_server() {
    let scene = upstreams(1, |service| service.concurrency(1)).await;
    for round in 0..5 {
        let id = format!("left{round}");
        let mut events = scene.stream(&id, 3, Some("never")).await;
        assert!(events.next().await.is_some());
        drop(events);
        eventually("the server to stop", async || scene.fleet.abandoned().contains(&id).then_some(())).await;
    }
    let whole = scene.stream("whole", 2, None).await.rest().await.expect("the slot is free");
    assert_eq!(whole.len(), 3);
}

/// Not streamed, the same call is one answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_chat_that_is_not_streamed_is_one_answer() {
    let scene = upstreams(1, |service| service).await;
    let body = json!({"model": crate::scene::NAME, "messages": [], "id": "whole"});
    let reply =
        Http1::connect(scene.server.data).await.send(client::post("/v1/chat/completions", body.to_string())).await;
    assert_eq!(reply.json()["choices"][0]["message"]["content"], "whole", "{}", reply.text());
}
