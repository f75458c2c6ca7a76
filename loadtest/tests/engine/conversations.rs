//! Conversations: what follows from an answer is due after it, and belongs to whoever began.

use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use weirgate_loadtest::arrivals::Gaps;
use weirgate_loadtest::cli::PayloadOptions;
use weirgate_loadtest::engine::Setup;
use weirgate_loadtest::request::Protocol;
use weirgate_loadtest::workload;

use crate::server::{Does, Server};
use crate::{closed, open, requests, run, setup};

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    payload: PayloadOptions,
}

/// Conversations of three turns.
fn conversations(server: &Server, threads: usize, think: Duration) -> Setup {
    let setup = setup(server.address, threads);
    let payload = Flags::parse_from(["loadtest", "--turns", "3", "--distinct", "4"]).payload;
    let ask = workload::Ask {
        protocol: Protocol::Chat,
        model: Some("m"),
        version: None,
        payload: &payload,
        expect: &[],
        think,
        sizes: Vec::new(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let workload = runtime.block_on(workload::build(ask, &setup.client)).unwrap();
    Setup { workload: Arc::new(workload), ..setup }
}

#[test]
fn a_caller_goes_through_one_conversation_before_the_next() {
    let server = Server::http1(Does::Answers(Duration::ZERO));
    let run = run(conversations(&server, 1, Duration::ZERO), &closed(1), &requests(8));
    assert_eq!((run.due, run.outcomes.ok), (8, 8), "{:?}", run.outcomes);
    // Each turn holds what was said before it, and the answers.
    assert_eq!(*server.saw.messages.lock().unwrap(), [1, 3, 5, 1, 3, 5, 1, 3]);
}

#[test]
fn in_an_open_loop_later_turns_come_on_top_of_arrivals() {
    let server = Server::http1(Does::Answers(Duration::ZERO));
    let think = Duration::from_millis(100);
    let run = run(conversations(&server, 2, think), &open(200.0, Gaps::Poisson), &requests(20));
    assert_eq!((run.due, run.outcomes.ok, server.saw.requests()), (60, 60, 60), "{:?}", run.outcomes);
    let messages = server.saw.messages.lock().unwrap();
    for turn in [1, 3, 5] {
        assert_eq!(messages.iter().filter(|messages| **messages == turn).count(), 20);
    }
    // A turn is due when its caller has thought: that is no latency.
    assert!(run.latency.at(0.5).unwrap() < 100.0, "{:?}", run.latency.at(0.5));
    assert!(run.seconds >= 0.2, "{}", run.seconds);
}
