//! The servers behind the gateway: upstreams of the test's own, or children that the gateway starts.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::behaviour::Behaviour;
use crate::process::{Folder, signal};
use crate::wait::within;

/// Servers that share a folder with the test; those it has started end with it.
pub struct Fleet {
    program: PathBuf,
    folder: Folder,
    servers: Vec<Upstream>,
}

struct Upstream {
    child: Child,
    name: String,
    port: u16,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that has said that it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    pub pid: u32,
    pub port: u16,
    pub name: String,
}

impl Fleet {
    /// Without servers yet. `program`: the upstream's binary.
    pub fn new(program: &str) -> Fleet {
        Fleet { program: program.into(), folder: Folder::new(), servers: Vec::new() }
    }

    /// So many upstreams that the test itself runs, named `a`, `b`, and so on.
    pub async fn start(program: &str, count: u8) -> Fleet {
        let mut fleet = Fleet::new(program);
        for index in 0..count {
            let name = char::from(b'a' + index).to_string();
            let server = fleet.spawn(&name, 0).await;
            fleet.servers.push(server);
        }
        fleet
    }

    async fn spawn(&self, name: &str, port: u16) -> Upstream {
        let mut child = Command::new(&self.program)
            .envs(self.variables())
            .env("UPSTREAM_NAME", name)
            .env("PORT", port.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the upstream runs");
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let first = tokio::task::spawn_blocking(move || stdout.lines().next());
        let first = within("an upstream's address", first).await.unwrap().expect("it prints its address").unwrap();
        let port = first.rsplit(':').next().unwrap().parse().unwrap();
        Upstream { child, name: name.to_owned(), port }
    }

    /// What a child of the gateway must be told by its environment.
    pub fn variables(&self) -> [(&'static str, String); 1] {
        [("UPSTREAM_FOLDER", self.folder.path().to_str().unwrap().to_owned())]
    }

    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The upstreams' addresses, as the annotation has them.
    pub fn urls(&self) -> String {
        let url = |server: &Upstream| format!("http://127.0.0.1:{}", server.port);
        self.servers.iter().map(url).collect::<Vec<_>>().join(",")
    }

    /// How all behave from now on, but those that were told something of their own.
    pub fn behave(&self, behaviour: Behaviour) {
        self.folder.replace("behaviour", &behaviour.to_string());
    }

    /// How one behaves from now on.
    pub fn one_behaves(&self, name: &str, behaviour: Behaviour) {
        self.folder.replace(&format!("behaviour.{name}"), &behaviour.to_string());
    }

    /// Lets the streams go on that wait for this file.
    pub fn open(&self, gate: &str) {
        self.folder.file(gate, "");
    }

    /// kill -9 of an upstream of the test's own.
    pub fn kill(&mut self, index: usize) {
        self.servers[index].child.kill().unwrap();
        self.servers[index].child.wait().unwrap();
    }

    /// Starts one that was killed, where it was.
    pub async fn revive(&mut self, index: usize) {
        let (name, port) = (self.servers[index].name.clone(), self.servers[index].port);
        self.servers[index] = self.spawn(&name, port).await;
    }

    /// Sends a signal to an upstream of the test's own.
    pub fn signal(&self, index: usize, name: &str) {
        signal(self.servers[index].child.id(), name);
    }

    /// Every server that ever began to listen, in that order.
    pub fn started(&self) -> Vec<Started> {
        let started = |line: &str| {
            let mut words = line.split(' ');
            let mut word = || words.next().unwrap();
            Started { pid: word().parse().unwrap(), port: word().parse().unwrap(), name: word().to_owned() }
        };
        self.lines("servers").iter().map(|line| started(line)).collect()
    }

    /// Those of [`Fleet::started`] that still run.
    pub fn running(&self) -> Vec<Started> {
        let runs = |server: &Started| {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.pid)).unwrap_or_default();
            // One that has ended and was not waited for is shown as a zombie.
            stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z'))
        };
        self.started().into_iter().filter(runs).collect()
    }

    /// Who executed each call, by its id.
    pub fn executed(&self) -> BTreeMap<String, Vec<String>> {
        let mut executed = BTreeMap::<String, Vec<String>>::new();
        for line in self.lines("executed") {
            let (id, name) = line.split_once(' ').unwrap();
            executed.entry(id.to_owned()).or_default().push(name.to_owned());
        }
        executed
    }

    /// The server that gets most calls: one that was slow once may get none for a while.
    pub fn busiest(&self) -> String {
        let shares = self.shares().into_iter();
        shares.max_by_key(|(_, calls)| *calls).map(|(name, _)| name).expect("no server has executed anything yet")
    }

    /// How many calls each server has executed.
    pub fn shares(&self) -> BTreeMap<String, usize> {
        let mut shares = BTreeMap::new();
        for name in self.executed().into_values().flatten() {
            *shares.entry(name).or_default() += 1;
        }
        shares
    }

    /// Calls whose callers left before they were answered.
    pub fn abandoned(&self) -> Vec<String> {
        self.lines("abandoned").iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    }

    fn lines(&self, file: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.path().join(file)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}
