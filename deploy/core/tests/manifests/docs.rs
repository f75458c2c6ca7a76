//! The tables in docs/manifests.md are made from the code, and must be up to date.

use std::path::Path;

use weirgate_deploy_core::{annotation_table, field_table};

const PAGE: &str = include_str!("../../../../docs/manifests.md");
const START: &str = "<!-- made from the code -->\n";
const END: &str = "<!-- end -->\n";

#[test]
fn fields_and_annotations() {
    let mut wanted = String::new();
    let mut parts = PAGE.split(START);
    wanted += parts.next().unwrap();
    for table in [field_table(), annotation_table()] {
        let (_, after) = parts.next().unwrap().split_once(END).unwrap();
        wanted += &[START, &table, END, after].concat();
    }
    assert_eq!(parts.next(), None);
    if std::env::var_os("WEIRGATE_UPDATE_DOCS").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/manifests.md");
        std::fs::write(path, wanted).unwrap();
    } else {
        assert!(PAGE == wanted, "docs/manifests.md is behind the code: run this test with WEIRGATE_UPDATE_DOCS=1");
    }
}
