//! Manifests that change all the while.

use std::time::Duration;

use weirgate_tests::Service;
use weirgate_tests::dice::{self, Dice};
use weirgate_tests::environment::scale;

use crate::scene::{NAME, SLOTS, nothing, upstreams};

const EVERY: Duration = Duration::from_millis(20);

/// Services come, change and go, and the one that is called changes too: its servers are not touched.
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_manifests_costs_no_call() {
    let scene = upstreams(2, |service| service).await;
    let mut dice = Dice::new(dice::seed());
    let run = scene.load_that_lingers().start();
    for _ in 0..scale(100, 5_000) {
        let name = format!("other-{}", dice.below(10));
        let other = Service::upstream(&name, &scene.fleet.urls());
        match dice.below(4) {
            0 => drop(std::fs::remove_file(scene.server.file(&other))),
            1 => {
                let own = Service::upstream(NAME, &scene.fleet.urls()).concurrency(SLOTS);
                scene.server.write(&own.timeout(20 + dice.below(20) as usize));
            }
            2 => drop(scene.server.write(&other.max_queued(1 + dice.below(100) as usize))),
            _ => drop(scene.server.write(&other.concurrency(1 + dice.below(9) as usize))),
        }
        run.lasts(EVERY).await;
    }
    let ledger = run.end().await;
    ledger.holds(nothing);
    ledger.executed_once(&scene.fleet.executed());
}

/// The list of servers changes under load: those that leave finish what they hold.
#[tokio::test(flavor = "multi_thread")]
async fn upstreams_that_leave_the_manifest_finish_what_they_hold() {
    let scene = upstreams(4, |service| service).await;
    let all = scene.fleet.urls();
    let all: Vec<&str> = all.split(',').collect();
    let mut dice = Dice::new(dice::seed());
    let run = scene.load_that_lingers().start();
    for _ in 0..scale(15, 500) {
        let first = dice.below(3) as usize;
        let some = &all[first..first + 1 + dice.below(4 - first as u64) as usize];
        scene.server.write(&Service::upstream(NAME, &some.join(",")).concurrency(SLOTS));
        run.lasts(Duration::from_millis(150)).await;
    }
    let ledger = run.end().await;
    ledger.holds(nothing);
    ledger.executed_once(&scene.fleet.executed());
}
