//! Runs: warm-up, windows, stops, and what an engine keeps from one to the next.

use std::time::Duration;

use weirgate_loadtest::arrivals::{Arrivals, Course, Gaps};
use weirgate_loadtest::engine::{Engine, Load, Setup, Span, Until, Warmup};

use crate::server::{Does, Server};
use crate::{Watch, closed, open, requests, run, setup, time};

const SECOND: Duration = Duration::from_secs(1);
const AT_ONCE: Does = Does::Answers(Duration::ZERO);

#[test]
fn the_warm_up_is_left_out_by_when_requests_were_due() {
    let server = Server::http1(Does::Answers(Duration::from_millis(50)));
    let span = Span { warmup: Warmup::For(SECOND / 2), until: Until::After(SECOND) };
    let mut watch = Watch::default();
    let mut engine = Engine::start(setup(server.address, 2)).unwrap();
    let run = engine.run(&open(200.0, Gaps::Constant), &span, None, &mut watch).unwrap();
    // At 0, 5, ... 1495 ms: the first hundred is the warm-up.
    assert_eq!((run.due, run.outcomes.ok, server.saw.requests()), (200, 200, 300));
    assert_eq!((run.warmup.seconds, run.warmup.steady, run.seconds), (0.5, None, 1.0));
    assert_eq!(run.windows.iter().filter(|window| window.warmup).count(), 2);
    let sum = |of: fn(&weirgate_loadtest::result::Window) -> u64| run.windows.iter().map(of).sum::<u64>();
    assert_eq!((sum(|window| window.due), sum(|window| window.ok), sum(|window| window.failed)), (300, 300, 0));
    assert!(run.windows.windows(2).all(|two| two[0].start < two[1].start));
    assert!(run.windows[1].in_flight > 0, "{:?}", run.windows[1]);
    assert_eq!((watch.began.as_deref(), watch.ended), (Some("open, constant, 200/s"), 1));
    assert_eq!(watch.windows.len(), run.windows.len());
    assert!(watch.done.iter().all(|done| done.is_some_and(|done| done > 0.0 && done <= 1.0)), "{:?}", watch.done);
}

#[test]
fn a_window_begins_where_the_measured_time_does() {
    let server = Server::http1(AT_ONCE);
    let span = Span { warmup: Warmup::For(SECOND / 10), until: Until::After(SECOND / 5) };
    let run = run(setup(server.address, 2), &open(500.0, Gaps::Constant), &span);
    assert_eq!((run.due, run.seconds), (100, 0.2));
    let measured: Vec<_> = run.windows.iter().filter(|window| !window.warmup).collect();
    assert_eq!((measured[0].start, measured[0].due), (0.1, 100), "{measured:?}");
    #[cfg(target_os = "linux")]
    assert!(run.limits.cpu.is_some_and(|cpu| cpu > 0.0), "{:?}", run.limits);
}

#[test]
fn what_was_said_in_a_run_is_not_told_of_the_next() {
    let server = Server::http1(Does::Refuses);
    let mut engine = Engine::start(setup(server.address, 2)).unwrap();
    let span = Span { warmup: Warmup::For(SECOND / 5), ..requests(20) };
    for until in [Until::Requests(20), Until::Requests(10)] {
        let run = engine.run(&closed(2), &Span { until, ..span }, None, &mut Watch::default()).unwrap();
        assert_eq!(run.outcomes.errors, run.due);
        assert!(run.outcomes.samples["500"].contains("choices"), "{:?}", run.outcomes.samples);
    }
    drop(server);
    let dead = engine.run(&closed(2), &requests(2), None, &mut Watch::default()).unwrap();
    assert!(dead.outcomes.errors == 2 && dead.outcomes.samples.is_empty(), "{:?}", dead.outcomes);
}

#[test]
fn measuring_begins_when_the_server_is_steady() {
    let server = Server::http1(Does::Answers(Duration::from_millis(20)));
    let span = Span { warmup: Warmup::Steady { at_most: 20 * SECOND }, until: Until::Requests(100) };
    let run = run(setup(server.address, 2), &open(200.0, Gaps::Constant), &span);
    assert_eq!((run.due, run.outcomes.ok), (100, 100));
    assert_eq!(run.warmup.steady, Some(true));
    assert!(run.warmup.seconds >= 0.75 && run.warmup.seconds < 20.0, "{:?}", run.warmup);
    assert_eq!(server.saw.requests() as u64, run.windows.iter().map(|window| window.ok).sum::<u64>());
}

#[test]
fn measuring_begins_in_any_case_when_the_warm_up_may_last_no_longer() {
    // It never catches up with what is due.
    let server = Server::http1(Does::Answers(Duration::from_millis(30)));
    let setup = Setup { most_in_flight: 1, ..setup(server.address, 1) };
    let span = Span { warmup: Warmup::Steady { at_most: SECOND }, until: Until::After(SECOND / 2) };
    let run = run(setup, &open(100.0, Gaps::Constant), &span);
    assert_eq!((run.warmup.steady, run.warmup.seconds, run.due), (Some(false), 1.0, 50));
    assert_eq!(run.outcomes.total(), 50);
}

#[test]
fn a_stop_ends_a_run_with_what_was_measured() {
    let server = Server::http1(AT_ONCE);
    for load in [open(500.0, Gaps::Poisson), closed(3), Load::Closed { callers: 3, think: 600 * SECOND }] {
        let setup = setup(server.address, 2);
        let stop = setup.stop.clone();
        let stopping = std::thread::spawn(move || {
            std::thread::sleep(SECOND / 2);
            stop.stop();
        });
        let run = run(setup, &load, &time(3_600 * SECOND));
        stopping.join().unwrap();
        assert!(run.stopped && run.outcomes.given_up == 0, "{:?}", run.outcomes);
        assert!(run.seconds > 0.2 && run.seconds < 60.0, "{}", run.seconds);
        assert!(run.due > 0 && run.outcomes.ok == run.due, "{:?}", run.outcomes);
    }
}

#[test]
fn a_stop_does_not_wait_for_a_server_that_hangs() {
    let server = Server::http1(Does::Hangs { every: 1 });
    let setup = Setup { timeout: 600 * SECOND, most_in_flight: 4, ..setup(server.address, 1) };
    let stop = setup.stop.clone();
    let stopping = std::thread::spawn(move || {
        std::thread::sleep(SECOND / 2);
        stop.stop();
    });
    let run = run(setup, &open(100.0, Gaps::Constant), &time(3_600 * SECOND));
    stopping.join().unwrap();
    // Nobody knows what would have become of those that were due.
    assert_eq!((run.due, run.outcomes.total(), run.outcomes.failed()), (0, 0, 0), "{:?}", run.outcomes);
    assert!(run.stopped && run.outcomes.given_up > 4 && run.seconds < 60.0, "{:?}", run.outcomes);
    assert!(run.limits.reached.iter().all(|reached| !reached.contains("could not be sent")), "{:?}", run.limits);
}

#[test]
fn connections_stay_from_run_to_run_and_those_of_a_server_that_left_are_replaced() {
    let server = Server::http1(AT_ONCE);
    let mut engine = Engine::start(setup(server.address, 2)).unwrap();
    for _ in 0..3 {
        let run = engine.run(&closed(4), &requests(40), None, &mut Watch::default()).unwrap();
        assert_eq!(run.outcomes.ok, 40);
    }
    assert_eq!(server.saw.connections(), 4);
    let open = engine.run(&open(400.0, Gaps::Constant), &requests(40), None, &mut Watch::default()).unwrap();
    assert_eq!(open.outcomes.ok, 40);
    drop(server);
    let dead = engine.run(&closed(1), &requests(3), None, &mut Watch::default()).unwrap();
    assert_eq!((dead.due, dead.outcomes.errors), (3, 3));
}

#[test]
fn what_can_not_be_run_is_told() {
    let server = Server::http1(AT_ONCE);
    for setup in [
        Setup { threads: 0, ..setup(server.address, 1) },
        Setup { most_in_flight: 0, ..setup(server.address, 1) },
        Setup { timeout: Duration::ZERO, ..setup(server.address, 1) },
        Setup { timeout: Duration::MAX, ..setup(server.address, 1) },
    ] {
        assert!(Engine::start(setup).is_err());
    }
    let mut engine = Engine::start(setup(server.address, 1)).unwrap();
    let end = Span { warmup: Warmup::For(Duration::ZERO), until: Until::End };
    let late = Span { warmup: Warmup::For(SECOND), until: Until::End };
    let recorded = Load::Open(Arrivals::Recorded([Duration::ZERO].into()));
    let ramp = Course::Ramp { from: 1.0, to: 2.0, over: SECOND };
    let changes = Load::Open(Arrivals::Drawn { course: ramp, gaps: Gaps::Constant, seed: 1 });
    for (load, span, part) in [
        (closed(0), requests(1), "needs a caller"),
        (closed(1), end, "have an end of their own"),
        (open(1.0, Gaps::Constant), end, "have an end of their own"),
        (recorded, late, "over before the warm-up"),
        (
            changes,
            Span { warmup: Warmup::Steady { at_most: SECOND }, until: Until::Requests(1) },
            "never becomes steady",
        ),
    ] {
        let error = engine.run(&load, &span, None, &mut Watch::default()).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    // It is as good as new.
    assert_eq!(engine.run(&closed(1), &requests(5), None, &mut Watch::default()).unwrap().outcomes.ok, 5);
}
