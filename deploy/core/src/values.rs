//! Names and numbers: what is allowed, and what to say of what is not.

use std::num::NonZeroUsize;

use crate::inference_service::Metadata;
use crate::problem::{Report, quoted};

/// The largest whole number of a manifest, as in KServe.
const LARGEST: i64 = i32::MAX as i64;
const LONGEST_NAME: usize = 63;

/// How problems name a service.
pub(crate) fn subject(metadata: &Metadata) -> String {
    let name = |text: &str, valid: bool| if valid { text.to_owned() } else { quoted(text) };
    let (namespace, service) = (metadata.namespace(), metadata.name.as_str());
    let namespace = name(namespace, is_namespace(namespace));
    format!("inferenceservice {namespace}/{}", name(service, is_name(service)))
}

pub(crate) fn check_metadata(metadata: &Metadata, report: &mut Report) {
    if metadata.name.is_empty() {
        report.error("metadata.name", "is missing: write the name of the service");
    } else {
        check_name("metadata.name", &metadata.name, report);
    }
    let namespace = metadata.namespace();
    if !is_namespace(namespace) {
        report.error(
            "metadata.namespace",
            format!("is {}: allowed are at most 63 of a-z, 0-9 and '-', not '-' at either end", quoted(namespace)),
        );
    }
}

/// Of a service, or of one of its versions.
pub(crate) fn check_name(path: &str, name: &str, report: &mut Report) {
    if !is_name(name) {
        let allowed = "allowed are at most 63 of a-z, 0-9 and '-', from a letter to a letter or digit";
        report.error(path, format!("is {}: {allowed}", quoted(name)));
    }
}

fn is_name(name: &str) -> bool {
    is_namespace(name) && name.starts_with(|c: char| c.is_ascii_lowercase())
}

fn is_namespace(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// Reports a number below `least`, or above what any field takes.
pub(crate) fn check_whole(path: &str, found: Option<i64>, least: i64, report: &mut Report) {
    check_within(path, found, least, LARGEST, report);
}

pub(crate) fn check_percent(path: &str, found: Option<i64>, report: &mut Report) {
    check_within(path, found, 0, 100, report);
}

pub(crate) fn check_within(path: &str, found: Option<i64>, least: i64, most: i64, report: &mut Report) {
    if let Some(found) = found.filter(|found| !(least..=most).contains(found)) {
        report.error(path, format!("is {found}: allowed is a whole number from {least} to {most}"));
    }
}

/// The number, unless it is absent or below 1, which mean "not set".
pub(crate) fn count(found: Option<i64>) -> Option<NonZeroUsize> {
    found.and_then(|found| usize::try_from(found).ok()).and_then(NonZeroUsize::new)
}
