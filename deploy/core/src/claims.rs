//! Several services, one name.

use std::collections::HashMap;

use crate::manifest::Service;
use crate::problem::{Problem, Report};
use crate::values::subject;

/// A problem for each service whose namespace and name an earlier one has claimed; it names both.
pub fn claimed_twice<'a>(services: impl IntoIterator<Item = &'a Service>) -> Vec<Problem> {
    let mut claims: HashMap<(&str, &str), &Service> = HashMap::new();
    let mut problems = Vec::new();
    for service in services {
        let metadata = &service.service.metadata;
        let first = *claims.entry((metadata.namespace(), &metadata.name)).or_insert(service);
        if !std::ptr::eq(first, service) {
            let mut report = Report::new(&service.origin, subject(&service.service.metadata));
            report.error(
                "metadata.name",
                format!(
                    "is claimed twice, by document {} of {} and document {} of {}: rename or remove one of them",
                    first.document, first.origin, service.document, service.origin
                ),
            );
            problems.extend(report.into_problems());
        }
    }
    problems
}
