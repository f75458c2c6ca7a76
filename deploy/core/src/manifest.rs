//! From the text of a manifest to services and their plans.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use weirgate_protocol::remote_url::HIDDEN;

use crate::defaults;
use crate::documents::documents;
use crate::draw::{draw, draw_revision};
use crate::fields::{PREDICTOR, ROOT};
use crate::implementation;
use crate::inference_service::{InferenceService, Metadata, PredictorSpec};
use crate::kind::{Document, kind, list_items};
use crate::plan::{RevisionPlan, ServicePlan};
use crate::problem::{Problem, Report, Severity};
use crate::secrets;
use crate::shape::{Fields, admit};
use crate::values::subject;

/// A service without errors.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// The origin that was given to [`load`].
    pub origin: String,
    /// Which of the origin's documents it is in, from 1; empty documents don't count.
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
    /// All that is to be said, document by document.
    pub problems: Vec<Problem>,
}

/// Reads a manifest: YAML or JSON, one or several documents, lists of services among them. `origin` names the text in
/// messages; relative paths in it start at `base`, the absolute path of the manifest's own folder.
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
            for (number, document) in (1..).zip(&documents) {
                let place = format!("document {number}");
                match list_items(document) {
                    None => loaded.add(document, number, &place, origin, base),
                    Some(items) => {
                        for (item, document) in (1..).zip(items) {
                            loaded.add(document, number, &format!("{place} item {item}"), origin, base);
                        }
                    }
                }
            }
        }
    }
    loaded
}

/// The plan of a service, and all that is to be said of it. `origin` is shown in messages.
pub fn plan(service: &InferenceService, origin: &str, base: &Path) -> (Option<ServicePlan>, Vec<Problem>) {
    let mut report = Report::new(origin, subject(&service.metadata));
    let read = read(&as_fields(service), base, &mut report);
    (read.and_then(|(_, plan)| plan), report.into_problems())
}

/// Makes a revision's plan again from its predictor in full, as [`RevisionPlan::predictor`] holds it.
pub fn revision(service_name: &str, predictor: &PredictorSpec) -> Result<RevisionPlan, Vec<Problem>> {
    let metadata = Metadata { name: service_name.to_owned(), ..Metadata::default() };
    let mut report = Report::new("stored revision", subject(&metadata));
    // What the table refuses was refused before it was stored, unless an older program stored it.
    let admitted = admit(&as_fields(predictor), &PREDICTOR, &ROOT, "spec.predictor", &mut report);
    let plan = typed(admitted, &mut report)
        .and_then(|predictor| draw_revision(service_name, &predictor, &BTreeMap::new(), "spec.predictor", &mut report));
    let taken = !report.has_errors() && !report.has_unsupported();
    plan.filter(|_| taken).ok_or_else(|| report.into_problems())
}

impl Loaded {
    fn add(&mut self, document: &Value, number: usize, place: &str, origin: &str, base: &Path) {
        let mut report = Report::new(origin, place);
        let read = match kind(document, &mut report) {
            Document::Other => None,
            Document::InferenceService(found) => {
                report = Report::new(origin, named(found).unwrap_or_else(|| place.to_owned()));
                read(found, base, &mut report)
            }
        };
        let taken = !report.has_errors();
        let problems = report.into_problems();
        self.services.extend(read.filter(|_| taken).map(|(service, plan)| {
            let unsupported = problems.iter().filter(|problem| problem.severity == Severity::Unsupported);
            let unsupported = unsupported.cloned().collect();
            Service { origin: origin.to_owned(), document: number, service, plan, unsupported }
        }));
        self.problems.extend(problems);
    }
}

/// The service with its defaults, and its plan. The report says whether that is all of it.
fn read(found: &Fields, base: &Path, report: &mut Report) -> Option<(InferenceService, Option<ServicePlan>)> {
    // What the server writes for itself may hold anything.
    let written = found.iter().filter(|(name, _)| ["metadata", "spec"].contains(&name.as_str()));
    for path in secrets::hidden(&written.map(|(name, value)| (name.clone(), value.clone())).collect()) {
        report.error(&path, format!("holds {HIDDEN} in the place of a secret: write it in full"));
    }
    let mut admitted = admit(found, &ROOT, &ROOT, "", report);
    if let Some(Value::Object(spec)) = admitted.get_mut("spec") {
        implementation::settle(spec, report);
    }
    let mut service = typed(admitted, report)?;
    defaults::fill_in(&mut service, base, report);
    let plan = draw(&service, report);
    Some((service, plan))
}

fn typed<T: serde::de::DeserializeOwned>(admitted: Fields, report: &mut Report) -> Option<T> {
    let typed = serde_json::from_value(Value::Object(admitted));
    typed.map_err(|error| report.error("", format!("can't be read: {error}"))).ok()
}

fn as_fields(object: &impl serde::Serialize) -> Fields {
    match serde_json::to_value(object) {
        Ok(Value::Object(fields)) => fields,
        _ => unreachable!("an object is a mapping with text for keys"),
    }
}

/// The document's own name, as far as it has one.
fn named(document: &Fields) -> Option<String> {
    let metadata = document.get("metadata")?;
    let text = |name| metadata.get(name).and_then(Value::as_str).map(str::to_owned);
    let metadata = Metadata { name: text("name")?, namespace: text("namespace"), ..Metadata::default() };
    Some(subject(&metadata))
}
