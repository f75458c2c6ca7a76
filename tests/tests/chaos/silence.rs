//! Servers that say nothing: frozen, hanging, slow.

use std::time::Duration;

use weirgate_tests::behaviour::Behaviour;
use weirgate_tests::chaos::Load;
use weirgate_tests::chaos::ledger::End;
use weirgate_tests::process::signal;
use weirgate_tests::{Http1, Service, calls, eventually, row};

use crate::scene::{NAME, children, during, upstreams};

/// Enough for a fault to pass deadlines.
const SHORT: Duration = Duration::from_millis(1_500);

/// A call that was handed over and not answered in time.
fn too_late(end: &End) -> bool {
    matches!(end, End::Refused(504, _))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_upstream_delays_only_the_calls_it_holds() {
    let scene = upstreams(3, |service| service).await;
    let mut run = Load { deadline: SHORT, ..scene.load() }.start();
    let (stop, go) = (async || scene.fleet.signal(2, "STOP"), async || scene.fleet.signal(2, "CONT"));
    during(&mut run, stop, go).await;
    let ledger = run.end().await;
    ledger.holds(|end| too_late(end) || matches!(end, End::Refused(502, _)));
    ledger.executed_once(&scene.fleet.executed());
    // It takes as many calls as it has slots, and a few when somebody asks whether it is back.
    assert!(ledger.failed() < ledger.answered_meanwhile() / 2, "{} failed", ledger.failed());
}

/// A child that does not answer its probes is replaced.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_child_with_a_liveness_probe_is_replaced() {
    let probe =
        r#"{"httpGet": {"path": "/v2/health/live"}, "periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 2}"#;
    let given =
        |service: Service| service.container_field("livenessProbe", probe).field("terminationGracePeriodSeconds", 1);
    let scene = children(2, given).await;
    let mut run = Load { deadline: SHORT, ..scene.load() }.start();
    let victim = scene.fleet.running()[0].clone();
    let replaced = async || {
        eventually("another child to be there", async || {
            let running = scene.fleet.running();
            (running.len() == 2 && !running.contains(&victim)).then_some(())
        })
        .await;
    };
    during(&mut run, async || signal(victim.pid, "STOP"), replaced).await;
    let ledger = run.end().await;
    ledger.holds(|end| too_late(end) || matches!(end, End::Refused(502, _)));
    ledger.executed_once(&scene.fleet.executed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_upstream_is_given_less() {
    let scene = upstreams(3, |service| service).await;
    scene.fleet.behave(Behaviour::Slow(10));
    let run = scene.load().start();
    run.lasts(Duration::from_millis(500)).await;
    scene.fleet.one_behaves("a", Behaviour::Slow(400));
    run.lasts(Duration::from_millis(500)).await;
    let before = scene.fleet.shares();
    run.lasts(Duration::from_secs(3)).await;
    let after = scene.fleet.shares();
    let ledger = run.end().await;
    ledger.holds(|_| false);
    ledger.executed_once(&scene.fleet.executed());
    let gained = |name: &str| after[name] - before[name];
    let (slow, others) = (gained("a"), gained("b") + gained("c"));
    assert!(slow * 4 < others, "the slow one executed {slow}, the two others {others}");
}

/// The deadline passes: the caller is told, the work is stopped, and nobody does it again.
#[tokio::test(flavor = "multi_thread")]
async fn complaint_12_a_call_that_times_out_is_executed_once_and_stopped() {
    let scene = upstreams(3, |service| service.annotation("weirgate.dev/retry", "idempotent")).await;
    scene.fleet.behave(Behaviour::Hang);
    let mut client = Http1::connect(scene.server.data).await;
    for id in 0..3 {
        let tensors = calls::with_id(id.to_string(), row(&[1.0]));
        let reply = client.send(calls::json_within(NAME, &tensors, Duration::from_millis(500))).await;
        assert_eq!(reply.status, 504, "{}", reply.text());
        eventually("the work to be stopped", async || scene.fleet.abandoned().contains(&id.to_string()).then_some(()))
            .await;
    }
    scene.server.is_idle(NAME).await;
    let executed = scene.fleet.executed();
    assert!(executed.len() == 3 && executed.values().all(|by| by.len() == 1), "{executed:?}");
}

/// The slots come back at once, and the servers stop.
#[tokio::test(flavor = "multi_thread")]
async fn complaint_38_callers_that_leave_give_their_slots_back() {
    let scene = upstreams(2, |service| service.concurrency(1)).await;
    scene.fleet.behave(Behaviour::Hang);
    for id in 0..10 {
        let mut client = Http1::connect(scene.server.data).await;
        let tensors = calls::with_id(id.to_string(), row(&[1.0]));
        let mut leaves = tokio::task::JoinSet::new();
        leaves.spawn(async move { client.try_send(calls::json(NAME, &tensors)).await });
        eventually("the call to run", async || scene.fleet.executed().contains_key(&id.to_string()).then_some(()))
            .await;
        leaves.shutdown().await;
        eventually("the work to be stopped", async || scene.fleet.abandoned().contains(&id.to_string()).then_some(()))
            .await;
    }
    scene.server.is_idle(NAME).await;
    scene.fleet.behave(Behaviour::Answer);
    for _ in 0..4 {
        assert_eq!(Http1::connect(scene.server.data).await.infer(NAME, &row(&[1.0])).await.status, 200);
    }
}
