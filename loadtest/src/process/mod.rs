//! A server as a child process on a core of its own.

mod usage;
mod weirgate;

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

pub use self::usage::{Memory, cpu_time, memory};
pub use self::weirgate::{Weirgate, get, series};
use crate::Result;

/// How long a server may take to stop when asked to, before it is killed.
const STOP: Duration = Duration::from_secs(10);

/// How long somebody else's server may take to listen.
const LISTEN: Duration = Duration::from_secs(10);

/// Two cores to measure with: what is measured has one, who measures has the other.
#[derive(Clone, Copy, Debug)]
pub struct Cores {
    pub server: usize,
    pub client: usize,
}

impl Cores {
    /// The first two cores this process may use. With one core, client and server share it, and numbers mean little.
    pub fn pick() -> Result<Cores> {
        let set = sched_getaffinity(None)?;
        let mut allowed = (0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core));
        let client = allowed.next().ok_or_else(|| crate::error("no core is allowed"))?;
        Ok(Cores { server: allowed.next().unwrap_or(client), client })
    }
}

/// Binds the calling thread, and the threads and processes it starts from now on, to one core.
pub fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

/// Starts `command` on one core, from its first instruction on; or on any of ours.
pub fn spawn_on(core: Option<usize>, mut command: Command) -> Result<Child> {
    // A child inherits the cores of the thread that starts it, so a thread of its own leaves ours as they are.
    let starter = std::thread::spawn(move || {
        core.map_or(Ok(()), pin)?;
        command.spawn()
    });
    starter.join().map_err(|_| crate::error("the thread that starts the child panicked"))?
}

/// A child that is stopped when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// The addresses it printed.
    pub data: SocketAddr,
    pub admin: Option<SocketAddr>,
    /// When it was about to be started.
    pub spawned: Instant,
}

/// Where the server's log goes.
#[derive(Clone, Debug)]
pub enum Log {
    Inherit,
    File(PathBuf),
}

impl Server {
    /// Starts a server that prints `data http://ADDRESS`, and perhaps `admin http://ADDRESS`, on standard output.
    pub fn start(core: Option<usize>, mut command: Command, log: &Log) -> Result<Server> {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        if let Log::File(path) = log {
            command.stderr(std::fs::File::create(path)?);
        }
        let spawned = Instant::now();
        let mut child = spawn_on(core, command)?;
        let stdout = child.stdout.take().ok_or_else(|| crate::error("the child has no standard output"))?;
        let mut lines = BufReader::new(stdout).lines();
        let mut address = |name: &str| -> Result<Option<SocketAddr>> {
            let Some(line) = lines.next().transpose()? else { return Ok(None) };
            let address = line.strip_prefix(name).and_then(|rest| rest.trim().strip_prefix("http://"));
            address.map(|address| address.parse().map_err(crate::error)).transpose()
        };
        let addresses = address("data").and_then(|data| {
            let data = data.ok_or_else(|| crate::error("the server printed no address: its log says why"))?;
            Ok((data, address("admin")?))
        });
        let mut server = match addresses {
            Ok((data, admin)) => Server { child, data, admin, spawned },
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(error);
            }
        };
        match server.child.try_wait()? {
            None => Ok(server),
            Some(status) => Err(crate::error(format!("the server ended at once: {status}"))),
        }
    }

    /// Starts anybody's server that was told to listen at `data`, and waits until it does.
    pub fn start_at(core: Option<usize>, mut command: Command, data: SocketAddr, log: &Log) -> Result<Server> {
        command.stdin(Stdio::null());
        if let Log::File(path) = log {
            let file = std::fs::File::create(path)?;
            command.stdout(file.try_clone()?).stderr(file);
        }
        let spawned = Instant::now();
        let mut server = Server { child: spawn_on(core, command)?, data, admin: None, spawned };
        while TcpStream::connect(data).is_err() {
            if let Some(status) = server.child.try_wait()? {
                return Err(crate::error(format!("the server ended at once: {status}")));
            }
            if spawned.elapsed() > LISTEN {
                return Err(crate::error(format!("the server does not listen at {data} after {LISTEN:?}")));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// CPU time used so far by all of its threads.
    pub fn cpu_time(&self) -> Result<Duration> {
        cpu_time(self.pid())
    }

    pub fn memory(&self) -> Result<Memory> {
        memory(self.pid())
    }

    /// Asks it to stop, and kills it if it does not.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM)?;
        let asked = Instant::now();
        while asked.elapsed() < STOP {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.child.kill()?;
        self.child.wait()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}
