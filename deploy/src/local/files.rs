//! Which service is which file's: files may hold several services, and only one file has the word on each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use weirgate_deploy_core::{Problem, Service, Severity, claimed_twice, load};

use super::watch::{Content, Text};
use crate::control::Named;

/// The services of every watched file.
#[derive(Debug, Default)]
pub struct Files {
    files: BTreeMap<PathBuf, Vec<Service>>,
    /// Who has the word now; stays as long as it claims the service.
    owners: BTreeMap<Named, PathBuf>,
    /// Names that several files claim.
    claims: Vec<Problem>,
}

impl Files {
    /// Reads the first texts. Every problem of every file is returned, and those of services claimed twice.
    pub fn read(texts: Vec<Text>) -> (Files, Vec<Problem>) {
        let mut files = Files::default();
        let mut problems = Vec::new();
        for text in texts {
            problems.extend(files.take(text));
        }
        problems.extend(files.find_claims());
        files.choose();
        (files, problems)
    }

    /// Names that several files claim, and that have not been told of.
    fn find_claims(&mut self) -> Vec<Problem> {
        let claims = claimed_twice(self.files.values().flatten());
        let told = std::mem::replace(&mut self.claims, claims.clone());
        claims.into_iter().filter(|claim| !told.contains(claim)).collect()
    }

    /// Takes what changed in one look, and returns what is wrong with it.
    pub(super) fn update(&mut self, texts: Vec<Text>) -> Vec<Problem> {
        let mut problems: Vec<_> = texts.into_iter().flat_map(|text| self.take(text)).collect();
        problems.extend(self.find_claims());
        self.choose();
        problems
    }

    /// A file with errors takes nothing away: what it held before and does not hold now stays.
    fn take(&mut self, text: Text) -> Vec<Problem> {
        let Text { path, content } = text;
        let origin = path.display().to_string();
        match content {
            Content::Gone => {
                self.files.remove(&path);
                Vec::new()
            }
            Content::Unreadable(error) => {
                let message = format!("{error}: what it held before stays");
                let (subject, at) = (String::new(), String::new());
                vec![Problem { origin, subject, path: at, message, severity: Severity::Error }]
            }
            Content::Text(text) => {
                let mut loaded = load(&text, &origin, &folder_of(&path));
                let services = self.files.entry(path).or_default();
                if loaded.problems.iter().any(|problem| problem.severity == Severity::Error) {
                    let held: BTreeSet<_> = loaded.services.iter().map(named).collect();
                    loaded.services.extend(services.drain(..).filter(|service| !held.contains(&named(service))));
                }
                *services = loaded.services;
                loaded.problems
            }
        }
    }

    fn choose(&mut self) {
        let mut owners: BTreeMap<Named, PathBuf> = BTreeMap::new();
        for (path, services) in &self.files {
            for service in services {
                let named = named(service);
                let incumbent = self.owners.get(&named) == Some(path);
                if incumbent || !owners.contains_key(&named) {
                    owners.insert(named, path.clone());
                }
            }
        }
        self.owners = owners;
    }

    /// The services and their manifests.
    pub fn services(&self) -> impl Iterator<Item = (Named, &Service)> {
        self.owners.iter().filter_map(|(owner, path)| {
            let service = self.files.get(path)?.iter().find(|service| named(service) == *owner)?;
            Some((owner.clone(), service))
        })
    }
}

/// Where relative paths in a manifest start.
pub(super) fn folder_of(manifest: &Path) -> PathBuf {
    std::path::absolute(manifest.parent().unwrap_or(Path::new("."))).unwrap_or_default()
}

pub(super) fn named(service: &Service) -> Named {
    let metadata = &service.service.metadata;
    Named { namespace: metadata.namespace().to_owned(), name: metadata.name.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, seconds: u64) -> String {
        format!(
            "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {{name: {name}}}\nspec:\n  \
             predictor:\n    timeout: {seconds}\n    model: {{modelFormat: {{name: onnx}}, storageUri: /m}}\n"
        )
    }

    fn text(path: &str, text: &str) -> Text {
        Text { path: path.into(), content: Content::Text(text.to_owned()) }
    }

    /// `name:timeout@file`
    fn held(files: &Files) -> Vec<String> {
        let shown = |(named, service): (Named, &Service)| {
            let timeout = service.service.spec.predictor.component.timeout.unwrap_or_default();
            format!("{}:{timeout}@{}", named.name, service.origin)
        };
        files.services().map(shown).collect()
    }

    #[test]
    fn the_first_claim_holds_until_it_is_given_up() {
        let (mut files, problems) = Files::read(vec![text("b.yaml", &service("x", 1))]);
        assert!(problems.is_empty());
        let problems = files.update(vec![text("a.yaml", &format!("{}---\n{}", service("x", 2), service("y", 2)))]);
        let claims = |problems: &[Problem]| problems.iter().filter(|one| one.message.contains("claimed twice")).count();
        assert_eq!(claims(&problems), 1, "{problems:?}");
        assert_eq!(claims(&files.update(vec![text("c.yaml", &service("z", 1))])), 0, "it is told once");
        assert_eq!(held(&files), ["x:1@b.yaml", "y:2@a.yaml", "z:1@c.yaml"]);
        files.update(vec![Text { path: "b.yaml".into(), content: Content::Gone }]);
        assert_eq!(held(&files), ["x:2@a.yaml", "y:2@a.yaml", "z:1@c.yaml"]);
    }

    #[test]
    fn a_file_with_errors_takes_nothing_away() {
        let (mut files, _) = Files::read(vec![text("a.yaml", &format!("{}---\n{}", service("x", 1), service("y", 1)))]);
        files.update(vec![text("a.yaml", "{")]);
        assert_eq!(held(&files), ["x:1@a.yaml", "y:1@a.yaml"]);
        files.update(vec![text("a.yaml", &format!("{}---\n{}", service("x", 0), service("y", 2)))]);
        assert_eq!(held(&files), ["x:1@a.yaml", "y:2@a.yaml"], "what is right in it is taken");
        files.update(vec![text("a.yaml", &service("y", 2))]);
        assert_eq!(held(&files), ["y:2@a.yaml"]);
    }
}
