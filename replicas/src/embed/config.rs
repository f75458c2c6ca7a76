//! How an embedding engine is loaded: its one configuration.

use std::num::NonZeroUsize;

use weirgate_models::embed::{Company, EmbedderOptions};
use weirgate_replicas_core::embedding::{EmbedPolicy, Sharing};

/// The bounds of an embedding engine, and what it may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbedConfig {
    /// Shown in thread names.
    pub name: String,
    /// How the folder is read, and what computes.
    pub embedder: EmbedderOptions,
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
            embedder: EmbedderOptions {
                threads: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
                ..EmbedderOptions::default()
            },
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
