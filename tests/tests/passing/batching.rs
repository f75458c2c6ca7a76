//! Batches that the gateway forms for somebody else's server.

use serde_json::{Value, json};
use tokio::task::JoinSet;
use weirgate_tests::http::{Reply, post};
use weirgate_tests::{Http1, Server, Service, within};

use weirgate_tests::upstream::{Upstream, far, full};

/// Answers each instance with one more, and the first call only when it is let go.
async fn v1() -> Upstream {
    Upstream::start(|state, seen| async move {
        let asked: Value = serde_json::from_slice(&seen.body).unwrap();
        if asked.get("signature_name").is_some() {
            return full(200, r#"{"predictions":"as it is"}"#);
        }
        if state.count() == 1 {
            state.go.notified().await;
        }
        let more = |instance: &Value| json!([instance.as_f64().unwrap() + 1.0]);
        let predictions: Vec<_> = asked["instances"].as_array().unwrap().iter().map(more).collect();
        full(200, json!({ "predictions": predictions }).to_string())
    })
    .await
}

/// Sends the first call and, once a server has it, the others: they wait for the one slot there is.
async fn crowd(
    server: &Server,
    upstream: &Upstream,
    service: &str,
    path: &'static str,
    bodies: Vec<String>,
) -> Vec<Reply> {
    let mut calls = JoinSet::new();
    for (index, body) in bodies.into_iter().enumerate() {
        let address = server.data;
        calls.spawn(async move { (index, Http1::connect(address).await.send(post(path, body)).await) });
        server.reaches(service, index, 1).await;
    }
    upstream.state.go.notify_one();
    let mut replies = within("all answers", calls.join_all()).await;
    replies.sort_by_key(|(index, _)| *index);
    replies.into_iter().map(|(_, reply)| reply).collect()
}

#[tokio::test]
async fn calls_of_v1_share_a_batch_whatever_their_rows_are() {
    let upstream = v1().await;
    let service = far(&[&upstream]).annotation("weirgate.dev/upstream-protocol", "v1").concurrency(1).max_batch(32);
    let server = Server::start([service]).await;
    let bodies = (0..6).map(|number| format!("{{\"instances\": [{number}, 1{number}]}}")).collect();
    let replies = crowd(&server, &upstream, "far", "/v1/models/far:predict", bodies).await;
    for (number, reply) in replies.iter().enumerate() {
        assert_eq!(reply.status, 200, "{reply:?}");
        let number = number as f64;
        assert_eq!(reply.json()["predictions"], json!([[number + 1.0], [number + 11.0]]));
    }
    assert_eq!(upstream.state.count(), 2, "the five that waited are one batch");
    // Other fields would be lost in a batch.
    let body = r#"{"instances": [1],  "signature_name": "a"}"#;
    let reply = Http1::connect(server.data).await.send(post("/v1/models/far:predict", body)).await;
    assert_eq!((reply.status, reply.json()["predictions"].as_str()), (200, Some("as it is")));
    assert_eq!(upstream.state.seen().last().unwrap().body, body);
}

#[tokio::test]
async fn calls_of_v2_share_a_batch_and_what_is_unfit_for_one_is_passed() {
    let upstream = Upstream::start(|state, seen| async move {
        let asked: Value = serde_json::from_slice(&seen.body).unwrap();
        if asked["inputs"][0]["name"] != "x" {
            return full(422, r#"{"error":"theirs"}"#);
        }
        if state.count() == 1 {
            state.go.notified().await;
        }
        let data = asked["inputs"][0]["data"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap() + 1.0);
        let data: Vec<_> = data.collect();
        let output = json!({"name": "y", "datatype": "FP32", "shape": [data.len(), 1], "data": data});
        full(200, json!({"model_name": "rows", "outputs": [output]}).to_string())
    })
    .await;
    let service = Service::upstream("rows", &upstream.url()).annotation("weirgate.dev/upstream-protocol", "v2");
    let server = Server::start([service.concurrency(1).max_batch(32)]).await;
    let body = |name: &str, number: usize| {
        json!({"inputs": [{"name": name, "datatype": "FP32", "shape": [1, 1], "data": [number]}]}).to_string()
    };
    let bodies = (0..6).map(|number| body("x", number)).collect();
    let replies = crowd(&server, &upstream, "rows", "/v2/models/rows/infer", bodies).await;
    for (number, reply) in replies.iter().enumerate() {
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(reply.json()["outputs"][0]["data"], json!([number as f64 + 1.0]));
    }
    assert_eq!(upstream.state.count(), 2, "the five that waited are one batch");
    let reply = Http1::connect(server.data).await.send(post("/v2/models/rows/infer", body("z", 1))).await;
    assert_eq!((reply.status, reply.error().as_str()), (422, "theirs"));
}

#[tokio::test]
async fn a_model_that_says_nothing_is_not_batched_for() {
    let upstream = Upstream::start(|_, _| async { full(200, "{ }") }).await;
    let server = Server::start([far(&[&upstream]).max_batch(32)]).await;
    let reply = Http1::connect(server.data).await.send(post("/v2/models/far/infer", "{\t}")).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "{ }"), "{reply:?}");
    assert_eq!(upstream.state.seen()[0].body, "{\t}");
}
