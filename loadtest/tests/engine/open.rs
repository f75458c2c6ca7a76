//! Open loops: every arrival once, at its time, whatever becomes of those before.

use std::sync::atomic::Ordering;
use std::time::Duration;

use weirgate_loadtest::arrivals::{Arrivals, Course, Gaps};
use weirgate_loadtest::engine::{Engine, Load, Setup, Span, Until, Warmup};
use weirgate_loadtest::request::Protocol;
use weirgate_loadtest::result::Run;

use crate::server::{Does, Server};
use crate::{Watch, open, requests, run, setup, time, workload};

const AT_ONCE: Does = Does::Answers(Duration::ZERO);

#[test]
fn each_arrival_is_sent_once_however_many_threads_share_them() {
    let mut seconds = Vec::new();
    for threads in [1, 3] {
        let server = Server::http1(AT_ONCE);
        let run = run(setup(server.address, threads), &open(1_000.0, Gaps::Poisson), &requests(400));
        let mut numbers = server.saw.numbers.lock().unwrap().clone();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..400).collect::<Vec<u64>>());
        assert_eq!((run.due, run.outcomes.ok, run.outcomes.total()), (400, 400, 400), "{:?}", run.outcomes);
        assert_eq!((run.latency.count, run.from_sent.count, run.lag.count), (400, 400, 400));
        assert_eq!((run.limits.threads, run.load.open, run.warmup.steady), (threads, true, None));
        seconds.push(run.seconds);
    }
    // The same seed: the arrival after the last would be due at the same time.
    let Load::Open(arrivals) = open(1_000.0, Gaps::Poisson) else { unreachable!() };
    let next = arrivals.times().nth(400).unwrap().as_secs_f64();
    assert!(seconds.iter().all(|seconds| (seconds - next).abs() < 1e-6), "{seconds:?} are not {next}");
}

#[test]
fn nothing_is_due_at_the_end_or_later() {
    let server = Server::http1(AT_ONCE);
    let run = run(setup(server.address, 2), &open(500.0, Gaps::Constant), &time(Duration::from_millis(500)));
    assert_eq!((run.due, run.outcomes.ok, server.saw.requests()), (250, 250, 250));
    assert_eq!((run.seconds, run.due_rate), (0.5, 500.0));
    // The last is due 2 ms before the end, and may be answered after it.
    assert!(run.rate <= 500.0 && run.rate > 250.0, "{}", run.rate);
}

#[test]
fn recorded_arrivals_come_to_their_end() {
    let server = Server::http1(AT_ONCE);
    let times = [0, 3, 3, 3, 40, 100].map(Duration::from_millis);
    let load = Load::Open(Arrivals::Recorded(times.into()));
    let span = Span { warmup: Warmup::For(Duration::ZERO), until: Until::End };
    let run = run(setup(server.address, 2), &load, &span);
    assert_eq!((run.due, run.outcomes.ok, run.seconds), (6, 6, 0.12));
    let once = Load::Open(Arrivals::Recorded([Duration::ZERO; 3].into()));
    let run = run_again(&server, &once, &span);
    // They have no gaps: it is over when they are answered.
    assert!(run.outcomes.ok == 3 && run.seconds > 0.0 && run.rate > 0.0, "{run:?}");
}

fn run_again(server: &Server, load: &Load, span: &Span) -> Run {
    run(setup(server.address, 1), load, span)
}

#[test]
fn a_number_of_arrivals_has_the_rate_that_was_asked_for() {
    let server = Server::http1(AT_ONCE);
    let run = run(setup(server.address, 2), &open(100.0, Gaps::Constant), &requests(4));
    // At 0, 10, 20 and 30 ms: the load ends when a fifth would be due.
    assert_eq!((run.due, run.seconds, run.due_rate), (4, 0.04, 100.0));
}

/// Answers that come after the end say nothing of how many the server gives a second.
#[test]
fn under_overload_the_rate_is_that_of_the_server() {
    let server = Server::http1(Does::Answers(Duration::from_millis(20)));
    let setup = Setup { most_in_flight: 2, ..setup(server.address, 1) };
    // Two at a time, 20 ms each: at most 100 of 300 a second.
    let run = run(setup, &open(300.0, Gaps::Constant), &time(Duration::from_secs(1)));
    assert_eq!((run.due, run.outcomes.ok, run.due_rate), (300, 300, 300.0), "{:?}", run.outcomes);
    assert!(run.rate <= 102.0 && run.rate > 10.0, "{}", run.rate);
}

#[test]
fn a_ramp_begins_after_its_warm_up() {
    let server = Server::http1(AT_ONCE);
    let steps = vec![(100.0, Duration::from_millis(200)), (500.0, Duration::from_millis(200))];
    let load = Load::Open(Arrivals::Drawn { course: Course::Steps(steps), gaps: Gaps::Constant, seed: 1 });
    let span =
        Span { warmup: Warmup::For(Duration::from_millis(300)), until: Until::After(Duration::from_millis(400)) };
    let run = run(setup(server.address, 1), &load, &span);
    assert_eq!((run.due, server.saw.requests()), (120, 150));
}

#[test]
fn few_connections_stay_warm_under_little_load() {
    let server = Server::http1(AT_ONCE);
    let run = run(setup(server.address, 1), &open(100.0, Gaps::Constant), &requests(60));
    assert_eq!(run.outcomes.ok, 60);
    // One is enough, if the machine lets an answer through in 10 ms now and then.
    assert!(server.saw.connections() < 30, "{} connections", server.saw.connections());
}

#[test]
fn who_hangs_is_a_timeout_and_its_connection_is_replaced() {
    let server = Server::http1(Does::Hangs { every: 10 });
    let setup = Setup { timeout: Duration::from_secs(1), ..setup(server.address, 1) };
    let run = run(setup, &open(500.0, Gaps::Constant), &requests(100));
    assert_eq!((run.due, run.outcomes.timeouts, run.outcomes.ok), (100, 10, 90), "{:?}", run.outcomes);
    assert_eq!(run.outcomes.by_kind["timeout"], 10);
    assert_eq!((run.failed_latency.count, run.latency.count), (10, 90));
    assert!(run.failed_latency.min >= 999.0, "{:?}", run.failed_latency);
    // They were sent, if in vain.
    assert_eq!(run.lag.count, 100);
    assert!(server.saw.connections() > 10);
    // What was given up was hung up on.
    for _ in 0..100 {
        if server.saw.in_flight.load(Ordering::SeqCst) == 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{} calls are still in flight", server.saw.in_flight.load(Ordering::SeqCst));
}

/// While the server stalls, arrivals go on. Sent one at a time they wait, which only counts from when they were due.
#[test]
fn a_stall_counts_for_all_who_came_while_it_lasted() {
    let server = Server::http1(Does::Stalls);
    let mut engine = Engine::start(Setup { most_in_flight: 1, ..setup(server.address, 1) }).unwrap();
    let saw = server.saw.clone();
    let stall = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(500));
        saw.stall.store(true, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(600));
        saw.stall.store(false, Ordering::SeqCst);
    });
    let load = open(100.0, Gaps::Constant);
    let run = engine.run(&load, &time(Duration::from_secs(2)), None, &mut Watch::default()).unwrap();
    stall.join().unwrap();
    assert_eq!((run.due, run.outcomes.ok), (200, 200));
    // Of 200 requests 60 were due meanwhile, 40 of them at least 200 ms before its end.
    let (p85, naive) = (run.latency.at(0.85).unwrap(), run.from_sent.at(0.95).unwrap());
    assert!(p85 > 200.0, "from due: {p85} ms");
    assert!(naive < 200.0, "from sent: {naive} ms");
    assert!(run.lag.max > 400.0, "{:?}", run.lag);
}

#[test]
fn calls_share_connections_of_http2() {
    let server = Server::grpc(Does::Answers(Duration::from_millis(30)));
    let grpc = |connections| Setup { workload: workload(Protocol::Grpc, 100), connections, ..setup(server.address, 2) };
    let one = run(grpc(None), &open(500.0, Gaps::Constant), &requests(200));
    assert_eq!((one.outcomes.ok, one.limits.connections, server.saw.connections()), (200, 2, 2), "{:?}", one.outcomes);
    assert!(server.saw.most_in_flight() > 2);
    let four = run(grpc(Some(4)), &open(500.0, Gaps::Constant), &requests(200));
    assert_eq!((four.outcomes.ok, four.limits.connections, server.saw.connections()), (200, 4, 6));
}

#[test]
fn a_dead_server_fails_each_arrival_once() {
    let address = Server::http1(AT_ONCE).address;
    let run = run(setup(address, 2), &open(500.0, Gaps::Poisson), &requests(100));
    assert_eq!((run.due, run.outcomes.errors, run.outcomes.total()), (100, 100, 100));
    assert_eq!(run.outcomes.by_kind["can't connect: connection refused"], 100);
    assert_eq!((run.latency.count, run.failed_latency.count, run.rate), (0, 100, 0.0));
}
