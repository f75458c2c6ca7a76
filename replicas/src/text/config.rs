//! How a text engine is loaded: its one configuration.

use std::num::NonZeroUsize;

use weirgate_models::network::{KvType, NetworkConfig, StepLimits};
use weirgate_replicas_core::tokens::TokenPolicy;

/// The bounds of a text engine, and what it may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextConfig {
    /// Shown in thread names.
    pub name: String,
    /// Threads that compute, the engine's own among them.
    pub threads: usize,
    /// Bytes for keys and values. The system gives the memory as it is first used.
    pub kv_bytes: usize,
    pub kv_type: KvType,
    /// Tokens of a block of keys and values: a multiple of 16.
    pub block_tokens: usize,
    /// Tokens of a sequence, prompt and answer together; `None` for as many as the network was trained for, which is the most.
    pub context: Option<usize>,
    /// Most tokens of a step.
    pub step_tokens: usize,
    /// How many of these are left to prompts while there are any, below `step_tokens`.
    pub prefill_tokens: usize,
    /// Most sequences that run at a time.
    pub running: usize,
    /// Most sequences that wait.
    pub waiting: usize,
    /// Most tokens of the sequences that wait; one alone is always let in.
    pub waiting_tokens: usize,
    /// Whether a prompt starts from what others with the same start have left.
    pub prefix_cache: bool,
    /// Bytes of text that wait for a reader, before its sequence ends.
    pub unread_bytes: usize,
}

impl Default for TextConfig {
    /// All processors that this process may use, and 1 GiB of keys and values.
    fn default() -> TextConfig {
        TextConfig {
            name: "text".to_owned(),
            threads: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            kv_bytes: 1 << 30,
            kv_type: KvType::default(),
            block_tokens: 16,
            context: None,
            step_tokens: 512,
            prefill_tokens: 128,
            running: 64,
            waiting: 1_024,
            waiting_tokens: 1 << 20,
            prefix_cache: true,
            unread_bytes: 1 << 20,
        }
    }
}

impl TextConfig {
    pub(super) fn network(&self) -> NetworkConfig {
        NetworkConfig {
            threads: self.threads,
            kv_bytes: self.kv_bytes,
            kv_type: self.kv_type,
            block_tokens: self.block_tokens,
            step_tokens: self.step_tokens,
            step_logits: self.running,
            ..NetworkConfig::default()
        }
    }

    /// The scheduler's bounds for a network of these limits. The error says what is wrong, and the limit.
    pub(super) fn policy(&self, limits: &StepLimits) -> Result<TokenPolicy, String> {
        let context = self.context.unwrap_or(limits.context);
        if context > limits.context {
            let most = limits.context;
            return Err(format!("a context of {context} tokens is asked for, and the network's is {most}"));
        }
        let policy = TokenPolicy {
            context,
            block_tokens: limits.block_tokens,
            blocks: limits.blocks,
            cached_blocks: if self.prefix_cache { limits.blocks } else { 0 },
            step_tokens: self.step_tokens,
            prefill_tokens: self.prefill_tokens,
            running: self.running,
            waiting: self.waiting,
            waiting_tokens: self.waiting_tokens,
            // The network's kernels give the same bits for both phases.
            reuse_decoded: true,
            ..TokenPolicy::new(context, limits.blocks)
        };
        policy.check().map_err(|error| error.message().to_owned())?;
        Ok(policy)
    }
}
