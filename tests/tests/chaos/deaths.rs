//! kill -9, of everything that there is behind the gateway.

use std::time::Duration;

use weirgate_tests::behaviour::Behaviour;
use weirgate_tests::chaos::{Load, Phase};
use weirgate_tests::process::{children_of, signal};
use weirgate_tests::{Http1, Server, Service, calls, eventually, row};

use crate::scene::{self, DEADLINE, NAME, SLOTS, broken_off, children, during, upstreams};

/// More calls than an engine holds at a time by the load's rate: those that come in a tenth of a second.
const HELD: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_upstream_costs_only_the_calls_it_held() {
    let mut scene = upstreams(3, |service| service).await;
    let mut run = scene.load_that_lingers().start();
    let fleet = &mut scene.fleet;
    run.lasts(scene::calm()).await;
    run.enter(Phase::Fault);
    fleet.kill(1);
    run.lasts(scene::fault()).await;
    fleet.revive(1).await;
    let before = fleet.shares()["b"];
    eventually("the one that is back to be used", async || (fleet.shares()["b"] > before).then_some(())).await;
    run.enter(Phase::Recovered);
    run.lasts(scene::calm()).await;
    let ledger = run.end().await;
    ledger.holds(broken_off);
    ledger.executed_once(&fleet.executed());
    assert!(ledger.failed() <= SLOTS, "{} calls failed, and it held at most {SLOTS}", ledger.failed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_child_costs_only_the_calls_it_held_and_is_replaced() {
    let scene = children(3, |service| service).await;
    let mut run = scene.load_that_lingers().start();
    let victim = scene.fleet.running()[0].clone();
    let replaced = async || {
        eventually("another child to be there", async || {
            let running = scene.fleet.running();
            (running.len() == 3 && !running.contains(&victim)).then_some(())
        })
        .await;
    };
    during(&mut run, async || signal(victim.pid, "KILL"), replaced).await;
    let ledger = run.end().await;
    ledger.holds(broken_off);
    ledger.executed_once(&scene.fleet.executed());
    assert!(ledger.failed() <= SLOTS, "{} calls failed, and it held at most {SLOTS}", ledger.failed());
}

/// Engines of ours in processes of their own, of which one is killed by way of its guard.
async fn engines_without(victim: impl Fn(u32) -> u32) {
    let service = Service::new("identity").annotation("weirgate.dev/isolation", "process").replicas(2);
    let server = Server::start([service]).await;
    eventually("both engines to run", async || (children_of(server.pid()).len() == 2).then_some(())).await;
    let load = Load { model: "identity".to_owned(), ..scene::load_on(&server) };
    let mut run = load.start();
    let guard = children_of(server.pid())[0];
    let replaced = async || {
        eventually("another process to be there", async || {
            let running = children_of(server.pid());
            (running.len() == 2 && !running.contains(&guard)).then_some(())
        })
        .await;
    };
    during(&mut run, async || signal(victim(guard), "KILL"), replaced).await;
    let ledger = run.end().await;
    ledger.holds(broken_off);
    assert!(ledger.answered_meanwhile() > 0);
    assert!(ledger.failed() <= HELD, "{} calls failed, and it held fewer at that rate", ledger.failed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_engine_process_costs_only_the_calls_it_held_and_is_replaced() {
    engines_without(|guard| children_of(guard)[0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_guard_costs_only_the_calls_of_its_engine_and_both_are_replaced() {
    engines_without(|guard| guard).await;
}

/// The only replica dies: what comes then waits for the next one, and is not told 500 until somebody looks.
#[tokio::test(flavor = "multi_thread")]
async fn complaint_52_a_dead_replica_is_left_at_once_and_calls_wait_for_the_next() {
    let scene = children(1, |service| service).await;
    let victim = scene.fleet.running()[0].clone();
    signal(victim.pid, "KILL");
    eventually("it to be dead", async || (!scene.fleet.running().contains(&victim)).then_some(())).await;
    for _ in 0..5 {
        let mut client = Http1::connect(scene.server.data).await;
        let reply = client.send(calls::json_within(NAME, &row(&[1.0]), Duration::from_secs(40))).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    assert_eq!(scene.fleet.started().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn children_die_with_a_gateway_that_is_killed() {
    let mut scene = children(2, |service| service).await;
    assert_eq!(scene.fleet.running().len(), 2);
    scene.server.kill().await;
    eventually("the children to be gone", async || scene.fleet.running().is_empty().then_some(())).await;
}

/// The children wait for nothing when they are told to end: who stops them has drained them.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_run_are_answered_before_a_gateway_stops() {
    let mut scene = children(2, |service| service).await;
    scene.fleet.behave(Behaviour::Slow(300));
    let mut under_way = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let mut client = Http1::connect(scene.server.data).await;
        under_way.spawn(async move { client.send(calls::json_within(NAME, &row(&[1.0]), DEADLINE)).await });
    }
    eventually("the calls to run", async || (scene.fleet.shares().values().sum::<usize>() == 4).then_some(())).await;
    assert!(scene.server.stop().await.success());
    for reply in under_way.join_all().await {
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    assert!(scene.fleet.running().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn children_that_die_one_after_the_other_cost_their_own_calls_each() {
    let scene = children(3, |service| service).await;
    let mut run = scene.load_that_lingers().start();
    run.lasts(scene::calm()).await;
    run.enter(Phase::Fault);
    let kills = 3;
    for _ in 0..kills {
        let running = scene.fleet.running();
        signal(running[running.len() / 2].pid, "KILL");
        eventually("three children to run", async || (scene.fleet.running().len() == 3).then_some(())).await;
        run.lasts(scene::calm()).await;
    }
    run.lasts(scene::aftermath()).await;
    run.enter(Phase::Recovered);
    run.lasts(scene::calm()).await;
    let ledger = run.end().await;
    ledger.holds(broken_off);
    ledger.executed_once(&scene.fleet.executed());
    assert!(ledger.failed() <= kills * SLOTS, "{} calls failed", ledger.failed());
}
