//! The life of a canary, told in single steps.

use weirgate_deploy_core::rollout::{Health, Rollout};
use weirgate_deploy_core::{Replacement, ServicePlan, TrafficPlan};

use crate::{Service, failed, fault, plan, ready, runs, shares};

#[test]
fn a_first_rollout_holds_calls_and_ignores_the_percentage() {
    let mut service = Service::default();
    let decision = service.percent("a", Some(20));
    assert_eq!((shares(&decision), decision.holding), ("a:100".to_owned(), true));
    let decision = service.sees("a", ready(1));
    assert_eq!((shares(&decision), decision.holding), ("a:100".to_owned(), false));
    assert_eq!(service.stable(), "a");
}

#[test]
fn a_canary_is_set_raised_and_promoted() {
    let mut service = Service::rolled_out("a");
    let decision = service.percent("b", Some(20));
    assert_eq!(shares(&decision), "a:100 b:0", "nothing goes to what has not loaded");
    assert_eq!(runs(&decision), "a b");
    assert_eq!(shares(&service.sees("b", ready(1))), "a:80 b:20");
    assert_eq!(shares(&service.percent("b", Some(40))), "a:60 b:40");
    assert_eq!(service.stable(), "a");
    let decision = service.percent("b", None);
    assert_eq!((shares(&decision), runs(&decision)), ("b:100".to_owned(), "b".to_owned()));
    assert_eq!((service.stable(), service.previous()), ("b", "a"));
}

#[test]
fn zero_is_dark_and_a_hundred_promotes() {
    let mut service = Service::rolled_out("a");
    service.percent("b", Some(0));
    let decision = service.sees("b", ready(1));
    assert_eq!((shares(&decision), runs(&decision)), ("a:100 b:0".to_owned(), "a b".to_owned()));
    assert_eq!(service.stable(), "a");
    assert_eq!(decision.latest.as_deref(), Some("b"));
    assert_eq!(shares(&service.percent("b", Some(100))), "b:100");
    assert_eq!(service.stable(), "b");
}

#[test]
fn complaint_02_a_failed_canary_never_becomes_stable() {
    let mut service = Service::rolled_out("a");
    service.percent("b", Some(20));
    service.sees("b", ready(1));
    assert_eq!(shares(&service.percent("b", Some(0))), "a:100 b:0");
    service.percent("c", Some(20));
    let decision = service.sees("c", ready(1));
    assert_eq!((shares(&decision), runs(&decision)), ("a:80 c:20".to_owned(), "a c".to_owned()));
    assert_eq!((service.stable(), service.previous()), ("a", ""));
}

#[test]
fn complaint_03_only_the_stable_revision_and_the_candidate_run() {
    let mut service = Service::rolled_out("z");
    service.percent("a", None);
    service.sees("a", ready(1));
    assert_eq!((service.stable(), service.previous()), ("a", "z"));
    // The candidate is not ready: the older revision that was rolled out before stays where it is.
    for decision in [service.percent("b", Some(20)), service.sees("b", failed())] {
        assert_eq!((shares(&decision), runs(&decision)), ("a:100 b:0".to_owned(), "a b".to_owned()));
    }
    // Another one while the canary runs: the canary goes, and its share waits with the stable revision.
    service.sees("b", ready(1));
    let decision = service.percent("c", Some(50));
    assert_eq!((shares(&decision), runs(&decision)), ("a:100 c:0".to_owned(), "a c".to_owned()));
    assert_eq!(shares(&service.sees("c", ready(1))), "a:50 c:50");
}

#[test]
fn a_broken_revision_takes_nothing_whatever_is_asked() {
    let mut service = Service::rolled_out("a");
    for percent in [None, Some(100), Some(50)] {
        service.percent("b", percent);
        assert_eq!(shares(&service.sees("b", failed())), "a:100 b:0", "{percent:?}");
        assert_eq!(service.stable(), "a");
    }
    // One that breaks later gives its share back, and has it again when it is well.
    assert_eq!(shares(&service.sees("b", ready(1))), "a:50 b:50");
    assert_eq!(shares(&service.sees("b", failed())), "a:100 b:0");
    assert_eq!(shares(&service.sees("b", ready(1))), "a:50 b:50");
}

#[test]
fn a_first_revision_that_never_loaded_gives_way_to_the_next() {
    let mut service = Service::default();
    service.percent("a", None);
    assert_eq!(shares(&service.sees("a", failed())), "a:100");
    let decision = service.percent("b", None);
    assert_eq!((shares(&decision), runs(&decision), decision.holding), ("b:100".to_owned(), "b".to_owned(), true));
}

#[test]
fn back_to_the_stable_predictor_ends_the_canary() {
    let mut service = Service::rolled_out("a");
    service.percent("b", Some(20));
    service.sees("b", ready(1));
    let decision = service.percent("a", Some(20));
    assert_eq!((shares(&decision), runs(&decision)), ("a:100".to_owned(), "a".to_owned()));
}

#[test]
fn several_canaries_and_their_end() {
    let mut service = Service::default();
    service.canaries("a", &[("b", 25), ("c", 0)]);
    service.sees("b", ready(1));
    service.sees("a", ready(1));
    let decision = service.sees("c", ready(1));
    assert_eq!((shares(&decision), runs(&decision)), ("a:75 b:25 c:0".to_owned(), "a b c".to_owned()));
    assert_eq!(shares(&service.canaries("a", &[("b", 25), ("c", 10)])), "a:65 b:25 c:10");
    // Moved into the predictor: it is there already, so it takes over at once.
    let decision = service.canaries("b", &[]);
    assert_eq!((shares(&decision), runs(&decision)), ("b:100".to_owned(), "b".to_owned()));
    assert_eq!(service.stable(), "b");
    // Taken out: its calls go to the predictor at once.
    service.canaries("b", &[("d", 30)]);
    assert_eq!(shares(&service.sees("d", ready(1))), "b:70 d:30");
    assert_eq!(shares(&service.percent("b", None)), "b:100");
}

#[test]
fn another_predictor_under_canaries_waits_until_it_is_ready() {
    let mut service = Service::rolled_out("a");
    service.canaries("a", &[("b", 25)]);
    service.sees("b", ready(1));
    let decision = service.canaries("a2", &[("b", 25)]);
    assert_eq!((shares(&decision), runs(&decision)), ("a:75 b:25 a2:0".to_owned(), "a b a2".to_owned()));
    let decision = service.sees("a2", ready(1));
    assert_eq!((shares(&decision), runs(&decision)), ("a2:75 b:25".to_owned(), "a2 b".to_owned()));
    assert_eq!(service.stable(), "a", "75 % is not all of it");
}

#[test]
fn a_restart_goes_on_with_the_same_split() {
    let mut service = Service::rolled_out("a");
    service.percent("b", Some(20));
    service.sees("b", ready(1));
    let stored = serde_json::to_string(&service.0).unwrap();
    let restarted: Rollout = serde_json::from_str(&stored).unwrap();
    let mut service = Service(restarted);
    let decision = service.percent("b", Some(20));
    assert_eq!((shares(&decision), service.stable()), ("a:80 b:20".to_owned(), "a"));
    assert_eq!(shares(&service.sees("b", failed())), "a:100 b:0");
}

#[test]
fn a_canary_that_was_still_loading_at_a_restart_is_not_trusted() {
    let mut service = Service::rolled_out("a");
    service.percent("b", Some(20));
    let stored = serde_json::to_string(&service.0).unwrap();
    let restarted: Rollout = serde_json::from_str(&stored).unwrap();
    let mut service = Service(restarted);
    assert_eq!(shares(&service.percent("b", Some(20))), "a:100 b:0");
}

#[test]
fn all_replicas_must_be_ready_once() {
    let mut service = Service::rolled_out("a");
    let mut three = plan("b", TrafficPlan::Percent(None));
    three.predictor.replicas = 3.try_into().unwrap();
    let decision = service.asks(&three);
    assert_eq!(decision.run.iter().map(|run| run.replicas).collect::<Vec<_>>(), [3, 1], "the first one proves it");
    let decision = service.sees("b", ready(1));
    assert_eq!(shares(&decision), "a:100 b:0");
    assert_eq!(decision.run[1].replicas, 3);
    assert_eq!(shares(&service.sees("b", ready(3))), "b:100");
    // A crash of some later on is no reason to go back.
    assert_eq!(shares(&service.sees("b", ready(1))), "b:100");
}

#[test]
fn a_restart_trusts_only_what_took_calls() {
    let mut service = Service::rolled_out("p");
    service.percent("s", None);
    service.sees("s", ready(1));
    // Back to the previous one, which has not loaded yet when everything stops.
    service.percent("p", None);
    let stored = serde_json::to_string(&service.0).unwrap();
    let mut service = Service(serde_json::from_str(&stored).unwrap());
    let decision = service.percent("p", None);
    assert_eq!((shares(&decision), service.stable()), ("s:100 p:0".to_owned(), "s"));
}

#[test]
fn a_base_that_answers_with_some_of_its_replicas_is_not_dropped() {
    let mut service = Service::default();
    let mut two = plan("a", TrafficPlan::Percent(None));
    two.predictor.replicas = 2.try_into().unwrap();
    service.asks(&two);
    let decision = service.sees("a", Health::failed(1, fault("no memory")));
    assert_eq!((shares(&decision), decision.holding, service.stable()), ("a:100".to_owned(), false, ""));
    let decision = service.percent("b", None);
    assert_eq!((shares(&decision), runs(&decision)), ("a:100 b:0".to_owned(), "a b".to_owned()));
    assert_eq!(shares(&service.sees("b", failed())), "a:100 b:0");
    assert_eq!(shares(&service.sees("b", ready(1))), "b:100");
}

#[test]
fn a_successor_that_runs_alone_takes_over_with_its_first_replica() {
    let mut service = Service::rolled_out("a");
    let mut two = alone("b");
    two.predictor.replicas = 2.try_into().unwrap();
    service.asks(&two);
    let decision = service.sees("b", Health::failed(1, fault("no memory")));
    assert_eq!((shares(&decision), runs(&decision), decision.holding), ("b:100".to_owned(), "b".to_owned(), false));
    assert_eq!(service.stable(), "a");
    service.sees("b", ready(2));
    assert_eq!(service.stable(), "b");
}

fn alone(revision: &str) -> ServicePlan {
    let mut plan = plan(revision, TrafficPlan::Percent(None));
    plan.settings.replacement = Replacement::StopFirst;
    plan
}

#[test]
fn stop_first_runs_one_at_a_time() {
    let mut service = Service::rolled_out("a");
    let decision = service.asks(&alone("b"));
    assert_eq!((shares(&decision), runs(&decision)), ("b:100".to_owned(), "a>b".to_owned()));
    assert!(decision.holding && service.stable() == "a");
    let decision = service.sees("b", ready(1));
    assert_eq!((shares(&decision), runs(&decision)), ("b:100".to_owned(), "b".to_owned()));
    assert_eq!((service.stable(), service.previous()), ("b", "a"));
}

#[test]
fn a_successor_that_fails_gives_the_place_back() {
    let mut service = Service::rolled_out("a");
    service.asks(&alone("b"));
    let decision = service.sees("b", failed());
    assert_eq!((shares(&decision), runs(&decision)), ("a:100".to_owned(), "a".to_owned()));
    assert_eq!(runs(&service.0.decide()), "a", "it is not tried again by itself");
    assert_eq!(runs(&service.asks(&alone("c"))), "a>c");
}

#[test]
fn what_does_not_fit_beside_the_other_is_stopped_first_too() {
    let mut service = Service::rolled_out("a");
    service.percent("b", None);
    service.0.crowded("b");
    assert_eq!(runs(&service.0.decide()), "a>b");
}

#[test]
fn a_stopped_service_runs_nothing_and_comes_back() {
    let mut service = Service::rolled_out("a");
    let mut stopped = plan("a", TrafficPlan::Percent(None));
    stopped.settings.stopped = true;
    let decision = service.asks(&stopped);
    assert_eq!((shares(&decision), runs(&decision)), (String::new(), String::new()));
    let decision = service.percent("a", None);
    assert_eq!((shares(&decision), service.stable()), ("a:100".to_owned(), "a"));
}

#[test]
fn percent_after_canaries_brings_the_stable_revision_back() {
    let mut service = Service::rolled_out("a");
    service.canaries("a2", &[("b", 25)]);
    service.sees("b", ready(1));
    service.sees("a2", ready(1));
    let decision = service.percent("a2", Some(20));
    assert_eq!((shares(&decision), service.stable()), ("a2:100 a:0".to_owned(), "a"));
    assert_eq!(shares(&service.sees("a", ready(1))), "a:80 a2:20");
}
