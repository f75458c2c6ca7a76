//! Manifests of the test models.

use std::fmt::Write;
use std::path::PathBuf;

use crate::environment::{models, workspace};

/// An InferenceService of a test model.
#[derive(Clone, Debug)]
pub struct Service {
    name: String,
    namespace: Option<String>,
    uri: String,
    predictor: String,
    batcher: String,
    annotations: String,
    canaries: String,
}

impl Service {
    /// Serves the test model in the folder of this name, under the name with `-` for `_`.
    pub fn new(model: &str) -> Service {
        Self::at(&model.replace('_', "-"), testing(model))
    }

    /// Serves `add_1`, `add_2` or `add_3` as `sum`: what an answer is tells which of them gave it.
    pub fn sum(add: usize) -> Service {
        Self::new(&format!("add_{add}")).named("sum")
    }

    pub fn minilm() -> Service {
        Self::at("minilm", models().join("minilm"))
    }

    pub fn digits() -> Service {
        Self::at("digits", workspace().join("models/zoo/digits"))
    }

    pub fn at(name: &str, location: PathBuf) -> Service {
        assert!(location.exists(), "{} is not there: run `make setup`", location.display());
        Self::from(name, location.to_str().expect("the workspace's path is UTF-8"))
    }

    /// Serves what this `storageUri` names.
    pub fn from(name: &str, uri: &str) -> Service {
        let (namespace, predictor, batcher, annotations, canaries) = Default::default();
        let (name, uri) = (name.to_owned(), uri.to_owned());
        Service { name, namespace, uri, predictor, batcher, annotations, canaries }
    }

    /// Runs nothing: its annotations say who answers.
    pub fn passed(name: &str) -> Service {
        Self::from(name, "")
    }

    pub fn named(self, name: &str) -> Service {
        Service { name: name.to_owned(), ..self }
    }

    pub fn in_namespace(self, namespace: &str) -> Service {
        Service { namespace: Some(namespace.to_owned()), ..self }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of its file, less the ending.
    pub fn file(&self) -> String {
        self.namespace.iter().chain([&self.name]).map(String::as_str).collect::<Vec<_>>().join(".")
    }

    /// A field of the predictor.
    pub fn field(mut self, field: &str, value: impl std::fmt::Display) -> Service {
        writeln!(self.predictor, "    {field}: {value}").unwrap();
        self
    }

    fn batcher(mut self, field: &str, value: usize) -> Service {
        writeln!(self.batcher, "      {field}: {value}").unwrap();
        self
    }

    pub fn annotation(mut self, name: &str, value: &str) -> Service {
        writeln!(self.annotations, "    {name}: \"{value}\"").unwrap();
        self
    }

    pub fn replicas(self, replicas: usize) -> Service {
        self.field("minReplicas", replicas)
    }

    pub fn concurrency(self, calls: usize) -> Service {
        self.field("containerConcurrency", calls)
    }

    pub fn timeout(self, seconds: usize) -> Service {
        self.field("timeout", seconds)
    }

    pub fn canary_percent(self, percent: usize) -> Service {
        self.field("canaryTrafficPercent", percent)
    }

    /// One of `spec.canary`: a test model under a name of its own.
    pub fn canary(mut self, variant: &str, model: &str, percent: usize) -> Service {
        let uri = quoted(testing(model).to_str().expect("the workspace's path is UTF-8"));
        writeln!(
            self.canaries,
            "  - trafficPercent: {percent}
    predictor:
      name: {variant}
      model:
        modelFormat:
          name: onnx
        storageUri: {uri}"
        )
        .unwrap();
        self
    }

    pub fn max_batch(self, rows: usize) -> Service {
        self.batcher("maxBatchSize", rows)
    }

    pub fn max_latency_ms(self, millis: usize) -> Service {
        self.batcher("maxLatency", millis)
    }

    pub fn max_queued(self, calls: usize) -> Service {
        self.annotation("weirgate.dev/max-queued-requests", &calls.to_string())
    }

    pub fn sticky(self, key: &str) -> Service {
        self.annotation("weirgate.dev/sticky", key)
    }

    /// Stops the old revision before the next one starts.
    pub fn recreate(self) -> Service {
        self.field("deploymentStrategy", "{type: Recreate}")
    }

    pub fn yaml(&self) -> String {
        let section = |name: &str, text: &str| if text.is_empty() { String::new() } else { format!("{name}:\n{text}") };
        let namespace = self.namespace.as_ref().map(|namespace| format!("  namespace: {namespace}\n"));
        let (namespace, annotations) = (namespace.unwrap_or_default(), section("  annotations", &self.annotations));
        let model = if self.uri.is_empty() {
            String::new()
        } else {
            format!("    model:\n      modelFormat:\n        name: onnx\n      storageUri: {}\n", quoted(&self.uri))
        };
        let predictor = if self.uri.is_empty() && self.predictor.is_empty() && self.batcher.is_empty() {
            "  predictor: {}\n".to_owned()
        } else {
            format!("  predictor:\n{}", self.predictor)
        };
        let (batcher, canaries) = (section("    batcher", &self.batcher), section("  canary", &self.canaries));
        format!(
            "apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: {}
{namespace}{annotations}spec:
{predictor}{batcher}{model}{canaries}",
            self.name
        )
    }
}

fn testing(model: &str) -> PathBuf {
    models().join("testing").join(model)
}

/// A string of YAML. One of JSON is one, whatever it holds.
fn quoted(text: &str) -> serde_json::Value {
    text.into()
}
