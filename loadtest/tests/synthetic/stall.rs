//! A server that stops for two seconds: an open loop sees it as its users would, and a naive closed loop misses it.

use weirgate_loadtest::engine::Setup;
use weirgate_loadtest::request::Protocol;
use weirgate_loadtest::synthetic::{Service, Synthetic};

use crate::support::{closed, lasting, latency, measure, ms, open, request, run, serve, setup};

const RATE: f64 = 100.0;

fn server() -> Synthetic {
    serve(Service::Stall { delay: ms(10), after: ms(500), stall: ms(2000) })
}

#[test]
fn an_open_loop_shows_it() {
    let server = server();
    let run = measure(&server, &open(RATE), &lasting(ms(4000)));
    assert_eq!((run.due, run.outcomes.ok), (400, 400));
    // All that was due in two seconds.
    let stalled = server.counts().stalled;
    assert!((180..=220).contains(&stalled), "{stalled}");
    // They wait a second on average, the first of them two; the others wait no longer than ever.
    assert!(latency(&run, 0.5) < 1000.0, "{:?}", run.latency);
    assert!((1000.0..2500.0).contains(&latency(&run, 0.9)), "{:?}", run.latency);
    assert!((1500.0..2500.0).contains(&latency(&run, 0.99)), "{:?}", run.latency);
    // It was over before the run was.
    let last = run.windows.iter().rev().find(|window| window.ok > 0).unwrap();
    assert!(last.p50.unwrap() < 1000.0, "{last:?}");
}

#[test]
fn a_naive_closed_loop_hides_it() {
    let server = server();
    let run = measure(&server, &closed(1), &lasting(ms(4000)));
    // Its one caller waits, and asks nothing meanwhile: one slow answer among all.
    assert_eq!(server.counts().stalled, 1);
    assert!(run.outcomes.ok > 110, "{}", run.outcomes.ok);
    assert!(latency(&run, 0.99) < 1000.0, "{:?}", run.latency);
    assert!((1900.0..2500.0).contains(&run.latency.max), "{:?}", run.latency);
}

/// The same in one run: with a single connection, all but one of those that were due in the stall are sent after it.
#[test]
fn latency_counts_from_when_a_request_was_due_not_from_when_it_was_sent() {
    let server = server();
    let one = Setup { most_in_flight: 1, ..setup(server.address(), request(Protocol::V2)) };
    let run = run(one, &open(RATE / 2.0), &lasting(ms(4000)));
    assert_eq!(run.outcomes.ok, 200);
    assert_eq!(server.counts().stalled, 1);
    assert!(run.from_sent.at(0.99).unwrap() < 1000.0, "{:?}", run.from_sent);
    assert!(latency(&run, 0.99) >= 1000.0, "{:?}", run.latency);
    assert!(run.lag.at(0.99).unwrap() >= 1000.0, "{:?}", run.lag);
    assert!(run.limits.most_waiting > 50, "{:?}", run.limits);
    // One connection is too few to load it, and the server holds it: that is told, and nobody is blamed.
    assert!(run.limits.remarks[0].contains("all 1 in flight were taken"), "{:?}", run.limits);
}
