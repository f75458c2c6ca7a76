//! Starting, ready, draining, gone.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use weirgate_replicas::child::{Guard, Ports};
use weirgate_replicas::remote::Address;
use weirgate_replicas::{Counts, FailureKind, RemoteLimits, Wanted};

use crate::world::{Folder, Set, Told, alive, command, config, dead, exec, free_port, parent, pid, server, shell};

/// A process that is to end and has an hour for it lives as long as its server is held, and no longer.
async fn ends_with_its_calls<T>(process: u32, held: T) {
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(alive(process), "its calls have an hour");
    drop(held);
    dead(process).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_listens_on_the_port_that_it_is_told_and_ends_in_order() {
    let set = Set::of(1, config(command(server())));
    set.ready(1).await;
    let pid = set.pid().await;
    assert!(alive(pid));
    let remote = set.notes.remotes.lock()[0].clone();
    assert!(remote.described().v1 && !remote.ours, "it is described before it joins");
    drop(remote);
    let told = set.end().await;
    assert!(!alive(pid), "the set ends when its processes have");
    let positions = [Told::Joined(0), Told::Drains(0), Told::Left(0)]
        .map(|wanted| told.iter().position(|told| *told == wanted).unwrap_or_else(|| panic!("{wanted:?}: {told:?}")));
    assert!(positions.is_sorted(), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn complaint_52_a_process_that_dies_is_dropped_at_once_and_started_again() {
    let mut config = config(command(server()));
    // No health check could see it in time.
    config.watch.every = Duration::from_secs(3_600);
    let set = Set::of(1, config);
    set.ready(1).await;
    let first = set.pid().await;
    kill_process(Pid::from_raw(first.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
    set.until("another one joined", |told| told.iter().filter(|told| matches!(told, Told::Joined(_))).count() == 2)
        .await;
    set.ready(1).await;
    let told = set.notes.told.lock().clone();
    let position = |wanted: &Told| told.iter().position(|told| told == wanted).unwrap();
    assert!(position(&Told::Left(0)) < position(&Told::Joined(1)), "{told:?}");
    assert!(!told.iter().any(|told| matches!(told, Told::Failed(_))), "calls are held for the first restart: {told:?}");
    assert_ne!(set.pid().await, first);
    set.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loop_slows_down_and_says_why() {
    let started = Instant::now();
    let set = Set::of(1, config(command(["sh", "-c", "exit 3"].map(str::to_owned).to_vec())));
    let failed = |told: &&Told| matches!(told, Told::Failed(reason) if reason.contains("exited with code 3"));
    set.until("it failed 4 times", |told| told.iter().filter(failed).count() == 4).await;
    // 0.25 + 0.5 + 1 seconds between the starts; nothing can make them shorter.
    assert!(started.elapsed() >= Duration::from_millis(1_750));
    set.end().await;
}

/// What is told of a replica that was ready and is gone: how it ended, the how manieth start comes next, and when.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_is_noted_with_its_signal_or_code_and_what_comes_next() {
    let folder = Folder::new("crashes");
    let file = folder.file("exit");
    let script =
        format!("(while ! test -e {file}; do sleep 0.05; done; rm {file}; exit 3) & \"$@\" & wait -n; exit $?");
    let mut command = command(shell(&script));
    command.command[0] = "bash".to_owned();
    let set = Set::of(1, config(command));
    set.ready(1).await;
    std::fs::write(&file, "").unwrap();
    let by_code = set.noted("its code", |noted| noted.kind == FailureKind::Exit { code: Some(3) }).await;
    for part in
        ["its process exited with code 3 after ", "; told PORT=", " (there is no containerPort); restart 1 at once"]
    {
        assert!(by_code.reason.contains(part), "{part}: {}", by_code.reason);
    }
    set.joined(2).await;
    let process = set.pid().await;
    kill_process(Pid::from_raw(parent(process).try_into().unwrap()).unwrap(), Signal::SEGV).unwrap();
    let by_signal = set.noted("its signal", |noted| noted.kind == FailureKind::Exit { code: Some(139) }).await;
    for part in ["its process was killed by signal 11 (SIGSEGV) after ", "; restart 2 at 2"] {
        assert!(by_signal.reason.contains(part), "{part}: {}", by_signal.reason);
    }
    set.joined(3).await;
    let counted = |counts: Counts| set.notes.counts.lock().contains(&counts);
    assert!(counted(Counts { ready: 1, ..Counts::default() }) && counted(Counts { starting: 1, ..Counts::default() }));
    assert!(counted(Counts { waiting: 1, restarts: 2, ..Counts::default() }), "{:?}", set.notes.counts.lock());
    let notes = set.notes.clone();
    set.end().await;
    assert_eq!(notes.counts.lock().last(), Some(&Counts { draining: 1, restarts: 2, ..Counts::default() }));
}

/// A program that ignores what it is told, and its port was given away with it.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_takes_the_place_of_a_dead_one_has_its_port() {
    let wanted = free_port();
    let mut command = command(server());
    command.port = Some(wanted);
    let set = Set::of(1, config(command));
    for turn in 1..=2 {
        set.joined(turn).await;
        let Some(Address::Url(url)) = set.notes.remotes.lock()[0].link.address().cloned() else {
            panic!("it has a port")
        };
        assert_eq!(url.port, wanted);
        kill_process(Pid::from_raw(set.pid().await.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
    }
    set.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_listens_elsewhere_says_soon_where() {
    let (wanted, other) = (free_port(), free_port());
    let mut command = command(shell(&format!("PORT={other} exec \"$@\"")));
    command.port = Some(wanted);
    let set = Set::of(1, config(command));
    let noted = set.noted("it listens elsewhere", |noted| noted.reason.contains("instead")).await;
    assert_eq!(noted.kind, FailureKind::NotReady);
    let reason = &noted.reason;
    let told = format!(
        "told PORT={wanted} (containerPort); can't connect to http://127.0.0.1:{wanted}: connection refused, for "
    );
    assert!(reason.starts_with(&told), "{reason}");
    assert!(reason.ends_with(&format!(" s; the process is still running and listens on {other} instead")), "{reason}");
    let told = set.end().await;
    assert!(!told.iter().any(|told| matches!(told, Told::Failed(_))), "it may still come: {told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_started_says_so() {
    for (words, folder, says) in [
        (vec!["/nowhere/serve".to_owned()], None, "'/nowhere/serve' can't be started: No such file"),
        (server(), Some("/nowhere".into()), "its working directory '/nowhere' is no folder"),
        (shell("kill -9 $$$$"), None, "was killed by signal 9 (SIGKILL)"),
    ] {
        let mut command = command(words);
        command.working_dir = folder;
        let set = Set::of(1, config(command));
        set.until(says, |told| told.iter().any(|told| matches!(told, Told::Failed(reason) if reason.contains(says))))
            .await;
        set.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_are_told_and_ours_are_not() {
    let folder = Folder::new("variables");
    let mut command = command(shell("env > env.part; echo \"$0 $1\" > words; mv env.part env; shift; exec \"$@\""));
    command.command.insert(4, "--port=$(PORT) $(A)".to_owned());
    command.env = vec![("A".to_owned(), "a$(PORT)".to_owned()), ("PORT".to_owned(), "1".to_owned())];
    command.working_dir = Some(folder.path().to_owned());
    let set = Set::of(1, config(command));
    set.ready(1).await;
    let Some(Address::Url(url)) = set.notes.remotes.lock()[0].link.address().cloned() else { panic!("it has a port") };
    let env = std::fs::read_to_string(folder.file("env")).unwrap();
    for line in [format!("PORT={}", url.port), format!("WEIRGATE_PORT={}", url.port), format!("A=a{}", url.port)] {
        assert!(env.lines().any(|found| found == line), "{line}: {env}");
    }
    assert!(env.lines().any(|line| line.starts_with("PATH=")));
    let ours = env.lines().filter(|line| line.starts_with("WEIRGATE_")).count();
    assert_eq!(ours, 1, "settings of the gateway are its own: {env}");
    let words = std::fs::read_to_string(folder.file("words")).unwrap();
    assert_eq!(words.trim(), format!("sh --port={0} a{0}", url.port));
    set.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_replica_has_the_written_port_and_the_others_free_ones() {
    let (wanted, ports) = (free_port(), std::sync::Arc::new(Ports::default()));
    let mut command = command(server());
    (command.port, command.ports) = (Some(wanted), ports);
    let set = Set::of(2, config(command));
    set.ready(2).await;
    let remotes = set.notes.remotes.lock().clone();
    let mut ports: Vec<_> = remotes
        .iter()
        .map(|remote| match remote.link.address() {
            Some(Address::Url(url)) => url.port,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ports.iter().filter(|port| **port == wanted).count(), 1, "{ports:?}");
    ports.dedup();
    assert_eq!(ports.len(), 2);
    drop(remotes);
    set.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replacing_starts_the_new_one_first() {
    let set = Set::of(1, config(command(server())));
    set.ready(1).await;
    let before = set.pid().await;
    set.wanted.send_replace(Wanted { replicas: 1, load: 1 });
    set.until("it was replaced", |told| matches!(told.last(), Some(Told::Ready { load: 1, .. }))).await;
    let told = set.notes.told.lock().clone();
    let position = |wanted: &Told| told.iter().position(|told| told == wanted).unwrap();
    assert!(position(&Told::Joined(1)) < position(&Told::Drains(0)), "{told:?}");
    assert!(!told[position(&Told::Joined(0))..].contains(&Told::Loading), "somebody serves all the time: {told:?}");
    dead(before).await;
    set.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_drains_ends_when_its_calls_have() {
    let mut config = config(command(server()));
    config.grace = Duration::from_secs(3_600);
    config.limits = RemoteLimits { container_concurrency: std::num::NonZeroUsize::new(3), ..RemoteLimits::default() };
    let set = Set::of(2, config);
    set.ready(2).await;
    // Calls that run there hold their servers.
    let held = set.notes.remotes.lock().clone();
    assert!(held.iter().all(|remote| remote.slots() == 3));
    set.wanted.send_replace(Wanted::replicas(1));
    set.until("one drains", |told| told.iter().any(|told| matches!(told, Told::Left(_)))).await;
    let staying = set.notes.remotes.lock()[0].id;
    let leaving = held.iter().find(|remote| remote.id != staying).unwrap();
    let process = pid(leaving).await;
    ends_with_its_calls(process, held).await;
    set.end().await;
}

/// It is loading: calls wait for it, and nothing has failed.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_loads_for_long_says_why_and_has_not_failed() {
    let set = Set::of(1, config(command(shell("sleep 4; exec \"$@\""))));
    let says = |told: &Told| matches!(told, Told::Starts(reason) if reason.contains("127.0.0.1"));
    set.until("it says why it is not ready", |told| told.iter().any(says)).await;
    set.ready(1).await;
    let told = set.end().await;
    assert!(!told.iter().any(|told| matches!(told, Told::Failed(_))), "{told:?}");
}

/// Calls that it had when it was ready go on, also where it is to end then.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_not_ready_any_more_ends_when_its_calls_have() {
    let folder = Folder::new("unready");
    let file = folder.file("ready");
    std::fs::write(&file, "").unwrap();
    let mut command = command(server());
    command.readiness = Some(exec(&["test", "-e", &file]));
    let mut config = config(command);
    config.grace = Duration::from_secs(3_600);
    let set = Set::of(1, config);
    set.ready(1).await;
    let (process, held) = (set.pid().await, set.notes.remotes.lock()[0].clone());
    std::fs::remove_file(&file).unwrap();
    set.until("it is not ready", |told| told.contains(&Told::Left(0))).await;
    set.wanted.send_replace(Wanted::default());
    ends_with_its_calls(process, held).await;
    set.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_ends_though_a_guard_says_nothing() {
    let mut config = config(command(server()));
    config.guard = Guard { program: "sh".into(), arguments: ["-c", "read -r _", "guard"].map(str::to_owned).to_vec() };
    let set = Set::of(1, config);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let told = set.end().await;
    assert!(!told.iter().any(|told| matches!(told, Told::Joined(_) | Told::Failed(_))), "{told:?}");
}
