//! What is told beside latencies: that the load could not be sent, and what streams and servers tell.

use std::sync::Arc;
use std::time::Duration;

use weirgate_loadtest::arrivals::Gaps;
use weirgate_loadtest::engine::Setup;
use weirgate_loadtest::request::{Protocol, Request};
use weirgate_loadtest::result::WorkloadSummary;
use weirgate_loadtest::workload::Workload;

use crate::server::{Does, Server};
use crate::{open, requests, run, setup, time, workload};

#[test]
fn a_rate_that_can_not_be_sent_is_not_passed_over() {
    let server = Server::http1(Does::Answers(Duration::from_millis(20)));
    let setup = Setup { most_in_flight: 2, timeout: Duration::from_millis(200), ..setup(server.address, 1) };
    // Two at a time, 20 ms each: at most 100 of 500 a second.
    let run = run(setup, &open(500.0, Gaps::Constant), &time(Duration::from_secs(1)));
    assert_eq!((run.due, run.outcomes.total()), (500, 500), "{:?}", run.outcomes);
    assert!(run.outcomes.unsent > 200 && run.outcomes.ok > 20, "{:?}", run.outcomes);
    assert_eq!(run.outcomes.by_kind["no free connection: all 2 await the server"], run.outcomes.unsent);
    assert!(server.saw.most_in_flight() <= 2 && run.limits.connections == 2);
    assert!(run.limits.most_waiting > 50, "{}", run.limits.most_waiting);
    // It is the server that holds the connections: nothing that the load tester is to blame for.
    for sentence in ["all 2 in flight were taken", "could not be sent"] {
        let told = |told: &[String]| told.iter().any(|told| told.contains(sentence));
        assert!(told(&run.limits.remarks) && !told(&run.limits.reached), "{sentence}: {:?}", run.limits);
    }
    assert!(run.lag.at(0.99).unwrap() > 50.0, "{:?}", run.lag);
    // Whoever was answered waited first.
    assert!(run.latency.at(0.9).unwrap() > 100.0, "{:?}", run.latency.at(0.9));
}

#[test]
fn none_waits_where_there_are_connections_enough() {
    let server = Server::http1(Does::Answers(Duration::from_millis(20)));
    let run = run(setup(server.address, 1), &open(200.0, Gaps::Poisson), &time(Duration::from_secs(1)));
    assert_eq!((run.outcomes.ok, run.outcomes.failed(), run.limits.most_waiting), (run.due, 0, 0));
    assert_eq!(run.limits.remarks, Vec::<String>::new());
    let server = run.server.unwrap();
    assert_eq!(server.revisions["one"].answers, run.due);
    assert!((server.overhead.unwrap().max / 0.025 - 1.0).abs() < 0.001);
}

#[test]
fn streams_are_counted_in_parts_where_the_server_counts_no_tokens() {
    let server = Server::http1(Does::Streams);
    let chat = Request { streams: true, ..Request::new(Protocol::Chat, "/v1/chat/completions", &b"{}"[..]) };
    let summary = WorkloadSummary { streams: true, ..workload(Protocol::Chat, 1).summary.clone() };
    let workload = Arc::new(Workload::of(summary, vec![chat]).unwrap());
    let setup = Setup { workload, ..setup(server.address, 2) };
    let run = run(setup, &open(200.0, Gaps::Poisson), &requests(50));
    assert_eq!((run.outcomes.ok, run.due), (50, 50), "{:?}", run.outcomes);
    let streams = run.streams.unwrap();
    assert_eq!((streams.ttft.count, streams.itl.count, streams.tpot.count), (50, 50, 50));
    assert_eq!((streams.output_tokens, streams.counted_by_server), (100, false));
    assert_eq!((streams.answers_counted_by_server, streams.answers_counted_by_parts), (0, 50));
    assert!(streams.ttft.max <= run.latency.max, "{:?}", streams.ttft);
    assert_eq!(run.windows.iter().map(|window| window.output_tokens).sum::<u64>(), 100);
}
