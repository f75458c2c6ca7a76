//! Whatever is asked and however replicas fare.

use proptest::prelude::*;
use weirgate_deploy_core::rollout::{Decision, Health, Rollout};
use weirgate_deploy_core::{Replacement, ServicePlan, TrafficPlan};

use crate::{canary, fault, plan};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Clone, Debug)]
enum Step {
    Ask(Box<ServicePlan>),
    Observe(usize, Health),
    Crowded(usize),
    Restart,
}

fn traffic() -> impl Strategy<Value = TrafficPlan> {
    let canaries = prop::collection::vec((0..NAMES.len(), 0u8..=33), 0..3).prop_map(|canaries| {
        TrafficPlan::Canaries(canaries.into_iter().map(|(name, percent)| canary(NAMES[name], percent)).collect())
    });
    prop_oneof![3 => prop::option::of(0u8..=100).prop_map(TrafficPlan::Percent), 1 => canaries]
}

fn ask() -> impl Strategy<Value = Step> {
    (0..NAMES.len(), traffic(), 1usize..=3, any::<bool>(), prop::bool::weighted(0.1)).prop_map(
        |(name, traffic, replicas, alone, stopped)| {
            let mut plan = plan(NAMES[name], traffic);
            plan.predictor.replicas = replicas.try_into().expect("at least 1");
            plan.settings.replacement = if alone { Replacement::StopFirst } else { Replacement::StartFirst };
            plan.settings.stopped = stopped;
            if let TrafficPlan::Canaries(canaries) = &mut plan.traffic {
                canaries.sort_by(|a, b| a.revision.name.cmp(&b.revision.name));
                canaries.dedup_by(|a, b| a.revision.name == b.revision.name);
            }
            Step::Ask(Box::new(plan))
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let health = (0usize..=3, prop::option::of(Just("no such file".to_owned())));
    let health = health.prop_map(|(ready, failure)| match failure {
        Some(failure) => Health::failed(ready, fault(&failure)),
        None => Health::ready(ready),
    });
    prop_oneof![
        3 => ask(),
        6 => (0..NAMES.len(), health).prop_map(|(name, health)| Step::Observe(name, health)),
        1 => (0..NAMES.len()).prop_map(Step::Crowded),
        1 => Just(Step::Restart),
    ]
}

/// What held before a decision and must hold after it.
fn check(rollout: &Rollout, decision: &Decision, stable_before: Option<String>, asked: &ServicePlan) {
    let total: u32 = decision.shares.iter().map(|share| u32::from(share.percent)).sum();
    assert_eq!(total, if decision.run.is_empty() { 0 } else { 100 }, "{decision:?}");
    assert_eq!(decision.run.is_empty(), asked.settings.stopped);

    let mut names: Vec<_> = decision.shares.iter().map(|share| share.revision.as_str()).collect();
    let running: Vec<_> = decision.run.iter().map(|run| run.revision.as_str()).collect();
    assert_eq!(names, running, "whoever runs can be asked for, and nobody else");
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), running.len(), "{decision:?}");
    assert!(decision.run.iter().all(|run| run.replicas >= 1));

    for share in decision.shares.iter().filter(|share| share.percent > 0) {
        let known = rollout.known(&share.revision).expect("what takes calls is known");
        let base = decision.base.as_deref() == Some(share.revision.as_str());
        assert!(known.usable() || base, "{share:?} is not usable: {known:?}");
        let answers = known.proven || known.health.ready > 0;
        assert!(answers && (known.proven || base) || decision.holding && base, "{share:?} is not proven: {known:?}");
    }
    let stable = rollout.stable().map(|known| known.name.clone());
    if stable != stable_before {
        let whole = decision.shares.iter().find(|share| Some(&share.revision) == stable.as_ref());
        assert_eq!(whole.map(|share| share.percent), Some(100), "stable is {stable:?}: {decision:?}");
        assert_eq!(rollout.previous().map(|known| known.name.clone()), stable_before);
    }
    if let TrafficPlan::Percent(_) = asked.traffic {
        assert!(running.len() <= 3, "base, its successor and a canary: {decision:?}");
    }
    assert!(rollout.revisions().len() <= NAMES.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn the_rules_hold_in_every_story(steps in prop::collection::vec(step(), 1..40)) {
        let mut rollout = Rollout::default();
        let mut asked: Option<ServicePlan> = None;
        for step in steps {
            match step {
                Step::Ask(plan) => {
                    rollout.ask(&plan, 0);
                    asked = Some(*plan);
                }
                Step::Observe(name, health) => rollout.observe(NAMES[name], health),
                Step::Crowded(name) => rollout.crowded(NAMES[name]),
                Step::Restart => {
                    rollout = serde_json::from_str(&serde_json::to_string(&rollout).unwrap()).unwrap();
                    if let Some(plan) = &asked {
                        rollout.ask(plan, 0);
                    }
                }
            }
            let Some(plan) = &asked else { continue };
            let stable = rollout.stable().map(|known| known.name.clone());
            let mut decision = rollout.decide();
            check(&rollout, &decision, stable.clone(), plan);
            if stable.is_none() && decision.stable.is_some() {
                // Canaries join now.
                decision = rollout.decide();
                check(&rollout, &decision, rollout.stable().map(|known| known.name.clone()), plan);
            }
            prop_assert_eq!(&rollout.decide(), &decision, "deciding again changes nothing");
        }
    }

    /// From wherever it has come, a healthy service ends where the manifest wants it.
    #[test]
    fn healthy_replicas_bring_what_was_asked(
        steps in prop::collection::vec(step(), 0..30), last in ask().prop_filter("runs", |step| {
            matches!(step, Step::Ask(plan) if !plan.settings.stopped)
        })
    ) {
        let mut rollout = Rollout::default();
        for step in steps {
            match step {
                Step::Ask(plan) => rollout.ask(&plan, 0),
                Step::Observe(name, health) => rollout.observe(NAMES[name], health),
                _ => {}
            }
            rollout.decide();
        }
        let Step::Ask(plan) = last else { unreachable!() };
        // A successor that was given up is tried again only when something else is asked.
        let mut other = plan.clone();
        other.settings.stopped = true;
        rollout.ask(&other, 0);
        rollout.decide();
        rollout.ask(&plan, 0);
        let mut decision = rollout.decide();
        for _ in 0..4 {
            for run in decision.run.clone() {
                rollout.observe(&run.revision, Health::ready(run.replicas));
            }
            decision = rollout.decide();
        }
        let share = |name: &str| decision.shares.iter().find(|share| share.revision == name).map(|share| share.percent);
        match &plan.traffic {
            TrafficPlan::Percent(None | Some(100)) => {
                prop_assert_eq!(share(&plan.predictor.name), Some(100));
                prop_assert_eq!(rollout.stable().map(|known| known.name.as_str()), Some(plan.predictor.name.as_str()));
            }
            TrafficPlan::Percent(Some(percent)) => {
                let stable = rollout.stable().unwrap().name.clone();
                let wanted = if stable == plan.predictor.name { 100 } else { *percent };
                prop_assert_eq!(share(&plan.predictor.name), Some(wanted));
            }
            TrafficPlan::Canaries(canaries) => {
                for canary in canaries.iter().filter(|canary| canary.revision.name != plan.predictor.name) {
                    prop_assert_eq!(share(&canary.revision.name), Some(canary.percent));
                }
            }
        }
    }
}
