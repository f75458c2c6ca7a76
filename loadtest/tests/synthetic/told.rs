//! What the server says of itself.

use weirgate_loadtest::request::Protocol;
use weirgate_loadtest::synthetic::{Behaviour, Service, Synthetic};

use crate::support::{measure, ms, open, request, requests, run, setup};

#[test]
fn revisions_split_as_the_server_split_them() {
    // The canary, each tenth, is the slow one.
    let service = Service::Bimodal { fast: ms(5), slow: ms(100), slow_every: 10 };
    let behaviour = Behaviour { canary_every: Some(10), overhead_us: Some(1234), ..Behaviour::new(service) };
    let server = Synthetic::start(behaviour).unwrap();
    let run = measure(&server, &open(250.0), &requests(500));
    let told = run.server.as_ref().unwrap();
    let answers = |name: &str| told.revisions[name].answers;
    assert_eq!((answers("stable"), answers("canary")), (450, 50));
    assert_eq!((answers("stable"), answers("canary")), (server.counts().stable, server.counts().canary));
    assert!(told.revisions["canary"].latency.min >= 100.0 * 0.999);
    assert!(told.revisions["stable"].latency.at(0.5).unwrap() < 100.0);
    let overhead = told.overhead.as_ref().unwrap();
    assert_eq!(overhead.count, 500);
    assert!((overhead.at(0.5).unwrap() - 1.234).abs() < 0.01, "{overhead:?}");
}

#[test]
fn over_grpc_too() {
    let behaviour = Behaviour { canary_every: Some(4), overhead_us: Some(50), ..Behaviour::constant(ms(5)) };
    let server = Synthetic::start(behaviour).unwrap();
    let run = run(setup(server.address(), request(Protocol::Grpc)), &open(200.0), &requests(200));
    let told = run.server.unwrap();
    assert_eq!((told.revisions["stable"].answers, told.revisions["canary"].answers), (150, 50));
    assert_eq!(told.overhead.unwrap().count, 200);
}

#[test]
fn nothing_told_nothing_reported() {
    let server = Synthetic::start(Behaviour::constant(ms(5))).unwrap();
    assert!(measure(&server, &open(200.0), &requests(50)).server.is_none());
}
