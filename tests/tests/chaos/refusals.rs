//! Servers that refuse: connections, calls, probes.

use weirgate_tests::behaviour::Behaviour;
use weirgate_tests::chaos::ledger::End;
use weirgate_tests::eventually;

use crate::scene::{during, nothing, upstreams};

/// Nothing was sent, so another one executes it: nobody notices.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_refused_cost_nobody_anything() {
    let scene = upstreams(3, |service| service).await;
    let mut run = scene.load_that_lingers().start();
    let refuse = async || scene.fleet.one_behaves("b", Behaviour::Refuse);
    let listen = async || scene.fleet.one_behaves("b", Behaviour::Slow(20));
    during(&mut run, refuse, listen).await;
    let ledger = run.end().await;
    ledger.holds(nothing);
    ledger.executed_once(&scene.fleet.executed());
}

/// Nobody is there: calls are held or told that nobody is there, and are executed once nevertheless.
#[tokio::test(flavor = "multi_thread")]
async fn when_all_refuse_connections_calls_wait_or_are_refused() {
    let scene = upstreams(3, |service| service).await;
    let mut run = scene.load().start();
    let refuse = async || scene.fleet.behave(Behaviour::Refuse);
    let listen = async || scene.fleet.behave(Behaviour::Answer);
    during(&mut run, refuse, listen).await;
    let ledger = run.end().await;
    ledger.holds(|end| matches!(end, End::Refused(502 | 503, _)));
    ledger.executed_once(&scene.fleet.executed());
}

/// A server that fails fast is always free, which must not draw calls to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_fails_fast_draws_no_calls() {
    let scene = upstreams(3, |service| service).await;
    let mut run = scene.load_that_lingers().start();
    let fail = async || scene.fleet.one_behaves("c", Behaviour::Fail(500));
    let answer = async || scene.fleet.one_behaves("c", Behaviour::Slow(20));
    during(&mut run, fail, answer).await;
    let ledger = run.end().await;
    // Its own answer is passed on as it is.
    ledger.holds(|end| matches!(end, End::Refused(500, text) if text.contains("told to fail")));
    ledger.executed_once(&scene.fleet.executed());
    let (failed, answered) = (ledger.failed(), ledger.answered_meanwhile());
    assert!(failed * 4 < answered, "{failed} calls failed and {answered} were answered");
}

/// The port is open and the model is not ready: it is given nothing until it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_model_is_not_ready_is_given_nothing() {
    let scene = upstreams(2, |service| service).await;
    let run = scene.load().start();
    scene.fleet.one_behaves("a", Behaviour::Unready);
    let executed = || scene.fleet.shares().get("a").copied().unwrap_or_default();
    let mut before = executed();
    eventually("it to be left alone", async || {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let now = executed();
        (std::mem::replace(&mut before, now) == now).then_some(())
    })
    .await;
    scene.fleet.one_behaves("a", Behaviour::Answer);
    eventually("it to be given calls again", async || (executed() > before).then_some(())).await;
    run.lasts(crate::scene::calm()).await;
    let ledger = run.end().await;
    ledger.holds(nothing);
    ledger.executed_once(&scene.fleet.executed());
}
