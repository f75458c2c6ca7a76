//! The one service that a replica runs.

use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;

use weirgate_deploy::control::Named;
use weirgate_deploy::engines::engine_set;
use weirgate_deploy_core::{Executor, Location, ModelPlan, ServicePlan, Severity, load};
use weirgate_replicas::{Feed, ReplicaSet, Source};

/// YAML's mark of a document's end, which ends a manifest where more is to come by the same way.
const DOCUMENT_END: &str = "...";

/// For those who start it by hand.
const WHAT_IT_DOES: &str = "weirgate replica runs the model of one service, for a gateway that passes calls to it; weirgate \
                            serve -f runs all that a manifest can ask for";

/// A manifest of one service whose model engines of ours run.
pub struct Manifest {
    pub plan: ServicePlan,
    source: Source,
}

impl Manifest {
    /// Reads a file, or standard input where that is `-`. `marked`: it ends by a line of three dots there, and not before
    /// what follows it. An error says all that is wrong, a line each.
    pub fn read(file: &Path, marked: bool) -> Result<Manifest, Vec<String>> {
        let unreadable = |error: std::io::Error| vec![format!("{}: can't be read: {error} (-f)", file.display())];
        let base = std::env::current_dir().map_err(unreadable)?;
        if file == Path::new("-") {
            let text = read_document(std::io::stdin().lock(), marked).map_err(unreadable)?;
            return Manifest::parse(&text, "standard input", &base);
        }
        let text = std::fs::read_to_string(file).map_err(unreadable)?;
        let folder = base.join(file).parent().map(Path::to_path_buf).unwrap_or(base);
        Manifest::parse(&text, &file.display().to_string(), &folder)
    }

    fn parse(text: &str, origin: &str, base: &Path) -> Result<Manifest, Vec<String>> {
        let loaded = load(text, origin, base);
        let wrong = loaded.problems.iter().filter(|problem| problem.severity != Severity::Warning);
        let wrong: Vec<_> = wrong.map(ToString::to_string).collect();
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let services = loaded.services.len();
        let mut plans = loaded.services.into_iter().filter_map(|service| service.plan);
        let (Some(plan), None) = (plans.next(), plans.next()) else {
            return Err(vec![format!("{origin}: holds {services} InferenceServices: {WHAT_IT_DOES}")]);
        };
        let source = source(&plan).map_err(|error| vec![format!("{origin}: {error}")])?;
        Ok(Manifest { plan, source })
    }

    /// The engine that runs the model, in a set of one.
    pub fn replicas(self, feed: Arc<dyn Feed>) -> Result<ReplicaSet, String> {
        let ServicePlan { namespace, name, predictor, .. } = &self.plan;
        let service = Named { namespace: namespace.clone(), name: name.clone() };
        Ok(engine_set(&service, predictor, model(&self.plan)?, self.source, feed))
    }
}

/// Reads to the end, or as far as the mark.
fn read_document(mut input: impl BufRead, marked: bool) -> std::io::Result<String> {
    let mut text = String::new();
    loop {
        let start = text.len();
        if input.read_line(&mut text)? == 0 {
            return Ok(text);
        }
        if marked && text[start..].trim_end() == DOCUMENT_END {
            text.truncate(start);
            return Ok(text);
        }
    }
}

fn model(plan: &ServicePlan) -> Result<&ModelPlan, String> {
    match &plan.predictor.executor {
        Executor::Model { model, .. } => Ok(model),
        Executor::Command(_) => Err(format!("spec.predictor.containers is not run here: {WHAT_IT_DOES}")),
        Executor::Upstream(_) => Err(format!("weirgate.dev/upstream is not passed on to here: {WHAT_IT_DOES}")),
    }
}

fn source(plan: &ServicePlan) -> Result<Source, String> {
    let Location::Path(path) = &model(plan)?.location else {
        return Err(
            "spec.predictor.model.storageUri is a URL, which a gateway fetches before it starts a replica: write a path"
                .to_owned(),
        );
    };
    // The gateway has seen to it that the model may be read from there.
    Ok(Source::Local { location: path.clone(), roots: Arc::from([]) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(model: &str) -> String {
        format!(
            "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {{name: a}}\nspec:\n  predictor:\n    \
             {model}\n"
        )
    }

    fn refusal(text: &str) -> String {
        Manifest::parse(text, "test", Path::new("/")).err().unwrap_or_default().join("\n")
    }

    #[test]
    fn one_service_with_a_local_model_is_what_a_replica_runs() {
        let onnx = manifest("model: {modelFormat: {name: onnx}, storageUri: /models/a}");
        let Ok(Manifest { plan, .. }) = Manifest::parse(&onnx, "test", Path::new("/")) else { panic!() };
        assert_eq!((plan.name.as_str(), plan.predictor.replicas.get()), ("a", 1));
        assert!(
            refusal(&format!("{onnx}---\n{}", onnx.replace("name: a", "name: b")))
                .contains("holds 2 InferenceServices: weirgate replica runs")
        );
        let url = manifest("model: {modelFormat: {name: onnx}, storageUri: 'https://example.com/a.onnx'}");
        assert!(refusal(&url).contains("storageUri is a URL"));
        let command = manifest("containers: [{name: a, command: [serve]}]");
        assert!(
            refusal(&command).contains("spec.predictor.containers is not run here: weirgate replica runs the model")
        );
        let upstream = manifest("annotations: {weirgate.dev/upstream: 'http://a:1'}");
        assert!(refusal(&upstream).contains("weirgate.dev/upstream is not passed on to here"));
        assert!(refusal("").contains("is empty"));
    }

    #[test]
    fn a_mark_ends_the_manifest_and_leaves_the_rest() {
        let mut input = &b"a: 1\n...\nrest"[..];
        assert_eq!(read_document(&mut input, true).unwrap(), "a: 1\n");
        assert_eq!(input, b"rest");
        assert_eq!(read_document(&b"a: 1\n...\nb: 2"[..], false).unwrap(), "a: 1\n...\nb: 2");
        assert_eq!(read_document(&b"a: 1"[..], true).unwrap(), "a: 1");
    }
}
