//! Batches: who shares one, when it closes, and that every caller gets its own rows.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use tokio::task::JoinSet;
use weirgate_protocol::InferRequest;
use weirgate_tests::calls::{self, with_id};
use weirgate_tests::{Grpc, Http1, Server, Service, eventually, row, rows, values};

/// Long enough that only a full batch or a deadline ends it within a test.
const LONG_MS: usize = 30_000;

/// One call for each request, all at once, each on a connection of its own; answers in the order of the requests.
async fn all_at_once(server: &Server, model: &str, requests: Vec<InferRequest>) -> Vec<weirgate_tests::Reply> {
    let mut clients = Vec::new();
    for _ in &requests {
        clients.push(Http1::connect(server.data).await);
    }
    let mut calls = JoinSet::new();
    for (index, (mut client, request)) in clients.into_iter().zip(requests).enumerate() {
        let model = model.to_owned();
        calls.spawn(async move { (index, client.infer(&model, &request).await) });
    }
    let mut replies = calls.join_all().await;
    replies.sort_by_key(|(index, _)| *index);
    replies.into_iter().map(|(_, reply)| reply).collect()
}

fn numbered(count: usize) -> Vec<InferRequest> {
    (0..count).map(|number| row(&[number as f32, 0.5])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn complaint_15_v2_batches_along_dimension_0() {
    let server = Server::start([Service::new("slow")]).await;
    // One call keeps the engine busy, so that the others gather.
    let mut first = Http1::connect(server.data).await;
    let mut calls = JoinSet::new();
    calls.spawn(async move {
        first.infer("slow", &row(&[0.0, 0.0])).await.response();
    });
    server.reaches("slow", 0, 1).await;
    let mut sent_rows = 1;
    for caller in 1..=24_usize {
        // One to three rows each, over every protocol.
        let own: Vec<Vec<f32>> = (0..1 + caller % 3).map(|row| vec![caller as f32, row as f32]).collect();
        sent_rows += own.len();
        let request = with_id(format!("caller {caller}"), rows(&own.iter().map(Vec::as_slice).collect::<Vec<_>>()));
        let address = server.data;
        calls.spawn(async move {
            let response = match caller % 3 {
                0 => Grpc::connect(address).await.infer("slow", &request).await.unwrap(),
                form => {
                    let (builder, body) = calls::rest("slow", &request, form == 1);
                    Http1::connect(address).await.send(builder.body(body).unwrap()).await.response()
                }
            };
            assert_eq!(response.id, request.id);
            assert_eq!(&*response.model_name, "slow");
            assert_eq!(response.outputs[0].shape[..], [own.len(), 2]);
            assert_eq!(values(&response.outputs[0]), own.concat());
        });
    }
    while let Some(ended) = calls.join_next().await {
        ended.unwrap();
    }
    let (batches, batched_rows) = server.batches("slow").await;
    assert_eq!(batched_rows, sent_rows, "each row ran once");
    assert!(batches < 25, "25 calls took {batches} batches: nobody shared one");
    assert!(batched_rows > batches, "no batch had more than one row");
    let largest_alone = server.metrics().await.sum("weirgate_batch_rows_bucket", &[("service", "slow"), ("le", "4")]);
    assert!((largest_alone as usize) < batches, "no batch had more rows than any call");
}

#[tokio::test(flavor = "multi_thread")]
async fn complaint_42_one_bad_item_fails_alone() {
    let server = Server::start([Service::new("picky").max_batch(8).max_latency_ms(LONG_MS)]).await;
    // The batch closes when all eight are in it, so the bad one shares it for certain.
    let requests = (0..8).map(|caller| calls::ids("ids", &[caller, if caller == 5 { 99 } else { 1 }])).collect();
    for (caller, reply) in all_at_once(&server, "picky", requests).await.iter().enumerate() {
        if caller == 5 {
            assert_eq!(reply.status, 400, "{reply:?}");
            assert!(reply.error().contains("the model refused the input"), "{reply:?}");
        } else {
            assert_eq!(values(&reply.response().outputs[0]), [10.0 * caller as f32, 10.0]);
        }
    }
    assert_eq!(server.batches("picky").await, (1, 8), "all eight were one batch");
    assert_eq!(server.metric("weirgate_ready_replicas", "picky").await, 1.0);
    assert!(!server.log().contains("will be replaced"), "a caller's mistake is not the engine's:\n{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn max_batch_size_and_max_latency_are_honoured_and_counted() {
    let server = Server::start([
        Service::new("identity").named("filled").max_batch(4).max_latency_ms(LONG_MS),
        Service::new("identity").named("timed").max_batch(4).max_latency_ms(150),
        Service::new("identity").named("eager").max_batch(4),
    ])
    .await;
    for reply in all_at_once(&server, "filled", numbered(12)).await {
        reply.response();
    }
    assert_eq!(server.batches("filled").await, (3, 12));
    assert_eq!(server.closed("filled", "full").await, 3);

    for reply in all_at_once(&server, "timed", numbered(1)).await {
        reply.response();
    }
    assert_eq!(server.closed("timed", "latency").await, 1);
    assert_eq!(server.batches("timed").await, (1, 1));

    for reply in all_at_once(&server, "eager", numbered(1)).await {
        reply.response();
    }
    assert_eq!(server.closed("eager", "idle").await, 1);

    // A call with more rows than a batch may have runs alone, and is not cut.
    let many: Vec<[f32; 2]> = (0..9).map(|number| [number as f32, 1.0]).collect();
    let many = rows(&many.iter().map(|row| &row[..]).collect::<Vec<_>>());
    let reply = &all_at_once(&server, "eager", vec![many]).await[0];
    assert_eq!(reply.response().outputs[0].shape[..], [9, 2]);
    assert_eq!(server.batches("eager").await, (2, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_company_never_costs_a_call_its_deadline() {
    let server = Server::start([Service::new("slow").max_batch(8).max_latency_ms(LONG_MS)]).await;
    let mut client = Http1::connect(server.data).await;
    // The first two calls teach what a batch costs.
    for timeout in [3, 3, 3] {
        let call = calls::json_within("slow", &row(&[1.0, 2.0]), Duration::from_secs(timeout));
        let reply = client.send(call).await;
        assert_eq!(values(&reply.response().outputs[0]), [1.0, 2.0]);
    }
    assert_eq!(server.closed("slow", "deadline").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fixed_first_dimension_runs_unbatched() {
    let server = Server::start([Service::new("fixed").max_batch(32).max_latency_ms(LONG_MS)]).await;
    let request = |number: usize| rows(&[&[number as f32; 3], &[1.0; 3]]);
    let replies = all_at_once(&server, "fixed", (0..8).map(request).collect()).await;
    for (number, reply) in replies.iter().enumerate() {
        let double = 2.0 * number as f32;
        assert_eq!(values(&reply.response().outputs[0]), [double, double, double, 2.0, 2.0, 2.0]);
    }
    assert_eq!(server.batches("fixed").await.0, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_mixes_rows_is_answered_one_by_one() {
    let server = Server::start([Service::new("lying").max_batch(4).max_latency_ms(LONG_MS)]).await;
    for round in 1..=2 {
        for (number, reply) in all_at_once(&server, "lying", numbered(4)).await.iter().enumerate() {
            // The mean of one row is that row.
            assert_eq!(values(&reply.response().outputs[0]), [number as f32, 0.5], "round {round}");
        }
    }
    // One batch showed the lie; after it, each call ran alone.
    assert_eq!(server.batches("lying").await, (5, 8));
    assert!(server.log().contains("does not keep rows apart"), "{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn mixed_shapes_share_batches_only_with_their_own() {
    let server = Server::start([Service::new("identity").max_batch(4).max_latency_ms(LONG_MS)]).await;
    let requests: Vec<_> = (0..12).map(|number| row(&vec![number as f32; 1 + number % 3])).collect();
    for (number, reply) in all_at_once(&server, "identity", requests).await.iter().enumerate() {
        assert_eq!(values(&reply.response().outputs[0]), vec![number as f32; 1 + number % 3]);
    }
    assert_eq!(server.batches("identity").await, (3, 12), "four of each width fill one batch each");
    assert_eq!(server.closed("identity", "full").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn container_concurrency_caps_what_a_replica_holds() {
    let server = Server::start([Service::new("slow").concurrency(2)]).await;
    let mut most = 0;
    {
        let replies = all_at_once(&server, "slow", numbered(7));
        tokio::pin!(replies);
        loop {
            tokio::select! {
                replies = &mut replies => {
                    for (number, reply) in replies.iter().enumerate() {
                        assert_eq!(values(&reply.response().outputs[0]), [number as f32, 0.5]);
                    }
                    break;
                }
                running = server.metric("weirgate_running_requests", "slow") => most = most.max(running as usize),
            }
        }
    }
    assert!(most <= 2, "a replica held {most} calls");
    let (batches, batched_rows) = server.batches("slow").await;
    assert_eq!(batched_rows, 7);
    assert!(batches >= 4, "7 calls, 2 at a time, took {batches} batches");
    let above_two = server.metrics().await.sum("weirgate_batch_rows_bucket", &[("service", "slow"), ("le", "2")]);
    assert_eq!(above_two as usize, batches, "no batch had more than 2 calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_run_at_the_same_time() {
    let server = Server::start([Service::new("slow_second").replicas(2).concurrency(1)]).await;
    eventually("both replicas", async || {
        (server.metric("weirgate_ready_replicas", "slow-second").await == 2.0).then_some(())
    })
    .await;
    let replies = all_at_once(&server, "slow-second", numbered(2));
    tokio::join!(async { server.reaches("slow-second", 0, 2).await }, async {
        for reply in replies.await {
            reply.response();
        }
    });
}
