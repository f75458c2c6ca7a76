//! `validate`, which needs no server.

use std::process::{Command, Output};

use weirgate_tests::Service;
use weirgate_tests::environment::{binary, workspace};
use weirgate_tests::process::{Folder, run, run_with_input};

fn validate(path: &str) -> (Option<i32>, String, String) {
    of(run(Command::new(binary()).args(["validate", "-f", path])))
}

/// Exit code, standard output and standard error.
fn of(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn clean_and_warned_is_0_unsupported_and_wrong_is_1() {
    let folder = Folder::new();
    let yaml = Service::sum(1).yaml();
    for (name, yaml, code, expected) in [
        ("clean", yaml.clone(), 0, ""),
        ("warned", yaml.replace("storageUri", "maxRepliques: 1\n      storageUri"), 0, "warning: "),
        ("unsupported", yaml.replace("spec:\n", "spec:\n  transformer: {containers: []}\n"), 1, "unsupported: "),
        ("wrong", yaml.replace("  predictor:\n", "  predictor:\n    canaryTrafficPercent: 101\n"), 1, "error: "),
        ("no-yaml", "{".to_owned(), 1, "error: "),
    ] {
        let file = folder.file(&format!("{name}.yaml"), &yaml);
        let (status, stdout, stderr) = validate(file.to_str().unwrap());
        assert_eq!(status, Some(code), "{name}: {stdout}{stderr}");
        assert!(stderr.contains(expected) && stderr.is_empty() == expected.is_empty(), "{name}: {stderr}");
        assert!(stdout.starts_with("1 file, "), "{name}: {stdout}");
    }
    let (status, _, stderr) = validate(folder.path().to_str().unwrap());
    assert_eq!(status, Some(1));
    for name in ["warned", "unsupported", "wrong", "no-yaml"] {
        assert!(stderr.contains(&format!("{name}.yaml")), "all problems of all files: {stderr}");
    }
    assert!(stderr.contains("claimed twice"), "{stderr}");
    let (status, ..) = validate(folder.path().join("nothing.yaml").to_str().unwrap());
    assert_eq!(status, Some(1));
}

#[test]
fn standard_input_is_a_manifest_too() {
    let output = run_with_input(Command::new(binary()).args(["validate", "-f", "-"]), &Service::sum(1).yaml());
    let (status, stdout, stderr) = of(output);
    assert_eq!((status, &*stderr), (Some(0), ""), "{stdout}");
    assert!(stdout.contains("1 inferenceservice"), "{stdout}");
}

/// Manifests that KServe's users have: each is understood, whether or not it can run here.
#[test]
fn the_examples_have_no_errors() {
    let examples = workspace().join("deploy/core/tests/manifests/examples");
    let mut files = 0;
    for entry in examples.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "yaml") {
            continue;
        }
        files += 1;
        let (status, stdout, stderr) = validate(path.to_str().unwrap());
        assert!(stdout.contains(" 0 errors"), "{}: {stdout}{stderr}", path.display());
        let unsupported = stderr.contains("unsupported: ");
        assert_eq!(status, Some(i32::from(unsupported)), "{}: {stdout}{stderr}", path.display());
    }
    assert!(files >= 7, "only {files} examples");
}
