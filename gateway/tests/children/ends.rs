//! Nothing outlives what started it.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::world::{Folder, Set, Told, alive, command, config, dead, parent, server, shell};

/// Ignores SIGTERM, and has a grandchild in a session of its own that does so too; both write their numbers down.
const STUBBORN: &str = r#"
trap '' TERM
setsid sh -c 'trap "" TERM; echo $$$$ > grandchild.part; mv grandchild.part grandchild; while :; do sleep 1; done' &
echo $$$$ > child.part; mv child.part child
"$@" &
while :; do sleep 1; done
"#;

async fn stubborn(folder: &Folder) -> (Set, u32, u32) {
    let mut command = command(shell(STUBBORN));
    command.working_dir = Some(folder.path().to_owned());
    let mut config = config(command);
    config.grace = Duration::from_millis(300);
    let set = Set::of(1, config);
    set.ready(1).await;
    let (child, grandchild) = (folder.number("child").await, folder.number("grandchild").await);
    assert!(alive(child) && alive(grandchild));
    (set, child, grandchild)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ignores_sigterm_is_killed_with_all_that_it_started() {
    let folder = Folder::new("stubborn");
    let (set, child, grandchild) = stubborn(&folder).await;
    set.end().await;
    assert!(!alive(child) && !alive(grandchild), "a set ends when nothing of it is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_supervisor_is_lost_nothing_is_left_behind() {
    let folder = Folder::new("lost");
    let (set, child, grandchild) = stubborn(&folder).await;
    set.abort();
    dead(child).await;
    dead(grandchild).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_leaves_behind_goes_with_it() {
    let folder = Folder::new("behind");
    let script = "setsid sh -c 'echo $$$$ > grandchild.part; mv grandchild.part grandchild; exec sleep 1000' & \
                  while ! test -e grandchild; do sleep 0.05; done; exit 7";
    let mut command = command(shell(script));
    command.working_dir = Some(folder.path().to_owned());
    let set = Set::of(1, config(command));
    let grandchild = folder.number("grandchild").await;
    dead(grandchild).await;
    set.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_lines_does_not_stop_a_server() {
    let set = Set::of(1, config(command(shell("yes 'a line of nothing' & yes >&2 & exec \"$@\""))));
    set.ready(1).await;
    // Its pipes are read on, or it would stand still with them full.
    for _ in 0..5 {
        assert!(alive(set.pid().await));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    set.end().await;
}

/// A service manager tells all processes of a service to end; the gateway is still to finish its calls.
#[tokio::test(flavor = "multi_thread")]
async fn a_guard_outlives_signals_that_are_the_gateways() {
    let set = Set::of(1, config(command(server())));
    set.ready(1).await;
    let process = set.pid().await;
    let guard = parent(process);
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        kill_process(Pid::from_raw(guard.try_into().unwrap()).unwrap(), signal).unwrap();
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((set.pid().await, parent(process)), (process, guard));
    assert_eq!(set.count(|told| matches!(told, Told::Left(_))), 0);
    set.end().await;
    dead(guard).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_guard_takes_its_command_along_and_both_are_replaced() {
    let set = Set::of(1, config(command(server())));
    set.ready(1).await;
    let process = set.pid().await;
    kill_process(Pid::from_raw(parent(process).try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
    set.until("it left", |told| told.contains(&Told::Left(0))).await;
    dead(process).await;
    set.ready(1).await;
    assert_ne!(set.pid().await, process);
    set.end().await;
}

/// The gateway has let the command go, and does not listen any more: nobody is to be told of that.
#[test]
fn a_guard_that_nobody_listens_to_says_nothing() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_weirgate"));
    // The command ends by itself, when the socket is closed already.
    command.args(["child-guard", "--", "sh", "-c", "trap '' TERM; read -r _ < \"$1\"; exit 0", "sh"]);
    let folder = Folder::new("silent");
    let pipe = folder.file("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    command.arg(&pipe).stdin(OwnedFd::from(theirs)).stderr(Stdio::piped());
    let mut guard = command.spawn().unwrap();
    drop(command);
    ours.shutdown(std::net::Shutdown::Read).unwrap();
    std::fs::write(&pipe, "go\n").unwrap();
    let status = guard.wait().unwrap();
    let mut said = String::new();
    guard.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(status.success() && said.is_empty(), "{status}: {said}");
    drop(ours);
}

#[test]
fn a_guard_that_was_started_by_hand_says_what_it_is_for() {
    let output = Command::new(env!("CARGO_BIN_EXE_weirgate"))
        .args(["child-guard", "--", "sh", "-c", "echo it runs"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && output.stdout.is_empty(), "{said}");
    assert!(said.contains("weirgate serve puts child-guard before each command"), "{said}");
}
