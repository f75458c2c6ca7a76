//! What the control API and its client say to each other.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use weirgate_deploy::control::{Applied, Named, Rollout, ServiceView};
use weirgate_deploy_core::{Problem, Severity};

pub const API: &str = "/apis/serving.kserve.io/v1beta1";

pub fn apply_path() -> String {
    format!("{API}/apply")
}

/// The services of one namespace, or of all.
pub fn list_path(namespace: Option<&str>) -> String {
    match namespace {
        Some(namespace) => format!("{API}/namespaces/{namespace}/inferenceservices"),
        None => format!("{API}/inferenceservices"),
    }
}

pub fn service_path(named: &Named) -> String {
    format!("{}/{}", list_path(Some(&named.namespace)), named.name)
}

pub fn rollout_path(named: &Named) -> String {
    format!("{}/rollout", service_path(named))
}

/// Manifests to apply, all or none of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplyRequest {
    pub documents: Vec<Document>,
}

/// One text with manifests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    pub text: String,
    /// Names the text in messages.
    pub origin: String,
    /// Where relative paths in it start: an absolute path on the server's machine.
    pub base: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplyAnswer {
    pub applied: Vec<Applied>,
    /// None of them forbids anything.
    pub problems: Vec<Told>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutRequest {
    #[serde(flatten)]
    pub rollout: Rollout,
    /// Change the file that owns the service.
    #[serde(default)]
    pub write_back: bool,
}

/// Services as `?view=full` shows them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Views<V = ServiceView> {
    pub items: Vec<V>,
}

/// Any answer that is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub error: String,
    /// One by one, where manifests are the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Told>,
}

/// A problem of a manifest, as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    pub severity: Grade,
    pub text: String,
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    Warning,
    Unsupported,
    Error,
}

impl Grade {
    pub fn label(self) -> &'static str {
        match self {
            Grade::Warning => "warning",
            Grade::Unsupported => "unsupported",
            Grade::Error => "error",
        }
    }
}

impl From<Severity> for Grade {
    fn from(severity: Severity) -> Grade {
        match severity {
            Severity::Warning => Grade::Warning,
            Severity::Unsupported => Grade::Unsupported,
            Severity::Error => Grade::Error,
        }
    }
}

impl From<&Problem> for Told {
    fn from(problem: &Problem) -> Told {
        Told { severity: problem.severity.into(), text: problem.to_string() }
    }
}

impl Told {
    /// What was taken, and does not run here.
    pub fn of_refused(applied: &Applied) -> Option<Told> {
        let Applied { named, refused, .. } = applied;
        let text = format!("inferenceservice {named}: {}", refused.as_ref()?);
        Some(Told { severity: Grade::Unsupported, text })
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.severity.label(), self.text)
    }
}
