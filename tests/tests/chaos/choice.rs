//! Who is given a call.

use std::collections::BTreeSet;

use tokio::task::JoinSet;
use weirgate_tests::behaviour::Behaviour;
use weirgate_tests::{Http1, PATIENCE, calls, eventually, row};

use crate::scene::{DEADLINE, NAME, upstreams};

/// Four servers, four callers: nobody is idle while somebody waits.
#[tokio::test(flavor = "multi_thread")]
async fn complaint_50_no_server_is_idle_while_calls_wait() {
    let scene = upstreams(4, |service| service.concurrency(1)).await;
    scene.fleet.behave(Behaviour::Slow(200));
    for round in 0..5 {
        let mut callers = JoinSet::new();
        for caller in 0..4 {
            let mut client = Http1::connect(scene.server.data).await;
            let tensors = calls::with_id(format!("{round}.{caller}"), row(&[1.0]));
            callers.spawn(async move { client.send(calls::json_within(NAME, &tensors, DEADLINE)).await });
        }
        for reply in callers.join_all().await {
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
        let executed = scene.fleet.executed();
        let by: BTreeSet<_> = (0..4).map(|caller| &executed[&format!("{round}.{caller}")]).collect();
        assert_eq!(by.len(), 4, "round {round}: {by:?}");
    }
}

/// Calls wait in one queue and not at a server: when one becomes free, it takes the next.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_behind_a_busy_server_while_another_is_free() {
    let scene = upstreams(2, |service| service.concurrency(1)).await;
    scene.fleet.one_behaves("a", Behaviour::Hang);
    let mut under_way = JoinSet::new();
    // Until the one that hangs has got a call.
    for id in 0.. {
        let mut client = Http1::connect(scene.server.data).await;
        let tensors = calls::with_id(id.to_string(), row(&[1.0]));
        under_way.spawn(async move { client.try_send(calls::json_within(NAME, &tensors, PATIENCE)).await });
        let by = eventually("the call to be executed", async || scene.fleet.executed().remove(&id.to_string())).await;
        if by == ["a"] {
            break;
        }
    }
    for _ in 0..20 {
        let reply = Http1::connect(scene.server.data).await.infer(NAME, &row(&[1.0])).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    assert_eq!(scene.fleet.shares()["a"], 1);
}
