//! `weirgate loadtest` as people run it, against `weirgate serve`: what it counted is held against what the server counted.

#![allow(clippy::unwrap_used)]

mod counts;
mod modes;
mod wrong;

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;
use weirgate_tests::environment::binary;
use weirgate_tests::process::{Folder, run};
use weirgate_tests::{Server, eventually};

/// What a load test printed, ended with and wrote down.
struct Tested {
    output: Output,
    result: Option<Value>,
}

impl Tested {
    fn code(&self) -> i32 {
        self.output.status.code().unwrap()
    }

    fn told(&self) -> String {
        let Output { stdout, stderr, .. } = &self.output;
        String::from_utf8_lossy(stdout).into_owned() + &String::from_utf8_lossy(stderr)
    }

    /// What was found, of a test that got that far.
    fn findings(&self) -> &Value {
        &self.result.as_ref().unwrap_or_else(|| panic!("no result: {}", self.told()))["findings"]
    }

    fn run(&self) -> &Value {
        &self.findings()["run"]
    }

    fn outcome(&self, kind: &str) -> u64 {
        self.run()["outcomes"][kind].as_u64().unwrap()
    }
}

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.arg("loadtest").args(words);
    command
}

/// Loads a server, in silence and without a warm-up that the server would count and the result not.
async fn loadtest(server: &Server, words: &[&str]) -> Tested {
    loadtest_at(&format!("http://{}", server.data), words).await
}

async fn loadtest_at(url: &str, words: &[&str]) -> Tested {
    let folder = Folder::new();
    let out: PathBuf = folder.path().join("result.json");
    let mut command = command(&[url, "--progress", "none"]);
    // Sweeps have warm-ups of their own, and leave this aside.
    command.args(words).arg("--out").arg(&out).env("WEIRGATE_LOADTEST_WARMUP", "0s");
    let output = tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap();
    let result = std::fs::read(&out).ok().map(|bytes| serde_json::from_slice(&bytes).unwrap());
    Tested { output, result }
}

/// Waits until the server has counted calls of a service as told; it counts a little behind its answers.
async fn counted(server: &Server, service: &str, is_it: impl Fn(u64) -> bool) {
    eventually("the server counts as many calls", async || {
        is_it(server.metric("weirgate_revision_requests_total", service).await as u64).then_some(())
    })
    .await;
}
