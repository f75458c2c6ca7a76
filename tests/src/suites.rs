//! Suites of other people's clients, in Python.

use std::process::{Command, Output, Stdio};

use crate::Server;
use crate::environment::{python, workspace};

/// Runs a suite of a folder of `tests` against a server.
pub fn suite(folder: &str, suite: &str, server: &Server) -> Command {
    let mut command = Command::new(python());
    command
        .args(["-B", "-m", "pytest", "-q", suite])
        .current_dir(workspace().join("tests").join(folder))
        .env("WEIRGATE_HTTP", server.data.to_string())
        .stdin(Stdio::null());
    command
}

/// What is wrong with a suite's run; nothing may fail, and nothing may be skipped.
pub fn fault(suite: &str, output: &Output) -> Option<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    let summary = text.lines().last().unwrap_or_default();
    println!("{suite}: {summary}");
    let passed = output.status.success() && summary.contains(" passed") && !summary.contains("skipped");
    (!passed).then(|| format!("{suite}:\n{text}\n{}", String::from_utf8_lossy(&output.stderr)))
}
