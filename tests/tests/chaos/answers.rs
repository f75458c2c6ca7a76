//! Answers that break off or are none.

use std::sync::OnceLock;

use weirgate_tests::behaviour::Behaviour;
use weirgate_tests::chaos::ledger::End;

use crate::scene::{broken_off, during, nothing, upstreams};

/// One of two servers breaks every answer in this way.
async fn broken(behaviour: Behaviour, allowed: impl Fn(&End) -> bool) {
    let scene = upstreams(2, |service| service).await;
    let mut run = scene.load().start();
    let broken = OnceLock::new();
    let begin = async || scene.fleet.one_behaves(broken.get_or_init(|| scene.fleet.busiest()), behaviour);
    let end = async || scene.fleet.one_behaves(broken.get().unwrap(), Behaviour::Answer);
    during(&mut run, begin, end).await;
    let ledger = run.end().await;
    ledger.holds(allowed);
    // The call was handed over and may have been executed, so it is not repeated.
    ledger.executed_once(&scene.fleet.executed());
    assert!(ledger.failed() > 0, "the server broke no answer");
    let (failed, answered) = (ledger.failed(), ledger.answered_meanwhile());
    assert!(failed < answered, "{failed} calls failed and {answered} were answered");
}

/// Its head may have been passed on already: the caller must see that more is missing.
fn cut_off(end: &End) -> bool {
    broken_off(end) || matches!(end, End::Disconnected(_))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_before_the_answer_is_a_502_and_no_second_execution() {
    broken(Behaviour::Reset, broken_off).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_no_http_is_a_502_and_no_second_execution() {
    broken(Behaviour::Garbage, broken_off).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_within_the_answer_is_never_a_whole_answer() {
    broken(Behaviour::ResetMidBody, cut_off).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_answer_without_its_end_is_never_a_whole_answer() {
    broken(Behaviour::Truncate, cut_off).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_shorter_than_it_says_is_never_a_whole_answer() {
    broken(Behaviour::Short, cut_off).await;
}

/// The manifest says that calls may be executed twice, so the caller notices nothing.
#[tokio::test(flavor = "multi_thread")]
async fn idempotent_calls_are_repeated_elsewhere_when_a_server_breaks_off() {
    let scene = upstreams(3, |service| service.annotation("weirgate.dev/retry", "idempotent")).await;
    let mut run = scene.load().start();
    // So that there is a budget to repeat calls from.
    run.lasts(crate::scene::calm()).await;
    let broken = scene.fleet.busiest();
    let begin = async || scene.fleet.one_behaves(&broken, Behaviour::Reset);
    let end = async || scene.fleet.one_behaves(&broken, Behaviour::Answer);
    during(&mut run, begin, end).await;
    let ledger = run.end().await;
    ledger.holds(nothing);
    let executed = scene.fleet.executed();
    ledger.executed_at_all(&executed);
    let repeated = executed.values().filter(|by| by.len() > 1).count();
    assert!(repeated > 0, "no call was repeated");
    assert!(executed.values().all(|by| by.len() <= 3), "a call was executed more than three times");
}

/// All break off: a budget bounds how much is repeated.
#[tokio::test(flavor = "multi_thread")]
async fn a_budget_bounds_how_often_idempotent_calls_are_repeated() {
    let scene = upstreams(3, |service| service.annotation("weirgate.dev/retry", "idempotent")).await;
    let mut run = scene.load().start();
    let begin = async || scene.fleet.behave(Behaviour::Reset);
    let end = async || scene.fleet.behave(Behaviour::Answer);
    during(&mut run, begin, end).await;
    let ledger = run.end().await;
    // Where all breakers are open for long, calls wait until the queue is full, or their time is over.
    ledger.holds(|end| matches!(end, End::Refused(429 | 502..=504, _)));
    let executions: usize = scene.fleet.executed().values().map(Vec::len).sum();
    assert!(executions * 2 < ledger.calls.len() * 3, "{executions} executions of {} calls", ledger.calls.len());
}
