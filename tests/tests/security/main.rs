//! Keeping others out of the data port: keys, tokens and TLS, over every protocol.

#![allow(clippy::unwrap_used)]

mod clients;
mod keys;
mod limits;
mod refusals;
mod tls;
mod tokens;
mod usage;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use weirgate_tests::environment::binary;
use weirgate_tests::process::{Folder, run};

/// Puts a file in its place that its owner alone can write.
fn private(folder: &Folder, name: &str, text: &str) -> PathBuf {
    let half = folder.file(&format!("{name}.new"), text);
    std::fs::set_permissions(&half, std::fs::Permissions::from_mode(0o600)).unwrap();
    let path = folder.path().join(name);
    std::fs::rename(half, &path).unwrap();
    path
}

/// A new key, and its entry for the file with more lines.
fn key(name: &str, services: &str, more: &str) -> (String, String) {
    let output = run(Command::new(binary()).args(["key", "new", name, "--service", services]));
    assert!(output.status.success(), "{output:?}");
    let more: String = more.lines().map(|line| format!("  {}\n", line.trim())).collect();
    let entry = String::from_utf8(output.stdout).unwrap() + &more;
    (String::from_utf8(output.stderr).unwrap().trim().to_owned(), entry)
}

/// A file of keys.
fn file(entries: &[&str]) -> String {
    format!("keys:\n{}", entries.concat())
}
