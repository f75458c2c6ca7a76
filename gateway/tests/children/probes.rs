//! Probes of processes.

use std::time::Duration;

use weirgate_replicas::child::{Check, Probe};

use crate::world::{Folder, Set, Told, command, config, dead, exec, server, within};

#[tokio::test(flavor = "multi_thread")]
async fn readiness_decides_who_gets_calls() {
    let folder = Folder::new("readiness");
    let file = folder.file("ready");
    let mut command = command(server());
    command.readiness = Some(exec(&["test", "-e", &file]));
    let set = Set::of(1, config(command));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(set.count(|told| matches!(told, Told::Joined(_))), 0, "its model answers, its probe does not");
    std::fs::write(&file, "").unwrap();
    set.ready(1).await;
    let process = set.pid().await;

    std::fs::remove_file(&file).unwrap();
    set.until(
        "it is not ready any more",
        |told| matches!(told.last(), Some(Told::Failed(reason)) if reason.contains("readiness probe fails")),
    )
    .await;
    assert_eq!(set.count(|told| *told == Told::Left(0)), 1);
    std::fs::write(&file, "").unwrap();
    set.ready(1).await;
    assert_eq!(set.pid().await, process, "it was not started again");
    set.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_not_alive_is_replaced() {
    let folder = Folder::new("liveness");
    let file = folder.file("hangs");
    let mut command = command(server());
    command.liveness = Some(exec(&["sh", "-c", &format!("! test -e {file}")]));
    let set = Set::of(1, config(command));
    set.ready(1).await;
    let before = set.pid().await;
    std::fs::write(&file, "").unwrap();
    set.until("it is gone", |told| told.contains(&Told::Left(0))).await;
    std::fs::remove_file(&file).unwrap();
    set.ready(1).await;
    assert_ne!(set.pid().await, before);
    set.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_does_not_start_is_started_again() {
    let mut command = command(["sleep", "1000"].map(str::to_owned).to_vec());
    command.startup = Some(Probe { check: Check::Tcp { port: None }, ..exec(&[]) });
    let set = Set::of(1, config(command));
    let failed = |told: &&Told| matches!(told, Told::Failed(reason) if reason.contains("startup probe failed 2 times"));
    set.until("it failed twice", |told| told.iter().filter(failed).count() == 2).await;
    set.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_probes_go_by_the_status() {
    let mut command = command(server());
    let http = |path: &str| Probe {
        check: Check::Http { path: path.to_owned(), port: None, headers: vec![("a".to_owned(), "b".to_owned())] },
        failure_threshold: 600,
        ..exec(&[])
    };
    command.startup = Some(http("/v1/models/m"));
    command.readiness = Some(http("/v1/models/m"));
    let set = Set::of(1, config(command.clone()));
    set.ready(1).await;
    set.end().await;
    command.startup = Some(Probe { failure_threshold: 5, ..http("/v1/models/other") });
    let set = Set::of(1, config(command));
    set.until("it says what came back", |told| {
        let says = |reason: &str| reason.contains("answered 404") || reason.contains("startup probe failed");
        told.iter().any(|told| matches!(told, Told::Failed(reason) if says(reason)))
    })
    .await;
    assert_eq!(set.count(|told| matches!(told, Told::Joined(_))), 0);
    set.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_hangs_leaves_nothing_behind() {
    let folder = Folder::new("hanging");
    let (pids, env) = (folder.file("pids"), folder.file("env"));
    let mut command = command(server());
    let script = format!("env > {env}; setsid sleep 1000 & echo $! >> {pids}; wait");
    let probe = exec(&["sh", "-c", &script]);
    command.liveness = Some(Probe { timeout: Duration::from_secs(1), failure_threshold: 600, ..probe });
    let set = Set::of(1, config(command));
    let found = || {
        let text = std::fs::read_to_string(&pids).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<u32>>()
    };
    within("three probes", || found().len() >= 3).await.expect("there are three probes");
    for pid in &found()[..2] {
        dead(*pid).await;
    }
    let env = std::fs::read_to_string(env).unwrap();
    assert_eq!(env.lines().filter(|line| line.starts_with("WEIRGATE_")).count(), 1, "WEIRGATE_PORT alone: {env}");
    set.end().await;
    for pid in found() {
        dead(pid).await;
    }
}
