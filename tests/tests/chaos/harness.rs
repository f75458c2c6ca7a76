//! The instruments themselves, without a gateway: what the upstream is told to do is what the ledger shows.

use std::time::Duration;

use weirgate_tests::behaviour::Behaviour;
use weirgate_tests::chaos::ledger::End;
use weirgate_tests::chaos::{Fleet, Ledger, Load};

use crate::scene::{NAME, UPSTREAM};

/// Calls of half a second, straight to one upstream.
async fn straight(behaviour: Behaviour) -> (Ledger, Fleet) {
    let fleet = Fleet::start(UPSTREAM, 1).await;
    fleet.behave(behaviour);
    let address = fleet.urls().trim_start_matches("http://").parse().unwrap();
    let deadline = Duration::from_secs(5);
    let model = NAME.to_owned();
    let run = Load { address, model, per_second: 100.0, deadline, fresh: false, seed: 1 }.start();
    run.lasts(Duration::from_millis(500)).await;
    (run.end().await, fleet)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_does_is_what_the_ledger_shows() {
    let cut_off = |end: &End| matches!(end, End::Disconnected(text) if text.contains("cut off"));
    let disconnected = |end: &End| matches!(end, End::Disconnected(_));
    type Is<'a> = &'a dyn Fn(&End) -> bool;
    let cases: [(Behaviour, bool, Is); 9] = [
        (Behaviour::Answer, true, &|end| *end == End::Answered),
        (Behaviour::Slow(50), true, &|end| *end == End::Answered),
        (Behaviour::Unready, true, &|end| *end == End::Answered),
        (Behaviour::Fail(500), false, &|end| matches!(end, End::Refused(500, _))),
        (Behaviour::NotExecuted, false, &|end| matches!(end, End::Refused(503, _))),
        (Behaviour::Reset, true, &disconnected),
        (Behaviour::Garbage, true, &disconnected),
        (Behaviour::Truncate, true, &cut_off),
        (Behaviour::Short, true, &cut_off),
    ];
    for (behaviour, executes, is) in cases {
        let (ledger, fleet) = straight(behaviour).await;
        assert!(ledger.calls.len() > 10, "{behaviour}: only {} calls", ledger.calls.len());
        for call in &ledger.calls {
            assert!(is(&call.end), "{behaviour}: {:?}", call.end);
            let executed = fleet.executed().get(&call.id.to_string()).map_or(0, Vec::len);
            assert_eq!(executed, usize::from(executes), "{behaviour}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_refuses_connections_and_listens_again() {
    let fleet = Fleet::start(UPSTREAM, 1).await;
    let address: std::net::SocketAddr = fleet.urls().trim_start_matches("http://").parse().unwrap();
    for (behaviour, listens) in [(Behaviour::Refuse, false), (Behaviour::Answer, true)] {
        fleet.behave(behaviour);
        weirgate_tests::eventually("it to do so", async || {
            (tokio::net::TcpStream::connect(address).await.is_ok() == listens).then_some(())
        })
        .await;
    }
}
