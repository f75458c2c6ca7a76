//! From the text of a manifest to services and their plans.

use std::path::Path;

use serde_json::Value;

use crate::documents::documents;
use crate::inference_service::InferenceService;
use crate::plan::{ServicePlan, draw, subject};
use crate::problem::{Problem, Report, Severity, shown};
use crate::shape::{admit_document, is_foreign};

/// A service without errors.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// The origin that was given to [`load`].
    pub origin: String,
    /// Which of the origin's documents it is, from 1; empty documents don't count.
    pub document: usize,
    /// Defaults filled in and paths made absolute: reading it again, from anywhere, gives the same.
    pub service: InferenceService,
    /// What shall run; none where the manifest asks for something unsupported.
    pub plan: Option<ServicePlan>,
    /// Why there is no plan. These are also among [`Loaded::problems`].
    pub unsupported: Vec<Problem>,
}

/// What a text holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loaded {
    /// The services without errors.
    pub services: Vec<Service>,
    /// All errors and warnings, document by document.
    pub problems: Vec<Problem>,
}

/// Reads a manifest: YAML or JSON, one or several documents. `origin` names the text in messages; relative paths in
/// it start at `base`, the manifest's own folder.
pub fn load(text: &str, origin: &str, base: &Path) -> Loaded {
    let mut loaded = Loaded::default();
    let mut refuse = |message: String| {
        let mut report = Report::new(origin, "");
        report.error("", message);
        loaded.problems.append(&mut report.into_problems());
    };
    match documents(text) {
        Err(message) => refuse(message),
        Ok(documents) if documents.is_empty() => refuse("is empty: write an InferenceService".to_owned()),
        Ok(documents) => {
            for (number, document) in (1..).zip(documents) {
                let (service, problems) = load_document(&document, number, origin, base);
                loaded.services.extend(service);
                loaded.problems.extend(problems);
            }
        }
    }
    loaded
}

fn load_document(document: &Value, number: usize, origin: &str, base: &Path) -> (Option<Service>, Vec<Problem>) {
    let mut report = Report::new(origin, named(document).unwrap_or_else(|| format!("document {number}")));
    let service = read(document, &mut report);
    let plan = service.as_ref().and_then(|service| draw(service, base, &mut report));
    let taken = !report.has_errors();
    let problems = report.into_problems();
    let service = service.filter(|_| taken).map(|service| {
        let unsupported =
            problems.iter().filter(|problem| problem.severity == Severity::Unsupported).cloned().collect();
        Service { origin: origin.to_owned(), document: number, service, plan, unsupported }
    });
    (service, problems)
}

/// What of the document can be acted on. The report says whether that is all of it.
fn read(document: &Value, report: &mut Report) -> Option<InferenceService> {
    let Value::Object(found) = document else {
        report.error("", format!("is {}: write an InferenceService", shown(document)));
        return None;
    };
    if is_foreign(found, report) {
        return None;
    }
    let admitted = Value::Object(admit_document(found, report));
    serde_json::from_value(admitted).map_err(|error| report.error("", format!("can't be read: {error}"))).ok()
}

/// The document's own name, as far as it has one.
fn named(document: &Value) -> Option<String> {
    let metadata = document.get("metadata")?;
    let text = |name| metadata.get(name).and_then(Value::as_str).map(str::to_owned);
    let metadata = crate::Metadata { name: text("name")?, namespace: text("namespace"), ..crate::Metadata::default() };
    Some(subject(&metadata))
}
