//! Streamed answers: times of their parts, and tokens.

use weirgate_loadtest::request::Protocol;
use weirgate_loadtest::synthetic::{Behaviour, Fault, Synthetic, Tokens};

use crate::support::{ms, open, requests, run, setup, streamed};

/// The first of eight tokens after 60 ms, each other 25 ms later.
fn behaviour() -> Behaviour {
    Behaviour { tokens: Tokens { count: 8, gap: ms(25) }, ..Behaviour::constant(ms(60)) }
}

#[test]
fn first_token_gaps_and_tokens() {
    for protocol in [Protocol::Chat, Protocol::Completions] {
        let server = Synthetic::start(behaviour()).unwrap();
        let run = run(setup(server.address(), streamed(protocol, true)), &open(50.0), &requests(100));
        assert_eq!((run.outcomes.ok, server.counts().right), (100, 100), "{protocol}: {:?}", run.outcomes);
        let streams = run.streams.as_ref().unwrap();
        assert!(streams.counted_by_server);
        assert_eq!((streams.output_tokens, streams.prompt_tokens), (server.counts().tokens, 700), "{protocol}");
        assert_eq!((streams.ttft.count, streams.itl.count, streams.tpot.count), (100, 700, 100), "{protocol}");
        // The role that a chat begins with comes at once, and is no token.
        assert!(streams.ttft.min >= 60.0 * 0.999, "{protocol}: {:?}", streams.ttft);
        assert!(streams.ttft.at(0.5).unwrap() < 120.0, "{protocol}: {:?}", streams.ttft);
        // Gaps vary with the timer, but their sum is known.
        assert!((23.0..35.0).contains(&streams.itl.mean), "{protocol}: {:?}", streams.itl);
        assert!((23.0..35.0).contains(&streams.tpot.at(0.5).unwrap()), "{protocol}: {:?}", streams.tpot);
        assert!(run.latency.min >= (60.0 + 7.0 * 25.0) * 0.999, "{protocol}: {:?}", run.latency);
        assert!((100.0..=440.0).contains(&streams.output_tokens_rate), "{protocol}: {}", streams.output_tokens_rate);
    }
}

#[test]
fn parts_count_as_tokens_where_the_server_does_not_count() {
    let server = Synthetic::start(behaviour()).unwrap();
    let run = run(setup(server.address(), streamed(Protocol::Chat, false)), &open(50.0), &requests(50));
    let streams = run.streams.as_ref().unwrap();
    assert!(!streams.counted_by_server);
    assert_eq!((run.outcomes.ok, streams.output_tokens), (50, 400));
}

#[test]
fn streams_that_end_badly_are_errors() {
    let behaviour = behaviour().with(10, Fault::Cut).with(15, Fault::ErrorEvent);
    let server = Synthetic::start(behaviour).unwrap();
    let run = run(setup(server.address(), streamed(Protocol::Chat, true)), &open(50.0), &requests(90));
    let counts = server.counts();
    assert_eq!((counts.cut, counts.error_events), (9, 3));
    assert_eq!((run.outcomes.ok, run.outcomes.errors), (78, 12), "{:?}", run.outcomes);
    assert_eq!(run.streams.unwrap().ttft.count, 78, "times are those of right answers");
}
