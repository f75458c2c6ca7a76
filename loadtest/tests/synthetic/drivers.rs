//! Sweeps and A/B runs on real connections.

use std::time::Duration;

use weirgate_loadtest::arrivals::Gaps;
use weirgate_loadtest::drive::{self, AbPlan, SweepPlan};
use weirgate_loadtest::engine::{Engine, Stop};
use weirgate_loadtest::request::Protocol;
use weirgate_loadtest::result::{Findings, Side, Sweep};
use weirgate_loadtest::search;
use weirgate_loadtest::synthetic::Service;

use crate::support::{Nobody, lasting, ms, open, request, serve, setup};

#[test]
fn a_sweep_finds_the_knee_that_is_known() {
    // 4 workers of 20 ms: 200/s.
    let server = serve(Service::Queue { workers: 4, service: ms(20), most_waiting: None });
    let mut engine = Engine::start(setup(server.address(), request(Protocol::V2))).unwrap();
    let plan = SweepPlan {
        start: Some(100.0),
        gaps: Gaps::Constant,
        seed: 1,
        duration: ms(1200),
        slo: None,
        limits: search::Limits { gap: 0.1, most_points: 10, ..search::Limits::default() },
        stop: Stop::default(),
    };
    let Findings::Sweep { sweep } = drive::sweep(&mut engine, &plan, &mut Nobody).unwrap() else { panic!() };
    let points: Vec<_> = sweep.points.iter().map(|point| (point.rate, &point.missed)).collect();
    let knee = sweep.knee_rate.unwrap();
    assert!((160.0..=240.0).contains(&knee), "{knee}: {points:?}");
    let best = sweep.best_rate.unwrap();
    assert!((140.0..=240.0).contains(&best), "{best}, {}: {points:?}", sweep.ended);
    assert!(sweep.failed_rate.unwrap() > best);
}

/// A sweep up to a rate that the server can do and the objective allows.
fn sweep_up_to_the_cap(service: Service, duration: Duration) -> Sweep {
    let server = serve(service);
    let mut engine = Engine::start(setup(server.address(), request(Protocol::V2))).unwrap();
    let plan = SweepPlan {
        start: Some(40.0),
        gaps: Gaps::Poisson,
        seed: 1,
        duration,
        slo: Some("p50<10s,errors<1%".parse().unwrap()),
        limits: search::Limits { cap: 80.0, ..search::Limits::default() },
        stop: Stop::default(),
    };
    let Findings::Sweep { sweep } = drive::sweep(&mut engine, &plan, &mut Nobody).unwrap() else { panic!() };
    sweep
}

#[test]
fn a_slow_server_of_great_capacity_is_not_called_full() {
    // No answer comes in as long a time as a point measures.
    let sweep = sweep_up_to_the_cap(Service::Constant(ms(700)), ms(600));
    assert_eq!(sweep.best_rate, Some(80.0), "{}: {:?}", sweep.ended, sweep.points.last().unwrap().missed);
}

#[test]
fn a_server_that_gathers_batches_is_not_called_full() {
    // Under load it takes more than ten times as long as for a lone caller, and has capacity enough.
    let sweep = sweep_up_to_the_cap(Service::Batching { alone: ms(1), together: ms(400) }, ms(600));
    assert_eq!(sweep.best_rate, Some(80.0), "{}: {:?}", sweep.ended, sweep.points.last().unwrap().missed);
    let point = &sweep.points[0].run;
    assert!(point.latency.at(0.5).unwrap() > 300.0, "{:?}", point.latency);
}

#[test]
fn both_servers_are_held_to_the_objective() {
    let (fast, slow) = (serve(Service::Constant(ms(1))), serve(Service::Constant(ms(900))));
    let engine = |address| Engine::start(setup(address, request(Protocol::V2))).unwrap();
    let (mut a, mut b) = (engine(fast.address()), engine(slow.address()));
    let slo = Some("p50<800ms".parse().unwrap());
    let plan = AbPlan { load: open(50.0), span: lasting(ms(200)), rounds: 2, seed: 1, slo, stop: Stop::default() };
    let Findings::Ab { ab } = drive::ab(&mut a, &mut b, &plan, &mut Nobody).unwrap() else { panic!() };
    assert!(ab.missed_a.is_empty(), "{:?}", ab.missed_a);
    assert!(ab.missed_b[0].ends_with("'p50<800ms' was missed in 2 of 2"), "{:?}", ab.missed_b);
}

#[test]
fn two_servers_in_turn() {
    let (fast, slow) = (serve(Service::Constant(ms(20))), serve(Service::Constant(ms(60))));
    let engine = |address| Engine::start(setup(address, request(Protocol::V2))).unwrap();
    let (mut a, mut b) = (engine(fast.address()), engine(slow.address()));
    let plan =
        AbPlan { load: open(100.0), span: lasting(ms(500)), rounds: 3, seed: 1, slo: None, stop: Stop::default() };
    let Findings::Ab { ab } = drive::ab(&mut a, &mut b, &plan, &mut Nobody).unwrap() else { panic!() };
    assert_eq!((ab.a.len(), ab.b.len()), (3, 3));
    for (a, b) in ab.a.iter().zip(&ab.b) {
        assert_eq!((a.outcomes.ok, b.outcomes.ok), (50, 50));
        let (a, b) = (a.latency.at(0.5).unwrap(), b.latency.at(0.5).unwrap());
        assert!(b > a * 1.2, "{a} {b}");
    }
    assert_eq!((fast.counts().right, slow.counts().right), (150, 150));
    let p50 = ab.ratios.iter().find(|ratio| ratio.figure == "latency p50").unwrap();
    assert!(p50.ratio > 1.2, "{p50:?}");
    assert_eq!(p50.better, Some(Side::A), "{p50:?}");
}
