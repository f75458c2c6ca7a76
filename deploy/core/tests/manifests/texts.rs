//! Texts: several documents, no documents, no YAML, too much YAML.

use serde_json::json;
use weirgate_deploy_core::{Loaded, Severity};

use crate::{load_text, manifest, texts};

#[track_caller]
fn refused(text: &str, expected: &[&str]) {
    let loaded = load_text(text);
    assert_eq!(texts(&loaded.problems, Severity::Error), expected);
    assert_eq!(loaded.services, []);
}

#[test]
fn documents_stand_alone() {
    let named = |name: &str| manifest(&json!({ "metadata": { "name": name } }));
    let text = format!("---\n{}\n---\n---\n{}\n---\n{}\n...\n", named("one"), named("Two"), named("three"));
    let loaded = load_text(&text);
    let found: Vec<_> =
        loaded.services.iter().map(|found| (found.document, found.service.metadata.name.as_str())).collect();
    assert_eq!(found, [(1, "one"), (3, "three")]);
    let problems: Vec<_> = loaded.problems.iter().map(|problem| problem.subject.as_str()).collect();
    assert_eq!(problems, ["inferenceservice default/'Two'"]);
}

#[test]
fn nothing_to_run() {
    for text in ["", "\n", "# later\n", "---\n---\n", "null"] {
        refused(text, &["service.yaml: is empty: write an InferenceService"]);
    }
    refused("- a\n- b", &["service.yaml: document 1: is a list: write an InferenceService"]);
    refused("digits", &["service.yaml: document 1: is 'digits': write an InferenceService"]);
}

#[test]
fn other_kinds_are_ignored() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: token}\nspec: {replicas: 3}";
    let text = format!("{secret}\n---\n{}", manifest(&json!({})));
    let loaded = load_text(&text);
    assert_eq!(loaded.services.iter().map(|service| service.document).collect::<Vec<_>>(), [2]);
    let ignored = "service.yaml: document 1: is ignored: a 'Secret' of 'v1' is no InferenceService";
    assert_eq!(texts(&loaded.problems, Severity::Warning), [ignored]);
    assert_eq!(loaded.problems.len(), 1);
    let alone = load_text(secret);
    assert_eq!((alone.services.len(), texts(&alone.problems, Severity::Warning)), (0, vec![ignored.to_owned()]));
}

#[test]
fn a_kind_that_is_only_mistyped_is_an_error() {
    const VERSION: &str = "apiVersion: serving.kserve.io/v1beta1";
    const SUBJECT: &str = "service.yaml: document 1:";
    let version = format!("{SUBJECT} apiVersion is 'serving.kserve.io/v1alpha2': allowed is serving.kserve.io/v1beta1");
    refused("apiVersion: serving.kserve.io/v1alpha2\nkind: InferenceService", &[&version]);
    let kind = format!("{SUBJECT} kind is 'InferenceServce': allowed is InferenceService");
    refused(&format!("{VERSION}\nkind: InferenceServce"), &[&kind]);
    let missing = format!("{SUBJECT} kind is missing: write InferenceService");
    refused(VERSION, &[&missing]);
    refused(
        "kind: 5\nspec: {replicas: 3}",
        &[
            "service.yaml: document 1: apiVersion is missing: write serving.kserve.io/v1beta1",
            "service.yaml: document 1: kind is 5: allowed is InferenceService",
        ],
    );
}

#[test]
fn lists_are_their_items() {
    let named = |name: &str| manifest(&json!({ "metadata": { "name": name } }));
    for (version, kind) in [("v1", "List"), ("serving.kserve.io/v1beta1", "InferenceServiceList")] {
        let items = json!([named("one"), { "apiVersion": "v1", "kind": "Secret" }, named("two")]);
        let list =
            json!({ "apiVersion": version, "kind": kind, "metadata": { "resourceVersion": "" }, "items": items });
        let loaded = load_text(&format!("{}\n---\n{list}\n", named("zero")));
        let found: Vec<_> =
            loaded.services.iter().map(|found| (found.document, &*found.service.metadata.name)).collect();
        assert_eq!(found, [(1, "zero"), (2, "one"), (2, "two")]);
        assert_eq!(
            texts(&loaded.problems, Severity::Warning),
            ["service.yaml: document 2 item 2: is ignored: a 'Secret' of 'v1' is no InferenceService"]
        );
        let nested = load_text(&json!({ "apiVersion": version, "kind": kind, "items": [list] }).to_string());
        assert_eq!(
            texts(&nested.problems, Severity::Warning),
            [
                "service.yaml: document 1 item 1: is ignored: it is a list within a list, write its items beside the others"
            ]
        );
        let wrong = json!({ "apiVersion": version, "kind": kind, "items": 5 }).to_string();
        refused(&wrong, &["service.yaml: document 1: items is 5: allowed is a list"]);
        assert_eq!(load_text(&json!({ "apiVersion": version, "kind": kind }).to_string()), Loaded::default());
    }
}

#[test]
fn yaml_errors_keep_their_place() {
    let cases = [
        ("a: 1\na: 2", "duplicate mapping key `a` is not allowed here at line 2, column 1"),
        ("a:\n  b: 'c", "unclosed quote at line 2, column 6"),
        ("a: *b", "reference to unknown value at line 1, column 4"),
        ("\"a\\e\": 1\n\"a\\e\": 2", r"duplicate mapping key `a\u{1b}` is not allowed here at line 2, column 1"),
        ("a: .nan", "value `.nan` is not a finite number at line 1, column 4"),
    ];
    for (text, expected) in cases {
        refused(text, &[&format!("service.yaml: can't be read as YAML: {expected}")]);
    }
    assert_eq!(texts(&load_text("a: !secret b").problems, Severity::Error).len(), 1);
}

#[test]
fn a_text_has_a_largest_size() {
    let room = (1 << 20) - manifest(&json!({})).to_string().len();
    let text = |blanks: usize| manifest(&json!({})).to_string() + &" ".repeat(blanks);
    assert_eq!(load_text(&text(room)).services.len(), 1);
    refused(&text(room + 1), &["service.yaml: holds 1048577 bytes: allowed are 1048576, split it into several texts"]);
}

#[test]
fn a_few_lines_can_not_become_gigabytes() {
    let mut lists = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (inner, outer) in "abcdefgh".chars().zip("bcdefghi".chars()) {
        lists += &format!("{outer}: &{outer} [{}]\n", vec![format!("*{inner}"); 10].join(", "));
    }
    let texts_repeated = format!("a: &a {}\nb: [{}]\n", "x".repeat(500_000), vec!["*a"; 5_000].join(", "));
    let deep = format!("a: {}", "[".repeat(100_000));
    let nested: String = (0..100).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    let wide: String = (0..60_000).map(|number| format!("f{number}: 1\n")).collect();
    for bomb in [lists, texts_repeated, deep, nested, wide] {
        let problems = texts(&load_text(&bomb).problems, Severity::Error);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].starts_with("service.yaml: can't be read as YAML: "), "{problems:?}");
    }
}
