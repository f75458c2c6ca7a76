//! `weirgate validate`: what is wrong with manifests, without a server.

use std::path::PathBuf;

use clap::Args;
use weirgate_deploy_core::{Problem, Severity, claimed_twice, load};

use super::{Wrong, files, print};
use crate::admin::wire::{Document, Told};

#[derive(Args, Clone, Debug)]
pub struct Validate {
    /// Manifest, folder of manifests, or - for standard input; may be given several times
    #[arg(short = 'f', long = "file", value_name = "PATH", required = true, num_args = 1..)]
    files: Vec<PathBuf>,
}

impl Validate {
    pub fn run(&self) -> Result<(), Wrong> {
        let documents = files::read(&self.files)?;
        let (services, problems) = check(&documents);
        problems.iter().for_each(|problem| eprintln!("{}", Told::from(problem)));
        print(&summary(services, documents.len(), &problems));
        let clean = problems.iter().all(|problem| problem.severity == Severity::Warning);
        if clean { Ok(()) } else { Err(Wrong::Failed(Vec::new())) }
    }
}

/// How many services are without errors, and every problem of all of them.
fn check(documents: &[Document]) -> (usize, Vec<Problem>) {
    let (mut services, mut problems) = (Vec::new(), Vec::new());
    for Document { text, origin, base } in documents {
        let loaded = load(text, origin, base);
        services.extend(loaded.services);
        problems.extend(loaded.problems);
    }
    problems.extend(claimed_twice(&services));
    (services.len(), problems)
}

fn summary(services: usize, files: usize, problems: &[Problem]) -> String {
    let of = |severity| problems.iter().filter(|problem| problem.severity == severity).count();
    format!(
        "{}, {}: {}, {} unsupported, {}\n",
        count(files, "file"),
        count(services, "inferenceservice"),
        count(of(Severity::Error), "error"),
        of(Severity::Unsupported),
        count(of(Severity::Warning), "warning")
    )
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// The problems as lines, where one of them is an error.
pub fn refused_lines(problems: &[Problem]) -> Option<Vec<String>> {
    let wrong = problems.iter().any(|problem| problem.severity == Severity::Error);
    wrong.then(|| problems.iter().map(|problem| Told::from(problem).to_string()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(origin: &str, text: &str) -> Document {
        Document { text: text.to_owned(), origin: origin.to_owned(), base: "/models".into() }
    }

    const GOOD: &str = "\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: digits}
spec: {predictor: {model: {modelFormat: {name: onnx}, storageUri: digits}}}
";

    #[test]
    fn a_name_in_two_files_is_claimed_twice() {
        let (services, problems) = check(&[document("a.yaml", GOOD)]);
        assert_eq!(
            summary(services, 1, &problems),
            "1 file, 1 inferenceservice: 0 errors, 0 unsupported, 0 warnings\n"
        );
        let (services, problems) = check(&[document("a.yaml", GOOD), document("b.yaml", GOOD)]);
        assert_eq!(services, 2);
        let lines = refused_lines(&problems).unwrap();
        assert!(lines[0].starts_with("error: ") && lines[0].contains("a.yaml") && lines[0].contains("b.yaml"));
    }

    #[test]
    fn what_is_unsupported_is_no_error_and_not_clean() {
        let (services, problems) = check(&[document("a.yaml", &GOOD.replace("name: onnx", "name: sklearn"))]);
        assert_eq!(refused_lines(&problems), None);
        let summary = summary(services, 1, &problems);
        assert!(summary.starts_with("1 file, 1 inferenceservice: 0 errors, 1 unsupported"), "{summary}");
    }

    #[test]
    fn errors_of_all_files_are_told() {
        let wrong = GOOD.replace("storageUri: digits", "storageUri: 5");
        let (_, problems) = check(&[document("a.yaml", "["), document("b.yaml", &wrong)]);
        let lines = refused_lines(&problems).unwrap();
        for origin in ["a.yaml", "b.yaml"] {
            assert!(lines.iter().any(|line| line.contains(origin)), "{lines:?}");
        }
    }
}
