//! Answers that are well-formed, quick, and wrong.

use std::sync::Arc;

use weirgate_loadtest::request::{Protocol, Request};
use weirgate_loadtest::slo::Slo;
use weirgate_loadtest::synthetic::{Behaviour, Fault, Synthetic};
use weirgate_loadtest::workload::expect::{Expect, Term};

use crate::support::{ms, open, request, requests, run, setup, streamed};

fn server() -> Synthetic {
    Synthetic::start(Behaviour::constant(ms(5)).with(50, Fault::Wrong)).unwrap()
}

fn expecting(request: Request, what: &str) -> Request {
    let terms: Arc<[Term]> = vec![Term::parse(what, request.protocol, request.streams).unwrap()].into();
    Request { expect: Expect::all(&terms), ..request }
}

#[test]
fn are_found_by_what_is_expected() {
    for (plain, what) in [
        (request(Protocol::V2), "json:/outputs/0/data/3=3.5"),
        (request(Protocol::V2Binary), "json:/outputs/0/data/3=3.5"),
        (request(Protocol::Grpc), "same"),
        (request(Protocol::V1), "same"),
        (request(Protocol::Chat), "contains:word word"),
        (streamed(Protocol::Chat, true), "contains:word word"),
        (request(Protocol::Embeddings), "json:/data/0/embedding/3=3.5"),
    ] {
        let server = server();
        let about = format!("{} {what}", plain.protocol);
        let run = run(setup(server.address(), expecting(plain, what)), &open(400.0), &requests(200));
        assert_eq!((run.outcomes.ok, run.outcomes.wrong), (196, 4), "{about}: {:?}", run.outcomes);
        assert_eq!((server.counts().right, server.counts().wrong), (196, 4), "{about}");
        assert_eq!((run.latency.count, run.failed_latency.count), (196, 4), "{about}");
        let missed = |slo: &str| slo.parse::<Slo>().unwrap().missed(&run);
        assert_eq!(missed("wrong<2%"), ["wrong 2 % is not below 2 %"], "{about}");
        assert_eq!(missed("errors<=2%,wrong<=2%,shed<=0%"), Vec::<String>::new(), "{about}");
    }
}

#[test]
fn are_right_to_who_expects_nothing() {
    let server = server();
    let run = run(setup(server.address(), request(Protocol::V2)), &open(400.0), &requests(200));
    assert_eq!((run.outcomes.ok, server.counts().wrong), (200, 4));
}
