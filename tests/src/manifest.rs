//! Manifests of the test models, of commands and of upstreams.

use std::fmt::Write;
use std::path::PathBuf;

use crate::environment::{models, workspace};

/// An InferenceService.
#[derive(Clone, Debug)]
pub struct Service {
    name: String,
    namespace: Option<String>,
    executor: Executor,
    predictor: String,
    batcher: String,
    annotations: String,
    canaries: String,
}

/// Who executes its calls.
#[derive(Clone, Debug)]
enum Executor {
    Model(String),
    /// A language model of this format.
    Language {
        format: &'static str,
        uri: String,
        arguments: Vec<String>,
    },
    /// The fields of `containers[0]`.
    Container(serde_json::Value),
    Elsewhere,
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
        Self::of(name, Executor::Model(uri.to_owned()))
    }

    /// Serves SmolLM2, a small language model.
    pub fn smollm2(name: &str) -> Service {
        let location = models().join("smollm2");
        assert!(location.exists(), "{} is not there: run `make setup`", location.display());
        let location = location.to_str().expect("the workspace's path is UTF-8").to_owned();
        Self::of(name, Executor::Language { format: "gguf", uri: location, arguments: Vec::new() })
    }

    /// Serves the embedder in a folder.
    pub fn embedder(name: &str, folder: PathBuf) -> Service {
        assert!(folder.exists(), "{} is not there: run `make setup`", folder.display());
        let location = folder.to_str().expect("the workspace's path is UTF-8").to_owned();
        Self::of(name, Executor::Language { format: "huggingface", uri: location, arguments: Vec::new() })
    }

    /// A further argument of a language model.
    pub fn argument(mut self, argument: &str) -> Service {
        let Executor::Language { arguments, .. } = &mut self.executor else { panic!("{} has no arguments", self.name) };
        arguments.push(argument.to_owned());
        self
    }

    /// Serves what a command serves, once per replica: the fields of `containers[0]`, less its name.
    pub fn container(name: &str, fields: serde_json::Value) -> Service {
        Self::of(name, Executor::Container(fields))
    }

    /// A further field of the container, in JSON.
    pub fn container_field(mut self, field: &str, json: &str) -> Service {
        let Executor::Container(fields) = &mut self.executor else { panic!("{} has no container", self.name) };
        fields[field] = serde_json::from_str(json).expect("the field is JSON");
        self
    }

    /// A further argument of the container's command.
    pub fn container_argument(mut self, argument: &str) -> Service {
        let Executor::Container(fields) = &mut self.executor else { panic!("{} has no container", self.name) };
        fields["args"].as_array_mut().expect("the container has arguments").push(argument.into());
        self
    }

    /// Passes calls to these servers, each a URL, with commas between.
    pub fn upstream(name: &str, urls: &str) -> Service {
        Self::passed(name).annotation("weirgate.dev/upstream", urls)
    }

    /// Runs nothing: its annotations say who answers.
    pub fn passed(name: &str) -> Service {
        Self::of(name, Executor::Elsewhere)
    }

    fn of(name: &str, executor: Executor) -> Service {
        let (namespace, predictor, batcher, annotations, canaries) = Default::default();
        Service { name: name.to_owned(), namespace, executor, predictor, batcher, annotations, canaries }
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

    /// A field of the predictor; what it had before is forgotten.
    pub fn field(mut self, field: &str, value: impl std::fmt::Display) -> Service {
        let begin = format!("    {field}: ");
        self.predictor = self
            .predictor
            .lines()
            .filter(|line| !line.starts_with(&begin))
            .fold(String::new(), |all, line| all + line + "\n");
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
        let (batcher, canaries) = (section("    batcher", &self.batcher), section("  canary", &self.canaries));
        let executor = match &self.executor {
            Executor::Model(uri) => format!(
                "    model:
      modelFormat:
        name: onnx
      storageUri: {}
",
                quoted(uri)
            ),
            Executor::Language { format, uri, arguments } => format!(
                "    model:
      modelFormat:
        name: {format}
      storageUri: {}
      args: {}
",
                quoted(uri),
                serde_json::json!(arguments)
            ),
            Executor::Container(fields) => {
                let mut fields = fields.clone();
                fields["name"] = "kserve-container".into();
                format!("    containers: [{fields}]\n")
            }
            Executor::Elsewhere => String::new(),
        };
        let predictor = [self.predictor.as_str(), &batcher, &executor].concat();
        let predictor = if predictor.is_empty() { " {}\n".to_owned() } else { format!("\n{predictor}") };
        format!(
            "apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: {}
{namespace}{annotations}spec:
  predictor:{predictor}{canaries}",
            self.name,
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
