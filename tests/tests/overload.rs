//! More calls than can be served, and callers that leave.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use weirgate_tests::calls;
use weirgate_tests::environment::scale;
use weirgate_tests::grpc::{DEADLINE_EXCEEDED, INTERNAL, RESOURCE_EXHAUSTED, UNAVAILABLE};
use weirgate_tests::{Grpc, Http1, Raw, Reply, Server, Service, eventually, row, values};

const SLOW: &str = "slow-second";

/// Sends a call over REST on a connection of its own, and leaves it running.
fn sent(calls: &mut JoinSet<Reply>, server: &Server, number: f32) {
    let address = server.data;
    calls.spawn(async move { Http1::connect(address).await.infer(SLOW, &row(&[number])).await });
}

/// One running call and `queued` waiting ones.
async fn busy(server: &Server, queued: usize) -> JoinSet<Reply> {
    let mut calls = JoinSet::new();
    sent(&mut calls, server, 0.0);
    server.reaches(SLOW, 0, 1).await;
    for number in 1..=queued {
        sent(&mut calls, server, number as f32);
        server.reaches(SLOW, number, 1).await;
    }
    calls
}

async fn all_answered(calls: JoinSet<Reply>) {
    for reply in calls.join_all().await {
        reply.response();
    }
}

/// How long an undisturbed run takes: the quicker of two.
async fn undisturbed_run(server: &Server) -> Duration {
    let mut client = Http1::connect(server.data).await;
    let mut quickest = Duration::MAX;
    for _ in 0..2 {
        let started = Instant::now();
        client.infer(SLOW, &row(&[1.0])).await.response();
        quickest = quickest.min(started.elapsed());
    }
    quickest
}

#[tokio::test(flavor = "multi_thread")]
async fn complaint_44_bounded_queue_answers_429_with_retry_after() {
    let server = Server::start([Service::new("slow_second").max_queued(2)]).await;
    let calls = busy(&server, 2).await;
    let reply = Http1::connect(server.data).await.infer(SLOW, &row(&[9.0])).await;
    assert_eq!(reply.status, 429, "{reply:?}");
    assert!(reply.error().contains("weirgate.dev/max-queued-requests"), "{reply:?}");
    assert!(reply.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    let refused = Grpc::connect(server.data).await.infer(SLOW, &row(&[9.0])).await.unwrap_err();
    assert_eq!(refused.code, RESOURCE_EXHAUSTED, "{refused:?}");
    assert!(refused.message.contains("weirgate.dev/max-queued-requests"), "{refused:?}");
    assert!(refused.metadata["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
    // Refused at once: the running call is the same as before, and those that wait still wait.
    server.reaches(SLOW, 2, 1).await;
    assert_eq!(server.batches(SLOW).await.0, 0);
    all_answered(calls).await;
    server.is_idle(SLOW).await;
    assert_eq!(server.batches(SLOW).await.1, 3, "refused calls never ran");
}

/// Bodies that are still being read count: the bound holds before they are in memory.
#[tokio::test(flavor = "multi_thread")]
async fn complaint_44_the_queue_is_bounded_in_bytes_too() {
    let server = Server::with([Service::new("identity")]).flag("--max-queued-bytes", "400KiB").start().await;
    let mut half_sent = Raw::connect(server.data).await;
    half_sent.write_head("identity", "content-length: 307200\r\n").await;
    half_sent.write(" ".repeat(307_199)).await;
    // Whoever comes first holds the bytes.
    eventually("the half-sent body to hold its place", async || {
        (server.metric("weirgate_queue_bytes", "identity").await >= 307_199.0).then_some(())
    })
    .await;
    let mut client = Http1::connect(server.data).await;
    let second = format!("{{{}}}", " ".repeat(200 << 10));
    let refusal = client.send(calls::post_text("identity", second.clone())).await;
    assert_eq!(refusal.status, 429, "{refusal:?}");
    assert!(refusal.error().contains("--max-queued-bytes"), "{refusal:?}");
    assert!(refusal.header("retry-after").is_some());
    drop(half_sent);
    // Its place is free again.
    eventually("the place to be free", async || {
        let reply = client.send(calls::post_text("identity", second.clone())).await;
        (reply.status == 400).then_some(())
    })
    .await;
    server.is_idle("identity").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_passes_the_deadline_is_refused_at_once() {
    let server = Server::start([Service::new("slow_second").max_batch(1)]).await;
    let run = undisturbed_run(&server).await;
    let calls = busy(&server, 4).await;
    let timeout = run.mul_f64(1.5);
    let started = Instant::now();
    let reply = Http1::connect(server.data).await.send(calls::json_within(SLOW, &row(&[9.0]), timeout)).await;
    assert!(started.elapsed() < timeout, "it waited for its deadline");
    assert_eq!(reply.status, 503, "{reply:?}");
    assert!(reply.error().contains("predicted wait"), "{reply:?}");
    assert!(reply.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    let refused = Grpc::connect(server.data).await.infer_within(SLOW, &row(&[9.0]), timeout).await.unwrap_err();
    assert_eq!(refused.code, UNAVAILABLE, "{refused:?}");
    assert!(refused.metadata.contains_key("retry-after"), "{refused:?}");
    // One with time enough is let in.
    let patient = Http1::connect(server.data).await.send(calls::json_within(SLOW, &row(&[9.0]), run * 30)).await;
    patient.response();
    all_answered(calls).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn complaint_38_disconnects_free_the_slot_and_stop_the_work() {
    let server = Server::start([Service::new("slow_second").max_queued(1024)]).await;
    let run = undisturbed_run(&server).await;
    let callers = scale(200, 800);
    for round in 0..scale(2, 10) {
        let before = server.metric("weirgate_abandoned_requests_total", SLOW).await;
        let mut calls = JoinSet::<()>::new();
        for number in 0..callers {
            let mut client = Http1::connect(server.data).await;
            calls.spawn(async move {
                // Calls on and on, so that whenever the callers leave, all of them are owed an answer.
                loop {
                    client.infer(SLOW, &row(&[number as f32])).await.response();
                }
            });
        }
        eventually("every call to wait or run", async || {
            let metrics = server.metrics().await;
            let of = |name| metrics.sum(name, &[("service", SLOW)]) as usize;
            let (queued, running) = (of("weirgate_queue_requests"), of("weirgate_running_requests"));
            (running > 0 && queued + running == callers).then_some(())
        })
        .await;
        let left = Instant::now();
        calls.shutdown().await;
        server.is_idle(SLOW).await;
        let freed = left.elapsed();
        let abandoned = server.metric("weirgate_abandoned_requests_total", SLOW).await - before;
        // A batch may have been answered just as its callers left.
        assert!(
            (callers - 32..=callers).contains(&(abandoned as usize)),
            "{abandoned} of {callers} were seen to leave"
        );
        // Whole runs of all that waited would have taken several times as long.
        let runs = (callers / 32) as u32;
        assert!(freed < run * runs / 2, "free after {freed:?}, where {runs} runs of {run:?} were owed");
        let reply = Http1::connect(server.data).await.infer(SLOW, &row(&[7.0])).await;
        assert_eq!(values(&reply.response().outputs[0]), [7.0]);
        println!("round {round}: a run takes {run:?}, {runs} were owed, free after {freed:?}");
        server.is_idle(SLOW).await;
    }
}

/// The run itself ends, and not only the bookkeeping: judged against an undisturbed run of the same model.
#[tokio::test(flavor = "multi_thread")]
async fn complaint_38_an_abandoned_run_is_interrupted() {
    let server = Server::start([Service::new("slow_second")]).await;
    let run = undisturbed_run(&server).await;
    let mut quickest = Duration::MAX;
    for _ in 0..5 {
        let mut calls = busy(&server, 0).await;
        let left = Instant::now();
        calls.shutdown().await;
        server.is_idle(SLOW).await;
        quickest = quickest.min(left.elapsed());
    }
    assert!(quickest < run.mul_f64(0.5), "an abandoned run was over after {quickest:?}, a whole one takes {run:?}");
    Http1::connect(server.data).await.infer(SLOW, &row(&[7.0])).await.response();
}

#[tokio::test(flavor = "multi_thread")]
async fn complaint_39_cancelled_while_queued_never_runs() {
    let server = Server::start([Service::new("slow_second")]).await;
    let running = busy(&server, 0).await;
    // One over REST, whose connection closes, and one over gRPC, whose stream is reset.
    let mut leaving = JoinSet::new();
    sent(&mut leaving, &server, 1.0);
    let grpc = Grpc::connect(server.data).await;
    let stream = grpc.clone();
    let mut reset = JoinSet::new();
    reset.spawn(async move {
        let _ = stream.infer(SLOW, &row(&[2.0])).await;
    });
    server.reaches(SLOW, 2, 1).await;
    leaving.shutdown().await;
    server.reaches(SLOW, 1, 1).await;
    reset.shutdown().await;
    server.reaches(SLOW, 0, 1).await;
    let abandoned = server.metrics().await.sum("weirgate_abandoned_requests_total", &[("place", "queue")]);
    assert_eq!(abandoned, 2.0);
    all_answered(running).await;
    // The same h2 connection serves on, and what was cancelled never ran.
    grpc.infer(SLOW, &row(&[3.0])).await.unwrap();
    assert_eq!(server.batches(SLOW).await, (2, 2));
    server.is_idle(SLOW).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn complaint_12_timeout_cancels_and_executes_once() {
    let server = Server::start([
        Service::new("slow_second"),
        // Three rows of it take longer than its manifest's timeout, one after the other.
        Service::new("slow_second").named("limited").timeout(1).concurrency(1),
    ])
    .await;
    let run = undisturbed_run(&server).await;
    let (ran, _) = server.batches(SLOW).await;

    let mut client = Http1::connect(server.data).await;
    let reply = client.send(calls::json_within(SLOW, &row(&[1.0]), run / 10)).await;
    let answered = Instant::now();
    assert_eq!(reply.status, 504, "{reply:?}");
    assert!(reply.error().contains("deadline"), "{reply:?}");
    server.is_idle(SLOW).await;
    assert!(answered.elapsed() < run.mul_f64(0.8), "the work went on for {:?} of {run:?}", answered.elapsed());
    let refused = Grpc::connect(server.data).await.infer_within(SLOW, &row(&[1.0]), run / 10).await.unwrap_err();
    assert_eq!(refused.code, DEADLINE_EXCEEDED, "{refused:?}");
    server.is_idle(SLOW).await;
    // Two calls, two executions; an undisturbed one later shows that none came after.
    client.infer(SLOW, &row(&[1.0])).await.response();
    assert_eq!(server.batches(SLOW).await.0, ran + 3);

    // The manifest's own timeout, while calls queue behind each other.
    let mut calls = JoinSet::new();
    for number in 0..8 {
        let address = server.data;
        calls.spawn(async move { Http1::connect(address).await.infer("limited", &row(&[number as f32])).await });
    }
    let replies = calls.join_all().await;
    let late = replies.iter().filter(|reply| reply.status != 200).count();
    assert!(late >= 1, "8 runs of {run:?} fit into 1 s");
    for reply in replies {
        assert!([200, 503, 504].contains(&reply.status), "{reply:?}");
    }
    server.is_idle("limited").await;
    assert!(server.batches("limited").await.1 <= 8, "a call ran more than once");
}

#[tokio::test(flavor = "multi_thread")]
async fn complaint_40_client_timeouts_leave_the_batcher_healthy() {
    let server = Server::start([Service::new("slow")]).await;
    for round in 0..scale(3, 30) {
        let mut calls = JoinSet::new();
        for number in 0..30_u32 {
            let address = server.data;
            calls.spawn(async move {
                let own = row(&[number as f32, round as f32]);
                if number % 3 == 0 {
                    // Some are told so by their deadline, some just leave.
                    let hasty = Duration::from_millis(u64::from(20 + number * 4));
                    if number % 2 == 0 {
                        let call = calls::json_within("slow", &own, hasty);
                        let reply = Http1::connect(address).await.send(call).await;
                        assert!([200, 503, 504].contains(&reply.status), "{reply:?}");
                    } else {
                        let _ = tokio::time::timeout(hasty, Http1::connect(address).await.infer("slow", &own)).await;
                    }
                } else {
                    let reply = Http1::connect(address).await.infer("slow", &own).await;
                    assert_eq!(values(&reply.response().outputs[0]), [number as f32, round as f32]);
                }
            });
        }
        calls.join_all().await;
        server.is_idle("slow").await;
        let reply = Http1::connect(server.data).await.infer("slow", &row(&[5.0])).await;
        assert_eq!(values(&reply.response().outputs[0]), [5.0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn complaint_41_a_call_that_upsets_the_engine_fails_alone() {
    let server = Server::start([Service::new("reshape_fail").max_batch(8).max_latency_ms(100)]).await;
    for _ in 0..scale(5, 50) {
        let mut calls = JoinSet::new();
        for caller in 0..8 {
            let address = server.data;
            calls.spawn(async move {
                let value = if caller == 3 { -1.0 } else { caller as f32 };
                (caller, Http1::connect(address).await.infer("reshape-fail", &row(&[value, 1.0])).await)
            });
        }
        for (caller, reply) in calls.join_all().await {
            if caller == 3 {
                assert_eq!(reply.status, 500, "{reply:?}");
                assert!(reply.error().contains("the engine failed"), "{reply:?}");
            } else {
                assert_eq!(values(&reply.response().outputs[0]), [caller as f32, 1.0]);
            }
        }
    }
    let refused = Grpc::connect(server.data).await.infer("reshape-fail", &row(&[-1.0])).await.unwrap_err();
    assert_eq!(refused.code, INTERNAL, "{refused:?}");
    eventually("a replacement to be ready", async || {
        (server.log().matches("replica is ready").count() >= 2).then_some(())
    })
    .await;
    assert!(server.log().contains("replica failed and will be replaced"), "{}", server.log());
    assert_eq!(server.metric("weirgate_ready_replicas", "reshape-fail").await, 1.0);
    let reply = Http1::connect(server.data).await.infer("reshape-fail", &row(&[4.0])).await;
    assert_eq!(values(&reply.response().outputs[0]), [4.0]);
    server.is_idle("reshape-fail").await;
}

/// Calls answered in a second by this many callers, each on its own connection; every answer is checked.
async fn throughput(server: &Server, callers: usize, calls_each: usize) -> f64 {
    let mut clients = Vec::with_capacity(callers);
    for _ in 0..callers {
        clients.push(Http1::connect(server.data).await);
    }
    let started = Instant::now();
    let mut calls = JoinSet::new();
    for (caller, mut client) in clients.into_iter().enumerate() {
        calls.spawn(async move {
            for number in 0..calls_each {
                let own = [caller as f32, number as f32];
                let reply = client.infer("identity", &row(&own)).await;
                assert_eq!(values(&reply.response().outputs[0]), own);
            }
        });
    }
    while let Some(ended) = calls.join_next().await {
        ended.unwrap();
    }
    (callers * calls_each) as f64 / started.elapsed().as_secs_f64()
}

#[tokio::test(flavor = "multi_thread")]
async fn complaint_36_flat_at_many_callers() {
    let server = Server::start([Service::new("identity")]).await;
    let calls = scale(10_240, 204_800);
    throughput(&server, 16, 100).await;
    let few = throughput(&server, 16, calls / 16).await;
    let many = throughput(&server, 512, calls / 512).await;
    println!("16 callers: {few:.0} calls/s, 512 callers: {many:.0} calls/s");
    // More callers than the engine can take at once wait, and cost nobody anything else. The margin is for the machine,
    // which has this test's 512 clients to run as well, and other tests beside it.
    assert!(many > few / 4.0, "512 callers get {many:.0} calls/s, 16 get {few:.0}");
    server.is_idle("identity").await;
    let answered = server.metrics().await.sum("weirgate_requests_total", &[("service", "identity"), ("code", "ok")]);
    assert_eq!(answered as usize, 1_600 + 2 * calls);
}

/// A refusal leaves the connection as it was, however the body came behind the head.
#[tokio::test(flavor = "multi_thread")]
async fn refused_callers_keep_their_connections() {
    let server = Server::start([Service::new("broken"), Service::new("identity")]).await;
    let body = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[1.5]}]}"#;
    let length = format!("content-length: {}\r\n", body.len());
    let mut raw = Raw::connect(server.data).await;
    for (model, lines, status) in [
        ("broken", "", 503),
        ("nobody", "", 404),
        ("identity", "content-encoding: br\r\n", 415),
        ("identity", "x-request-timeout-seconds: never\r\n", 400),
        ("identity", "", 200),
    ] {
        raw.write_head(model, &format!("{length}{lines}")).await;
        raw.write(body).await;
        let answer = raw.take_answer().await.unwrap_or_else(|| panic!("{model}: the connection was closed"));
        assert_eq!(answer.0, status, "{model} {lines}: {answer:?}");
    }
}
