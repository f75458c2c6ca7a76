//! The load tester's pages in a real browser: what `tests/browser/check.js` finds wrong with them.

#![allow(clippy::unwrap_used)]

use std::process::{Command, Stdio};
use std::time::Duration;

use weirgate_tests::environment::{binary, browser, workspace};
use weirgate_tests::process::{Folder, run};

/// Results of each kind; the pages of them are checked. They are made by the formulas in `loadtest/src/report/fixture.rs`.
const RESULTS: [&str; 4] = ["run", "sweep", "ab", "hostile"];

/// A browser draws some 15 pages: half a minute on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

#[tokio::test]
async fn the_pages_have_their_plots_and_ask_for_nothing_from_outside() {
    let folder = Folder::new();
    let scripts = workspace().join("tests/browser");
    for name in RESULTS {
        let (result, page) =
            (scripts.join(format!("fixtures/{name}.json")), folder.path().join(format!("{name}.html")));
        let shown = run(Command::new(binary()).args(["loadtest", "show"]).arg(result).arg("--html").arg(page));
        assert!(shown.status.success(), "{name}: {}", String::from_utf8_lossy(&shown.stderr));
    }
    let checked = tokio::process::Command::new("node")
        .arg(scripts.join("check.js"))
        .arg(folder.path())
        .arg(workspace().join("target/browser"))
        .env("WEIRGATE_CHROMIUM", browser())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let checked = tokio::time::timeout(PATIENCE, checked).await.expect("the pages are looked at in time");
    let checked = checked.expect("node is there: run `make setup-browser`");
    let told = String::from_utf8_lossy(&checked.stdout);
    let faults = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{faults}\npictures are in target/browser");
    assert!(RESULTS.iter().all(|name| told.contains(&format!("{name}: looked at"))), "{told}");
}
