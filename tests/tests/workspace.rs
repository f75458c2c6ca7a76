//! The house: which crate may see which, and what keeps the pure ones pure.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use weirgate_tests::environment::workspace;

/// Who may see whom, of the workspace's own crates, whatever the kind of the dependency.
const MAY_SEE: [(&str, &[&str]); 10] = [
    ("weirgate-protocol", &[]),
    ("weirgate-router", &["weirgate-protocol"]),
    ("weirgate-replicas-core", &["weirgate-protocol"]),
    ("weirgate-deploy-core", &["weirgate-protocol"]),
    ("weirgate-models", &["weirgate-protocol"]),
    ("weirgate-replicas", &["weirgate-replicas-core", "weirgate-models", "weirgate-protocol"]),
    (
        "weirgate-deploy",
        &[
            "weirgate-protocol",
            "weirgate-deploy-core",
            "weirgate-replicas-core",
            "weirgate-replicas",
            "weirgate-router",
        ],
    ),
    ("weirgate-loadtest", &["weirgate-protocol", "weirgate-router", "weirgate-replicas-core", "weirgate-deploy-core"]),
    (
        "weirgate",
        &[
            "weirgate-protocol",
            "weirgate-router",
            "weirgate-replicas-core",
            "weirgate-deploy-core",
            "weirgate-models",
            "weirgate-replicas",
            "weirgate-deploy",
            "weirgate-loadtest",
        ],
    ),
    ("weirgate-tests", &["weirgate-protocol", "weirgate-deploy-core", "weirgate-models", "weirgate-replicas"]),
];

/// Crates that only decide, and the folders they lie in.
const PURE: [(&str, &str); 4] = [
    ("weirgate-protocol", "gateway/protocol"),
    ("weirgate-router", "router"),
    ("weirgate-replicas-core", "replicas/core"),
    ("weirgate-deploy-core", "deploy/core"),
];

/// What a pure crate must not depend on: runtimes, networks, engines, clusters and locks.
const IMPURE: [&str; 8] = ["tokio", "hyper", "axum", "tonic", "ort", "kube", "reqwest", "parking_lot"];

struct Package {
    /// Names of everything it depends on, and whether that is a crate of this workspace.
    dependencies: Vec<(String, bool)>,
    has_binary: bool,
}

fn packages() -> BTreeMap<String, Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(workspace())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let package = |package: &Value| {
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        let dependencies = dependencies.map(|one| (text(&one["name"]), !one["path"].is_null())).collect();
        let mut kinds =
            package["targets"].as_array().unwrap().iter().flat_map(|target| target["kind"].as_array().unwrap());
        let has_binary = kinds.any(|kind| kind == "bin");
        (text(&package["name"]), Package { dependencies, has_binary })
    };
    metadata["packages"].as_array().unwrap().iter().map(package).collect()
}

#[test]
fn every_crate_sees_only_whom_it_may() {
    let packages = packages();
    let listed: Vec<_> = packages.keys().map(String::as_str).collect();
    let mut known: Vec<_> = MAY_SEE.iter().map(|(name, _)| *name).collect();
    known.sort_unstable();
    assert_eq!(listed, known, "the table names every crate of the workspace");
    let mut wrong = Vec::new();
    for (name, allowed) in MAY_SEE {
        let seen = packages[name].dependencies.iter().filter(|(_, ours)| *ours).map(|(seen, _)| seen.as_str());
        wrong.extend(seen.filter(|seen| !allowed.contains(seen)).map(|seen| format!("{name} sees {seen}")));
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn only_the_gateway_has_a_main() {
    let packages = packages();
    let with_main: Vec<_> = packages.iter().filter(|(_, package)| package.has_binary).map(|(name, _)| name).collect();
    // Besides it, the tests have a server that misbehaves as it is told.
    assert_eq!(with_main, ["weirgate", "weirgate-tests"]);
}

#[test]
fn pure_crates_depend_on_nothing_that_acts() {
    let packages = packages();
    for (name, _) in PURE {
        for (dependency, _) in &packages[name].dependencies {
            let impure = IMPURE.iter().any(|impure| {
                dependency == impure || dependency.strip_prefix(impure).is_some_and(|rest| rest.starts_with('-'))
            });
            assert!(!impure, "{name} is pure, and depends on {dependency}");
        }
    }
}

#[test]
fn pure_crates_ban_clocks_and_threads_and_say_why() {
    for (name, folder) in PURE {
        let text = std::fs::read_to_string(workspace().join(folder).join("clippy.toml"))
            .unwrap_or_else(|error| panic!("{name} has no clippy.toml: {error}"));
        let bans: Vec<_> = text.lines().filter(|line| line.contains("path = ")).collect();
        for ban in &bans {
            let reason = ban.split("reason = \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
            assert!(reason.len() > 10, "{name}: a ban without a reason: {ban}");
        }
        for banned in
            ["std::time::Instant::now", "std::time::SystemTime::now", "std::thread::spawn", "std::thread::sleep"]
        {
            assert!(bans.iter().any(|ban| ban.contains(&format!("\"{banned}\""))), "{name} does not ban {banned}");
        }
    }
}

#[test]
fn every_crate_takes_the_workspaces_lints() {
    for manifest in files(&workspace(), &|path| path.ends_with("Cargo.toml")) {
        let text = std::fs::read_to_string(&manifest).unwrap();
        let inherits = text.contains("[lints]\nworkspace = true") || text.contains("[workspace.lints.rust]");
        assert!(inherits, "{} has lints of its own", manifest.display());
    }
}

/// Files of the gateway that write a status, the line, and why it is no error's.
const MAY_WRITE_A_STATUS: [(&str, &str, &str); 10] = [
    ("respond.rs", "", "the one place where errors become answers"),
    ("admin/control.rs", "StatusCode::BAD_REQUEST", "the answer is the list of problems of a manifest"),
    ("admin/mod.rs", "StatusCode::SERVICE_UNAVAILABLE", "a probe's answer is its state"),
    ("admin/mod.rs", "status_mut() = status", "writes what a probe found"),
    ("http/mod.rs", "StatusCode::NO_CONTENT", "answers OPTIONS"),
    ("http/v2.rs", "StatusCode::SERVICE_UNAVAILABLE, v2::ready(false)", "V2's probe answers its state"),
    ("http/parts.rs", "status_mut() = status", "writes the status of a body that is no error"),
    ("grpc/stream.rs", "tonic::Status::ok", "the end of a stream that went well"),
    ("pass/verdict.rs", "StatusCode::", "reads what another server answered"),
    ("pass/answer.rs", "status_mut() = head.status", "passes another server's status on"),
];

/// A handler that writes a status by hand does so past the table of errors.
#[test]
fn only_respond_turns_errors_into_statuses() {
    let written = |line: &str| {
        let constant = line.split("StatusCode::").skip(1).any(|rest| !rest.starts_with("OK"));
        let by_hand = ["status_mut(", "tonic::Status::", " Status::new(", "builder().status("];
        let import = line.trim_start().starts_with("use ");
        !import && (constant || by_hand.iter().any(|text| line.contains(text)))
    };
    let source = workspace().join("gateway/src");
    let mut found = Vec::new();
    for file in files(&source, &|path| path.extension().is_some_and(|extension| extension == "rs")) {
        let name = file.strip_prefix(&source).unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for line in code.lines().filter(|line| written(line)) {
            let allowed = MAY_WRITE_A_STATUS.iter().any(|(file, text, _)| *file == name && line.contains(text));
            if !allowed {
                found.push(format!("{name}: {}", line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "handlers return an Error, and respond.rs writes its status: {found:#?}");
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    let homes = ["work", "home", "root", "Users", "mnt"].map(|folder| format!("/{folder}/"));
    let kinds = ["rs", "toml", "py", "yaml", "yml", "sh", "lock"];
    let written = |path: &Path| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        extension.is_some_and(|extension| kinds.contains(&extension)) || path.ends_with("Makefile")
    };
    let files = files(&workspace(), &written);
    assert!(files.len() > 100, "only {} files were found", files.len());
    let mut found = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for (number, line) in text.lines().enumerate() {
            // A path begins after a quote, a space or a sign; `https://host/home/` is none.
            let at = |home: &String| {
                line.match_indices(home.as_str()).any(|(at, _)| {
                    !line[..at].ends_with(|before: char| before.is_alphanumeric() || "/.-_)}".contains(before))
                })
            };
            if homes.iter().any(at) {
                found.push(format!("{}:{}: {line}", file.display(), number + 1));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// Files of the source tree, without what is built or fetched.
fn files(folder: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir()
            && !path.is_symlink()
            && !name.starts_with('.')
            && !["target", "build", "shared"].contains(&name)
        {
            found.extend(files(&path, wanted));
        } else if path.is_file() && wanted(&path) {
            found.push(path);
        }
    }
    found
}
