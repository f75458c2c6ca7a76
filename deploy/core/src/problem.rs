//! What is wrong with a manifest, where, and what to do about it.

use std::collections::HashMap;
use std::fmt;

use serde_json::Value;

/// How much of a user's value a message repeats.
const LONGEST_SHOWN: usize = 80;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The service answers as written, though not all that was written has an effect.
    Warning,
    /// The service is known, but can't run here: without the named field it would answer differently.
    Unsupported,
    /// The manifest is wrong, and is not taken.
    Error,
}

/// One complaint. Its text is lower case, without a full stop, and ends with what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where the text came from, as the caller named it: mostly a file.
    pub origin: String,
    /// `inferenceservice default/digits`, or `document 2` while nothing has a name. Empty for the text as a whole.
    pub subject: String,
    /// The field, from the root: `spec.predictor.minReplicas`. Empty for the document as a whole.
    pub path: String,
    /// What is said of that field; reads on from the path.
    pub message: String,
    pub severity: Severity,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.subject.is_empty() {
            write!(f, "{}: ", self.subject)?;
        }
        if !self.path.is_empty() {
            write!(f, "{} ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// Collects the problems of one document. Of each field only the worst is said, and nothing lesser of what it holds: a
/// refused `model` is not also a missing `model.storageUri`.
#[derive(Debug)]
pub(crate) struct Report {
    origin: String,
    subject: String,
    problems: Vec<Problem>,
    /// How bad what is known of a path is; no more than that is said of it.
    settled: HashMap<String, Severity>,
}

impl Report {
    pub fn new(origin: &str, subject: impl Into<String>) -> Self {
        Report { origin: origin.to_owned(), subject: subject.into(), problems: Vec::new(), settled: HashMap::new() }
    }

    pub fn error(&mut self, path: &str, message: impl Into<String>) {
        self.push(path, message.into(), Severity::Error);
    }

    pub fn unsupported(&mut self, path: &str, message: impl Into<String>) {
        self.push(path, message.into(), Severity::Unsupported);
    }

    pub fn warn(&mut self, path: &str, message: impl Into<String>) {
        self.push(path, message.into(), Severity::Warning);
    }

    /// Makes later errors about `path` silent.
    pub fn settle(&mut self, path: &str) {
        self.settled.insert(path.to_owned(), Severity::Error);
    }

    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Error)
    }

    pub fn has_unsupported(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Unsupported)
    }

    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Takes over a problem that was found elsewhere.
    pub fn adopt(&mut self, problem: &Problem) {
        self.push(&problem.path, problem.message.clone(), problem.severity);
    }

    /// The problems in the order of their paths.
    pub fn into_problems(mut self) -> Vec<Problem> {
        self.problems.sort_by(|a, b| a.path.cmp(&b.path));
        self.problems
    }

    fn push(&mut self, path: &str, message: String, severity: Severity) {
        let known = with_surroundings(path).filter_map(|path| self.settled.get(path)).max();
        if known.is_some_and(|known| *known >= severity) {
            return;
        }
        if self.settled.insert(path.to_owned(), severity).is_some() {
            self.problems.retain(|problem| problem.path != path);
        }
        let (origin, subject) = (self.origin.clone(), self.subject.clone());
        self.problems.push(Problem { origin, subject, path: path.to_owned(), message, severity });
    }
}

/// A path and those of all that it lies in, up to the document as a whole.
fn with_surroundings(path: &str) -> impl Iterator<Item = &str> {
    let ends = path.match_indices(['.', '[']).map(|(end, _)| end);
    ends.chain([0, path.len()]).map(|end| &path[..end])
}

/// The path of a field within `parent`. Names that are no plain words, such as those of annotations, get brackets.
pub(crate) fn join(parent: &str, name: &str) -> String {
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    match (plain && name.len() <= LONGEST_SHOWN, parent.is_empty()) {
        (true, true) => name.to_owned(),
        (true, false) => format!("{parent}.{name}"),
        (false, _) => format!("{parent}[{}]", quoted(name)),
    }
}

/// A user's text as messages show it: in quotes, without control characters, and not without end.
pub(crate) fn quoted(text: &str) -> String {
    let mut shown = String::from("'");
    for (count, c) in text.chars().enumerate() {
        if count == LONGEST_SHOWN {
            shown.push('…');
            break;
        }
        match c {
            '\'' => shown.push('\''),
            c => shown.extend(c.escape_debug()),
        }
    }
    shown.push('\'');
    shown
}

/// A user's value as messages show it.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_error_for_a_field_and_what_it_holds() {
        let mut report = Report::new("a.yaml", "document 1");
        report.error("spec.model", "is text");
        report.error("spec.model.storageUri", "is missing");
        report.error("spec.model['a.b']", "is missing");
        report.error("spec.modelFormat", "is missing");
        let paths: Vec<_> = report.into_problems().into_iter().map(|problem| problem.path).collect();
        assert_eq!(paths, ["spec.model", "spec.modelFormat"]);
    }

    #[test]
    fn of_one_field_the_worst_is_said() {
        let mut report = Report::new("a.yaml", "document 1");
        report.warn("spec.logger", "has no effect");
        report.warn("spec.logger.url", "has no effect");
        report.error("spec.logger.mode", "is 5");
        report.unsupported("spec.storage", "is not supported");
        report.warn("spec.storage.key", "has no effect");
        report.error("spec.storage", "is text");
        let problems = report.into_problems().into_iter();
        let said: Vec<_> = problems.map(|problem| (problem.path, problem.severity)).collect();
        let expected = [
            ("spec.logger", Severity::Warning),
            ("spec.logger.mode", Severity::Error),
            ("spec.storage", Severity::Error),
        ];
        assert_eq!(said, expected.map(|(path, severity)| (path.to_owned(), severity)));
    }

    #[test]
    fn names_from_users_are_shown_safely() {
        assert_eq!(join("metadata.annotations", "a.b/c"), "metadata.annotations['a.b/c']");
        assert_eq!(join("", "a\u{1b}[31m"), r"['a\u{1b}[31m']");
        assert_eq!(quoted(&"x".repeat(200)).chars().count(), LONGEST_SHOWN + 3);
    }
}
