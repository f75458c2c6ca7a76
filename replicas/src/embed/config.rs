//! How an embedding engine is loaded: its one configuration.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use weirgate_models::embed::{Backend, Company, EmbedderOptions, Pooling};
use weirgate_replicas_core::embedding::{EmbedPolicy, Sharing};

/// The bounds of an embedding engine, and what it may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbedConfig {
    /// Shown in thread names.
    pub name: String,
    /// Threads that compute, the engine's own among them.
    pub threads: usize,
    /// Which of the folder's weights are loaded.
    pub backend: Backend,
    /// In place of what the folder says.
    pub pooling: Option<Pooling>,
    /// Whether vectors are brought to length 1, in place of what the folder says.
    pub normalise: Option<bool>,
    /// Most tokens of a text, where that is less than the model's own limit.
    pub max_tokens: Option<usize>,
    /// Where the folder and what its links lead to may lie; anywhere where there are none.
    pub roots: Vec<PathBuf>,
    /// Most tokens of a run, padding among them. A text alone may have more.
    pub run_tokens: usize,
    /// Most texts of a run.
    pub run_texts: usize,
    /// Most texts of a call.
    pub call_texts: usize,
    /// Most calls that wait, those whose texts are just computed among them.
    pub waiting: usize,
    /// Most texts of these; one call alone is always let in. A call holds vectors for all of its texts until the last is there.
    pub waiting_texts: usize,
    /// Most tokens of their texts; one call alone is always let in.
    pub waiting_tokens: usize,
}

impl Default for EmbedConfig {
    /// All processors that this process may use, and as many texts of a call as OpenAI takes.
    fn default() -> EmbedConfig {
        EmbedConfig {
            name: "embed".to_owned(),
            threads: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            backend: Backend::default(),
            pooling: None,
            normalise: None,
            max_tokens: None,
            roots: Vec::new(),
            run_tokens: 4_096,
            run_texts: 128,
            call_texts: 2_048,
            waiting: 1_024,
            waiting_texts: 1 << 16,
            waiting_tokens: 1 << 20,
        }
    }
}

impl EmbedConfig {
    pub(super) fn embedder(&self) -> EmbedderOptions {
        EmbedderOptions {
            threads: self.threads,
            backend: self.backend,
            pooling: self.pooling,
            normalise: self.normalise,
            max_tokens: self.max_tokens,
            roots: self.roots.clone(),
        }
    }

    /// The queue's bounds for an embedder. The error says what is wrong, and the limit.
    pub(super) fn policy(&self, company: Company) -> Result<EmbedPolicy, String> {
        let policy = EmbedPolicy {
            sharing: match company {
                Company::Ragged => Sharing::Ragged,
                Company::Padded => Sharing::Padded,
                Company::OneLength => Sharing::OneLength,
            },
            run_tokens: self.run_tokens,
            run_texts: self.run_texts,
            call_texts: self.call_texts,
            waiting: self.waiting,
            waiting_texts: self.waiting_texts,
            waiting_tokens: self.waiting_tokens,
        };
        policy.check().map_err(|error| error.message().to_owned())?;
        Ok(policy)
    }
}
