//! The process between the gateway and a command: it outlives neither, and takes all that the command started with it.
//!
//! ```text
//! gateway ──socket──► guard ──► command ──► whatever that starts
//! ```
//!
//! The kernel can be asked to kill a child when its parent dies, but not the child's children. The guard can: processes that
//! lose their parent become its own (it is their subreaper), so it finds them all, in whatever process group they hide. The
//! end of the socket is the end of the gateway, also where that was killed.

use std::ffi::OsString;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use tokio::signal::unix::{SignalKind, signal};

/// What the gateway sends to ask the command to end, by SIGTERM to its process group.
pub(super) const TERMINATE: u8 = b't';

/// What a service manager sends to every process of a service at once. The gateway finishes calls then, and a guard that died
/// of it would take its command away from under them.
const NOT_FOR_US: [SignalKind; 3] = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];

/// Rounds in which what a command left behind is looked for; a process may start others while it is.
const MOST_SWEEPS: u32 = 1_000;
const BETWEEN_SWEEPS: Duration = Duration::from_millis(2);

/// Runs a command until it ends, or the other end of standard input is closed. What is left of it then is killed.
///
/// Standard input is a socket. On it the guard says a line each: `started PID`, or `failed WHY`, and then `exited CODE` or
/// `killed SIGNAL`.
pub fn guard(command: &[OsString]) -> ExitCode {
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &[OsString]) -> Result<(), String> {
    let (program, arguments) = command.split_first().ok_or("no command to guard")?;
    let socket = std::io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from);
    let mut socket = socket.map_err(|error| format!("standard input can't be used: {error}"))?;
    socket.peer_addr().map_err(|error| {
        format!(
            "standard input is no socket of a gateway's ({error}): weirgate serve puts child-guard before each command \
             that it runs, and it is of no use by hand"
        )
    })?;
    let mut gateway = socket.try_clone().map_err(|error| format!("standard input can't be used: {error}"))?;
    outlive_signals().map_err(|error| format!("signals can't be handled: {error}"))?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|error| format!("the guard can't take over what its command leaves behind: {error}"))?;
    let spawned = Command::new(program).args(arguments).stdin(Stdio::null()).process_group(0).spawn();
    let child = match spawned.map(|child| Pid::from_child(&child)) {
        Ok(child) => child,
        Err(error) => return say(&mut socket, &format!("failed {error}")),
    };
    let told = say(&mut socket, &format!("started {}", child.as_raw_nonzero())).and_then(|()| {
        // Ends with the process.
        std::thread::spawn(move || obey(&mut gateway, child));
        let ended = wait_for(child);
        // First the news: the gateway need not wait for what is left.
        say(&mut socket, &ended)
    });
    kill_group(child);
    sweep();
    told
}

/// Has signals do nothing to the guard. They are handled, not ignored: a command would inherit that.
fn outlive_signals() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _inside = runtime.enter();
    // A handler stays for as long as the process, whoever listens.
    NOT_FOR_US.into_iter().try_for_each(|kind| signal(kind).map(drop))
}

/// Tells the gateway, unless that listens no more: it has let the command go, or is gone itself.
fn say(socket: &mut UnixStream, line: &str) -> Result<(), String> {
    match socket.write_all(format!("{line}\n").as_bytes()) {
        Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => Ok(()),
        told => told.map_err(|error| format!("the gateway can't be told: {error}")),
    }
}

/// Passes the gateway's wishes on; where it is gone, so is the command.
fn obey(gateway: &mut UnixStream, child: Pid) {
    let mut wish = [0];
    while matches!(gateway.read(&mut wish), Ok(1)) {
        if wish[0] == TERMINATE {
            let _ = rustix::process::kill_process_group(child, Signal::TERM);
        }
    }
    kill_group(child);
    let _ = rustix::process::kill_process(child, Signal::KILL);
}

fn kill_group(child: Pid) {
    // Nothing of it may be left.
    let _ = rustix::process::kill_process_group(child, Signal::KILL);
}

/// Waits until the command ends, and meanwhile buries what its descendants leave to the guard.
fn wait_for(child: Pid) -> String {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == child => return said(status),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return format!("killed by an unknown cause: {error}"),
        }
    }
}

fn said(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exited {code}"),
        (None, Some(signal)) => format!("killed {signal}"),
        (None, None) => "exited 255".to_owned(),
    }
}

/// Kills whatever descends from the command: those whose parent dies become children of the guard, until there are none.
fn sweep() {
    for _ in 0..MOST_SWEEPS {
        for child in children() {
            let _ = rustix::process::kill_process(child, Signal::KILL);
        }
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
        std::thread::sleep(BETWEEN_SWEEPS);
    }
}

/// The processes whose parent this is.
fn children() -> Vec<Pid> {
    let own = rustix::process::getpid();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| parent(*pid) == Some(own)).filter_map(Pid::from_raw).collect()
}

fn parent(pid: i32) -> Option<Pid> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything, brackets too; then come the state and the parent.
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(1)?.parse().ok().and_then(Pid::from_raw)
}
