//! Triton's `config.pbtxt`. Which versions are served is read of it, and nothing else is acted on: what would change
//! answers is refused, and the rest is told.

use std::path::Path;

use crate::model::LoadError;
use crate::text_format::{self, Field, Value};
use crate::version_policy::VersionPolicy;

/// The most bytes of a `config.pbtxt` that are read.
const LARGEST: u64 = 1 << 20;
/// What Triton knows besides. A field that is not here is misspelt, or newer.
const KNOWN: [&str; 19] = [
    "runtime",
    "max_batch_size",
    "input",
    "output",
    "batch_input",
    "batch_output",
    "optimization",
    "dynamic_batching",
    "instance_group",
    "default_model_filename",
    "cc_model_filenames",
    "metric_tags",
    "parameters",
    "model_warmup",
    "model_operations",
    "model_transaction_policy",
    "model_repository_agents",
    "response_cache",
    "model_metrics",
];

/// What a `config.pbtxt` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelConfig {
    pub version_policy: VersionPolicy,
    /// Fields that have no effect here, each once.
    pub ignored: Vec<String>,
    /// Fields that Triton does not know either.
    pub unknown: Vec<String>,
    /// `max_batch_size: 0`: calls should not be joined.
    pub never_batches: bool,
}

impl ModelConfig {
    /// That of the `config.pbtxt` in a model's folder; where there is none, one that says nothing.
    pub fn of(folder: &Path) -> Result<ModelConfig, LoadError> {
        let path = folder.join("config.pbtxt");
        let refuse = |error: &dyn std::fmt::Display| LoadError(format!("{}: {error}", path.display()));
        match std::fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(ModelConfig::default()),
            Err(error) => return Err(refuse(&error)),
            Ok(metadata) if metadata.len() > LARGEST => {
                return Err(refuse(&format!("has {} bytes, the limit is {LARGEST}", metadata.len())));
            }
            Ok(_) => {}
        }
        let text = std::fs::read_to_string(&path).map_err(|error| refuse(&error))?;
        ModelConfig::parse(&text).map_err(|error| refuse(&error))
    }

    /// Reads the text of a `config.pbtxt`.
    pub fn parse(text: &str) -> Result<ModelConfig, String> {
        let mut config = ModelConfig::default();
        let mut policies = 0;
        for field in &text_format::parse(text)? {
            config.read(field, &mut policies).map_err(|error| format!("line {}: {error}", field.line))?;
        }
        Ok(config)
    }

    fn read(&mut self, field: &Field<'_>, policies: &mut usize) -> Result<(), String> {
        let Field { name, value, .. } = field;
        match *name {
            "name" => {}
            "platform" if matches!(value.text(), Some("" | "onnxruntime_onnx")) => {}
            "backend" if matches!(value.text(), Some("" | "onnxruntime")) => {}
            "version_policy" => {
                *policies += 1;
                if *policies > 1 {
                    return Err("version_policy is there twice".to_owned());
                }
                self.version_policy = VersionPolicy::read(value)?;
            }
            "sequence_batching" => return Err(unsupported("sequence_batching", "calls are answered each by itself")),
            "ensemble_scheduling" => return Err(unsupported("ensemble_scheduling", "a service has one model")),
            "model_transaction_policy" if is_decoupled(value) => {
                return Err(unsupported("model_transaction_policy.decoupled", "each call has one answer"));
            }
            name => {
                self.never_batches |= name == "max_batch_size" && value.text() == Some("0");
                let known = KNOWN.contains(&name) || matches!(name, "platform" | "backend");
                let list = if known { &mut self.ignored } else { &mut self.unknown };
                if !list.iter().any(|listed| listed == name) {
                    list.push(name.to_owned());
                }
            }
        }
        Ok(())
    }

    /// Tells what of the file has no effect.
    pub fn warn(&self, model: &str, folder: &Path) {
        let (ignored, unknown) = (self.ignored.join(", "), self.unknown.join(", "));
        let file = folder.join("config.pbtxt");
        if !ignored.is_empty() {
            tracing::warn!(model, ?file, ignored, "fields of config.pbtxt have no effect");
        }
        if !unknown.is_empty() {
            tracing::warn!(model, ?file, unknown, "fields of config.pbtxt are not known: check how they are written");
        }
        if self.never_batches {
            tracing::warn!(
                model,
                ?file,
                "max_batch_size: 0 has no effect: set batcher.maxBatchSize to 1 in the manifest"
            );
        }
    }
}

fn is_decoupled(policy: &Value<'_>) -> bool {
    let mut fields = policy.fields().unwrap_or_default().iter();
    // As protobuf's text format writes it.
    fields.any(|field| field.name == "decoupled" && matches!(field.value.text(), Some("true" | "True" | "t" | "1")))
}

fn unsupported(field: &str, why: &str) -> String {
    format!("{field} is not supported: {why}: take it out, if the model answers right without it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_of_triton_is_read() {
        let config = ModelConfig::parse(
            "name: \"sum\"\nplatform: \"onnxruntime_onnx\"\nbackend: 'onnxruntime'\nmax_batch_size: 8\n\
             input [ { name: \"version_policy { all {} }\" dims: [ -1 ] } ]\ninput { name: \"b\" }\n\
             parameters { key: \"k\" value { string_value: \"version_policy { all {} }\" } }\n\
             model_transaction_policy { decoupled: false }\nversion_policy: { specific { versions: [2] } }",
        );
        let expected = ModelConfig {
            version_policy: VersionPolicy::Specific(vec![2]),
            ignored: ["max_batch_size", "input", "parameters", "model_transaction_policy"].map(str::to_owned).to_vec(),
            ..ModelConfig::default()
        };
        assert_eq!(config, Ok(expected));
        assert_eq!(ModelConfig::parse("# version_policy { all {} }"), Ok(ModelConfig::default()));
    }

    #[test]
    fn what_has_no_effect_is_listed() {
        let config =
            ModelConfig::parse("versionPolicy: { all {} } max_batch_size: 0 platform: 'tensorrt_plan'").unwrap();
        assert_eq!(
            (config.unknown, config.version_policy),
            (vec!["versionPolicy".to_owned()], VersionPolicy::Latest(1))
        );
        assert_eq!((config.ignored, config.never_batches), (vec!["max_batch_size".into(), "platform".into()], true));
    }

    #[test]
    fn what_would_change_answers_is_refused_with_its_line() {
        for (text, says) in [
            ("\nsequence_batching { }", "line 2: sequence_batching is not supported"),
            ("ensemble_scheduling { step [ ] }", "line 1: ensemble_scheduling is not supported"),
            ("model_transaction_policy { decoupled: True }", "model_transaction_policy.decoupled is not supported"),
            ("name: 'a'\nversion_policy { newest {} }", "line 2: version_policy is not understood"),
            ("version_policy { all {} } version_policy { all {} }", "twice"),
            ("hello world", "line 1: expected"),
        ] {
            let error = ModelConfig::parse(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
