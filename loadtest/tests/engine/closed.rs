//! Closed loops: as many requests in flight as there are callers, and no more.

use std::sync::atomic::Ordering;
use std::time::Duration;

use weirgate_loadtest::engine::{Engine, Load, Setup};
use weirgate_loadtest::request::Protocol;

use crate::server::{Does, Server};
use crate::{Watch, closed, requests, run, setup, time, workload};

#[test]
fn callers_send_one_request_at_a_time() {
    let server = Server::http1(Does::Answers(Duration::from_millis(2)));
    let run = run(setup(server.address, 2), &closed(5), &requests(300));
    assert_eq!((run.due, run.outcomes.ok, server.saw.requests()), (300, 300, 300));
    assert_eq!((server.saw.most_in_flight(), server.saw.connections(), run.limits.connections), (5, 5, 5));
    assert_eq!((run.load.callers, run.limits.threads, run.limits.most_waiting), (Some(5), 2, 0));
    // Callers share one sequence.
    let mut numbers = server.saw.numbers.lock().unwrap().clone();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 300);
}

#[test]
fn a_caller_less_than_threads_leaves_threads_out() {
    let server = Server::http1(Does::Answers(Duration::ZERO));
    let run = run(setup(server.address, 3), &closed(1), &requests(50));
    assert_eq!((run.outcomes.ok, run.limits.threads, server.saw.connections()), (50, 1, 1));
}

/// With one caller for each kind of request, none may keep to its own kind.
#[test]
fn each_request_is_sent_equally_often_however_long_it_takes() {
    let server = Server::http1(Does::SlowWhereOdd(Duration::from_millis(10)));
    for (callers, threads) in [(2, 1), (4, 2)] {
        let setup = Setup { workload: workload(Protocol::V2, 2), ..setup(server.address, threads) };
        server.saw.numbers.lock().unwrap().clear();
        let run = run(setup, &closed(callers), &requests(100));
        assert_eq!(run.outcomes.ok, 100);
        let odd = server.saw.numbers.lock().unwrap().iter().filter(|number| **number == 1).count();
        // But for those at the very end that are no longer sent.
        assert!(odd.abs_diff(50) <= callers, "{odd} of 100");
    }
}

#[test]
fn a_stall_hides_in_one_latency_of_each_caller() {
    let server = Server::http1(Does::Stalls);
    let saw = server.saw.clone();
    let stall = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        saw.stall.store(true, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(600));
        saw.stall.store(false, Ordering::SeqCst);
    });
    let load = Load::Closed { callers: 1, think: Duration::from_millis(2) };
    let run = run(setup(server.address, 1), &load, &time(Duration::from_secs(2)));
    stall.join().unwrap();
    assert!(run.outcomes.ok > 50 && run.outcomes.failed() == 0, "{:?}", run.outcomes);
    assert!(run.latency.max > 400.0, "{:?}", run.latency.max);
    assert!(run.latency.at(0.95).unwrap() < 200.0, "{:?}", run.latency.at(0.95));
}

#[test]
fn thinking_is_no_latency() {
    let server = Server::http1(Does::Answers(Duration::ZERO));
    let load = Load::Closed { callers: 2, think: Duration::from_millis(100) };
    let run = run(setup(server.address, 1), &load, &time(Duration::from_secs(1)));
    // At 0, 100, ... and no more than ten times each.
    assert!((2..=20).contains(&run.due), "{}", run.due);
    assert_eq!(run.outcomes.ok, run.due);
    assert!(run.latency.at(0.5).unwrap() < 50.0, "{:?}", run.latency.at(0.5));
}

#[test]
fn a_server_that_closes_after_each_answer_is_connected_to_anew() {
    let server = Server::http1(Does::AnswersAndCloses);
    let run = run(setup(server.address, 1), &closed(2), &requests(60));
    assert_eq!((run.outcomes.ok, run.due), (60, 60), "{:?}", run.outcomes);
    assert_eq!((server.saw.connections(), run.limits.opened), (60, 60));
}

#[test]
fn a_dead_server_is_not_asked_as_fast_as_the_machine_can() {
    let address = Server::http1(Does::Answers(Duration::ZERO)).address;
    let run = run(setup(address, 1), &closed(2), &time(Duration::from_secs(1)));
    // 10, 20, 40 ... ms apart: eight in a second, of each caller.
    assert!((2..=16).contains(&run.due), "{}", run.due);
    assert_eq!((run.outcomes.errors, run.outcomes.total()), (run.due, run.due));
    assert!(run.limits.remarks.iter().any(|remark| remark.starts_with("callers paused")), "{:?}", run.limits);
}

#[test]
fn callers_share_connections_of_http2_and_keep_them() {
    let server = Server::grpc(Does::Answers(Duration::from_millis(5)));
    let setup = Setup { workload: workload(Protocol::Grpc, 100), connections: Some(1), ..setup(server.address, 1) };
    let mut engine = Engine::start(setup).unwrap();
    for _ in 0..2 {
        let run = engine.run(&closed(8), &requests(80), None, &mut Watch::default()).unwrap();
        assert_eq!((run.outcomes.ok, run.due, run.limits.connections), (80, 80, 1), "{:?}", run.outcomes);
    }
    assert_eq!((server.saw.connections(), server.saw.most_in_flight()), (1, 8));
}
