//! Manifests of the test models.

use std::fmt::Write;
use std::path::PathBuf;

use crate::environment::{models, workspace};

/// An InferenceService of a test model.
#[derive(Clone, Debug)]
pub struct Service {
    name: String,
    location: PathBuf,
    predictor: String,
    batcher: String,
    annotations: String,
}

impl Service {
    /// Serves the test model in the folder of this name, under the name with `-` for `_`.
    pub fn new(model: &str) -> Service {
        Self::at(&model.replace('_', "-"), models().join("testing").join(model))
    }

    pub fn minilm() -> Service {
        Self::at("minilm", models().join("minilm"))
    }

    pub fn digits() -> Service {
        Self::at("digits", workspace().join("models/zoo/digits"))
    }

    pub fn at(name: &str, location: PathBuf) -> Service {
        assert!(location.exists(), "{} is not there: run `make setup`", location.display());
        let (predictor, batcher, annotations) = Default::default();
        Service { name: name.to_owned(), location, predictor, batcher, annotations }
    }

    pub fn named(self, name: &str) -> Service {
        Service { name: name.to_owned(), ..self }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    fn predictor(mut self, field: &str, value: usize) -> Service {
        writeln!(self.predictor, "    {field}: {value}").unwrap();
        self
    }

    fn batcher(mut self, field: &str, value: usize) -> Service {
        writeln!(self.batcher, "      {field}: {value}").unwrap();
        self
    }

    pub fn replicas(self, replicas: usize) -> Service {
        self.predictor("minReplicas", replicas)
    }

    pub fn concurrency(self, calls: usize) -> Service {
        self.predictor("containerConcurrency", calls)
    }

    pub fn timeout(self, seconds: usize) -> Service {
        self.predictor("timeout", seconds)
    }

    pub fn max_batch(self, rows: usize) -> Service {
        self.batcher("maxBatchSize", rows)
    }

    pub fn max_latency_ms(self, millis: usize) -> Service {
        self.batcher("maxLatency", millis)
    }

    pub fn max_queued(mut self, calls: usize) -> Service {
        writeln!(self.annotations, "    weirgate.dev/max-queued-requests: \"{calls}\"").unwrap();
        self
    }

    pub fn yaml(&self) -> String {
        let section = |name: &str, text: &str| if text.is_empty() { String::new() } else { format!("{name}:\n{text}") };
        let annotations = section("  annotations", &self.annotations);
        let batcher = section("    batcher", &self.batcher);
        // A JSON string is a YAML string, whatever the path holds.
        let uri = serde_json::Value::from(self.location.to_str().expect("the workspace's path is UTF-8"));
        format!(
            "apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: {}
{annotations}spec:
  predictor:
{}{batcher}    model:
      modelFormat:
        name: onnx
      storageUri: {uri}
",
            self.name, self.predictor
        )
    }
}

/// One document for each service.
pub fn documents(services: &[Service]) -> String {
    services.iter().map(Service::yaml).collect::<Vec<_>>().join("---\n")
}
