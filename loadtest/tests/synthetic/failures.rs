//! What goes wrong is counted exactly, each kind by its name, and beside latency.

use weirgate_loadtest::engine::Setup;
use weirgate_loadtest::request::{Protocol, Request};
use weirgate_loadtest::result::Run;
use weirgate_loadtest::slo::Slo;
use weirgate_loadtest::synthetic::{Behaviour, Fault, Service, Synthetic};

use crate::support::{lasting, latency, measure, ms, open, request, requests, run, serve, setup};

fn faulty(faults: &[(u64, Fault)]) -> Synthetic {
    let behaviour = Behaviour { faults: faults.to_vec(), ..Behaviour::constant(ms(5)) };
    Synthetic::start(behaviour).unwrap()
}

fn kinds(run: &Run) -> Vec<(&str, u64)> {
    run.outcomes.by_kind.iter().map(|(kind, count)| (kind.as_str(), *count)).collect()
}

#[test]
fn one_percent_of_errors() {
    let server = faulty(&[(100, Fault::Status(500))]);
    let run = measure(&server, &open(400.0), &requests(1000));
    assert_eq!((run.outcomes.ok, run.outcomes.errors, run.outcomes.total()), (990, 10, 1000));
    assert_eq!(kinds(&run), [("500", 10)]);
    assert_eq!((server.counts().right, server.counts().failed), (990, 10));
    assert_eq!((run.latency.count, run.failed_latency.count), (990, 10));
    let missed = |slo: &str| slo.parse::<Slo>().unwrap().missed(&run);
    assert_eq!(missed("errors<=1%"), Vec::<String>::new());
    assert_eq!(missed("errors<1%"), ["errors 1 % is not below 1 %"]);
}

#[test]
fn refusals_are_not_errors() {
    let server = faulty(&[(50, Fault::Status(429)), (70, Fault::Status(503)), (90, Fault::Status(400))]);
    let run = measure(&server, &open(400.0), &requests(600));
    // Of 70, one is a multiple of 50 too; of 90, one.
    assert_eq!((run.outcomes.shed, run.outcomes.errors), (12 + 7, 5));
    assert_eq!(kinds(&run), [("400", 5), ("429", 12), ("503", 7)]);
    assert_eq!(server.counts().failed, run.outcomes.failed());
}

#[test]
fn a_full_queue_refuses_what_is_above_its_capacity() {
    // 100/s, and at most four wait.
    let server = serve(Service::Queue { workers: 2, service: ms(20), most_waiting: Some(4) });
    let run = measure(&server, &open(300.0), &lasting(ms(3000)));
    let counts = server.counts();
    assert_eq!((run.due, run.outcomes.ok, run.outcomes.shed), (900, counts.right, counts.refused));
    assert_eq!(run.outcomes.total(), run.due);
    assert!((250..=315).contains(&run.outcomes.ok), "{:?}", run.outcomes);
    // Those that were taken waited for a short queue only, and those that weren't don't count as latency.
    assert!(latency(&run, 0.5) >= 20.0 && latency(&run, 0.5) < 200.0, "{:?}", run.latency);
    assert_eq!(run.latency.count, run.outcomes.ok);
}

#[test]
fn closed_connections() {
    let server = faulty(&[(50, Fault::Close)]);
    let run = measure(&server, &open(200.0), &requests(400));
    assert_eq!((run.outcomes.ok, run.outcomes.errors), (392, 8), "{:?}", run.outcomes);
    assert_eq!(kinds(&run), [("closed before the answer, on a reused connection", 8)]);
    assert_eq!((server.counts().requests, server.counts().closed), (400, 8), "none was sent twice");
}

#[test]
fn answers_that_are_cut() {
    let server = faulty(&[(50, Fault::Cut)]);
    let run = measure(&server, &open(200.0), &requests(400));
    assert_eq!((run.outcomes.ok, run.outcomes.errors), (392, 8), "{:?}", run.outcomes);
    assert_eq!(kinds(&run), [("cut off inside the answer", 8)]);
}

#[test]
fn timeouts() {
    let server = faulty(&[(40, Fault::Hang)]);
    let impatient = Setup { timeout: ms(1000), ..setup(server.address(), request(Protocol::V2)) };
    let run = run(impatient, &open(200.0), &requests(200));
    assert_eq!((run.outcomes.ok, run.outcomes.timeouts), (195, 5), "{:?}", run.outcomes);
    assert_eq!(server.counts().hung, 5);
    assert!(run.failed_latency.min >= 999.0, "{:?}", run.failed_latency);
    assert!(run.latency.max < 1000.0, "{:?}", run.latency);
}

#[test]
fn grpc() {
    let server = faulty(&[(50, Fault::Status(503)), (70, Fault::Status(500)), (90, Fault::Close)]);
    let run = run(setup(server.address(), request(Protocol::Grpc)), &open(200.0), &requests(400));
    let outcomes = &run.outcomes;
    // Of 70, one is a multiple of 50 too.
    assert_eq!((outcomes.ok, outcomes.shed, outcomes.errors), (400 - 8 - 4 - 4, 8, 4 + 4), "{outcomes:?}");
    assert_eq!((outcomes.by_kind["grpc 14"], outcomes.by_kind["grpc 13"]), (8, 4), "{outcomes:?}");
    let counts = server.counts();
    assert_eq!((counts.requests, counts.right, counts.connections), (400, outcomes.ok, 1));
}

#[test]
fn a_request_that_the_server_can_not_read() {
    let server = faulty(&[]);
    let broken = Request::new(Protocol::V2, "/v2/models/m/infer", "{");
    let run = run(setup(server.address(), broken), &open(200.0), &requests(50));
    assert_eq!((run.outcomes.ok, run.outcomes.errors, server.counts().invalid), (0, 50, 50));
    assert_eq!(run.latency.count, 0);
    let slo: Slo = "p99<1s".parse().unwrap();
    assert_eq!(slo.missed(&run), ["p99 is not known: no request was answered right"]);
}

#[test]
fn nobody_listens() {
    let server = faulty(&[]);
    let address = server.address();
    drop(server);
    let run = run(setup(address, request(Protocol::V2)), &open(50.0), &requests(25));
    assert_eq!((run.outcomes.ok, run.outcomes.errors), (0, 25), "{:?}", run.outcomes);
    assert!(kinds(&run)[0].0.starts_with("can't connect"), "{:?}", run.outcomes);
}
