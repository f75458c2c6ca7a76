//! Changes under load: more and fewer children, other versions.

use std::time::Duration;

use weirgate_tests::behaviour::Behaviour;
use weirgate_tests::chaos::Load;
use weirgate_tests::environment::scale;
use weirgate_tests::{Service, eventually};

use crate::scene::{NAME, Scene, calm, child, children, nothing};

/// Long enough that some are always under way.
const LONG: Behaviour = Behaviour::Slow(300);

impl Scene {
    /// The children that run are exactly those of this version.
    async fn runs(&self, version: &str, count: usize) {
        eventually(&format!("{count} children of version {version}, and no other"), async || {
            let running = self.fleet.running();
            (running.len() == count && running.iter().all(|server| server.name == version)).then_some(())
        })
        .await;
    }

    fn version(&self, version: &str) -> Service {
        child(&self.fleet, &[("UPSTREAM_NAME", version)])
    }
}

/// The children themselves drop what they hold when they are told to end.
#[tokio::test(flavor = "multi_thread")]
async fn complaint_46_scale_in_cuts_no_call_off() {
    let scene = children(3, |service| service).await;
    scene.fleet.behave(LONG);
    let run = Load { per_second: 30.0, ..scene.load() }.start();
    run.lasts(calm()).await;
    for replicas in [1, 3, 1] {
        scene.server.write(&child(&scene.fleet, &[]).replicas(replicas));
        eventually("the children to be as many as wished", async || {
            (scene.fleet.running().len() == replicas).then_some(())
        })
        .await;
        run.lasts(calm()).await;
    }
    let ledger = run.end().await;
    ledger.holds(nothing);
    ledger.executed_once(&scene.fleet.executed());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_is_lost_in_rolling_updates_and_scale_in() {
    let (rate, updates) = scale((100.0, 4), (400.0, 60));
    let scene = children(2, |service| service).await;
    scene.fleet.behave(Behaviour::Slow(5));
    let run = Load { per_second: rate, ..scene.load() }.start();
    for update in 0..updates {
        let (version, replicas) = (format!("v{update}"), 1 + update % 2);
        scene.server.write(&scene.version(&version).replicas(replicas));
        scene.runs(&version, replicas).await;
        run.lasts(scale(Duration::from_millis(100), Duration::from_secs(4))).await;
    }
    let ledger = run.end().await;
    ledger.holds(nothing);
    ledger.executed_once(&scene.fleet.executed());
    assert!(ledger.calls.len() > scale(50, 100_000), "only {} calls", ledger.calls.len());
}

/// The new version is ready before the old one goes.
#[tokio::test(flavor = "multi_thread")]
async fn complaint_47_new_children_start_first() {
    let scene = children(1, |service| service).await;
    let run = scene.load().start();
    run.lasts(calm()).await;
    let old = scene.fleet.running();
    scene.fleet.one_behaves("second", Behaviour::Unready);
    scene.server.write(&scene.version("second"));
    eventually("the new one to start", async || {
        scene.fleet.started().iter().any(|server| server.name == "second").then_some(())
    })
    .await;
    run.lasts(calm()).await;
    assert!(scene.fleet.running().contains(&old[0]), "the old one went before the new one was ready");
    assert_eq!(scene.fleet.shares().get("second"), None, "the new one was given calls before it was ready");
    scene.fleet.one_behaves("second", Behaviour::Answer);
    scene.runs("second", 1).await;
    let ledger = run.end().await;
    ledger.holds(nothing);
    ledger.executed_once(&scene.fleet.executed());
}

/// It never becomes ready: the old one goes on.
#[tokio::test(flavor = "multi_thread")]
async fn complaint_47_a_bad_version_stops_the_rollout() {
    let scene = children(2, |service| service).await;
    let run = scene.load().start();
    let old = scene.fleet.running();
    let exits = serde_json::json!({"command": ["sh", "-c", "echo the weights are missing >&2; exit 3"]});
    scene.server.write(&Service::container(NAME, exits).replicas(2));
    eventually("the new version to have failed", async || {
        let revisions = scene.server.view(NAME).await?;
        let states = revisions["revisions"].as_array()?;
        states.iter().any(|revision| revision["state"] == "Failed").then_some(())
    })
    .await;
    run.lasts(calm()).await;
    assert_eq!(scene.fleet.running(), old);
    let ledger = run.end().await;
    ledger.holds(nothing);
    ledger.executed_once(&scene.fleet.executed());
}
