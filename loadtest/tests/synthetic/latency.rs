//! Known delays.

use weirgate_loadtest::request::Protocol;
use weirgate_loadtest::synthetic::Service;

use crate::support::{closed, latency, measure, ms, open, request, requests, run, serve, setup};

/// Three significant digits.
const DIGITS: f64 = 0.999;

#[test]
fn a_constant_delay() {
    let server = serve(Service::Constant(ms(20)));
    let run = measure(&server, &open(200.0), &requests(400));
    assert_eq!((run.due, run.outcomes.ok, run.latency.count), (400, 400, 400));
    assert_eq!(server.counts().right, 400);
    assert!((run.due_rate / 200.0 - 1.0).abs() < 0.02, "{}", run.due_rate);
    assert!(run.from_sent.min >= 20.0 * DIGITS, "nothing can be faster: {}", run.from_sent.min);
    assert!(run.latency.min >= 20.0 * DIGITS && run.latency.mean >= run.from_sent.mean * DIGITS);
    let p50 = latency(&run, 0.5);
    assert!((20.0 * DIGITS..40.0).contains(&p50), "{p50}");
    assert!(latency(&run, 0.99) < 200.0, "{:?}", run.latency);
}

#[test]
fn two_modes() {
    let server = serve(Service::Bimodal { fast: ms(10), slow: ms(200), slow_every: 20 });
    let run = measure(&server, &open(300.0), &requests(600));
    assert_eq!((run.outcomes.ok, server.counts().slow), (600, 30));
    // 5 % are slow: they begin between p90 and p99.
    assert!((10.0 * DIGITS..200.0 * DIGITS).contains(&latency(&run, 0.5)), "{:?}", run.latency);
    assert!(latency(&run, 0.9) < 200.0 * DIGITS, "{:?}", run.latency);
    assert!((200.0 * DIGITS..400.0).contains(&latency(&run, 0.99)), "{:?}", run.latency);
    // By the mean their share can be reckoned back. What the machine adds, it adds to all.
    let added = latency(&run, 0.5) - 10.0;
    let share = (run.latency.mean - 10.0 - added) / 190.0;
    assert!((0.03..0.09).contains(&share), "{share}");
}

#[test]
fn a_closed_loop_of_known_callers() {
    let server = serve(Service::Constant(ms(25)));
    let run = measure(&server, &closed(8), &requests(320));
    assert_eq!((run.outcomes.ok, server.counts().right), (320, 320));
    // 8 callers who wait 25 ms each time get 320/s at most.
    assert!(run.rate <= 320.0 * 1.01 && run.rate > 160.0, "{}", run.rate);
    assert!(!run.load.open);
}

#[test]
fn every_protocol() {
    for protocol in [
        Protocol::V1,
        Protocol::V2,
        Protocol::V2Binary,
        Protocol::Grpc,
        Protocol::Chat,
        Protocol::Completions,
        Protocol::Embeddings,
    ] {
        let server = serve(Service::Constant(ms(5)));
        let run = run(setup(server.address(), request(protocol)), &closed(4), &requests(40));
        assert_eq!((run.outcomes.ok, run.outcomes.failed()), (40, 0), "{protocol}: {:?}", run.outcomes);
        assert_eq!(server.counts().right, 40, "{protocol}");
        assert!(run.latency.min >= 5.0 * DIGITS, "{protocol}: {}", run.latency.min);
    }
}
