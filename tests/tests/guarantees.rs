//! docs/guarantees.md, held against the tests.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::Path;

use weirgate_tests::environment::workspace;

/// What is written in backticks in the last column.
fn named() -> BTreeSet<String> {
    let text = std::fs::read_to_string(workspace().join("docs/guarantees.md")).unwrap();
    let cells = text.lines().filter_map(|line| line.strip_suffix(" |")?.rsplit_once("| "));
    let names = cells.flat_map(|(_, cell)| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>());
    names.collect()
}

/// The tests in the files of a folder.
fn tests(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tests(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let marked = text.split("#[test]").skip(1).chain(text.split("#[tokio::test").skip(1));
            found.extend(marked.filter_map(|after| Some(after.split_once("fn ")?.1.split_once('(')?.0.to_owned())));
        }
    }
    found
}

#[test]
fn every_promise_names_tests_that_exist() {
    let tests = tests(&workspace().join("tests/tests"));
    let missing: Vec<_> = named().into_iter().filter(|name| !tests.contains(name)).collect();
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
}

#[test]
fn every_test_of_the_chaos_suite_is_a_promise() {
    let mut tests = tests(&workspace().join("tests/tests/chaos"));
    // The instruments' own.
    tests.remove("what_a_server_does_is_what_the_ledger_shows");
    tests.remove("a_server_refuses_connections_and_listens_again");
    assert!(tests.len() > 20, "only {} tests were found", tests.len());
    let missing: Vec<_> = tests.difference(&named()).cloned().collect();
    assert!(missing.is_empty(), "docs/guarantees.md does not name {missing:#?}");
}
