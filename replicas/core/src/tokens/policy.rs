//! What a scheduler may hold, run and plan: its one configuration.

use std::time::Duration;

use weirgate_protocol::Error;

use super::end::EndReason;
use super::refusal::Refusal;

/// How much later a sequence may arrive than one of the next lower class, and still be admitted before it. It is the head
/// start that calls have in a lane, so both queues agree.
pub const HEAD_START: Duration = Duration::from_secs(10);

/// Block numbers are 32 bits wide, and one of them stands for none.
const MAX_BLOCKS: usize = u32::MAX as usize - 1;

/// The bounds of a scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenPolicy {
    /// Tokens of one sequence, prompt and answer together.
    pub context: usize,
    /// Tokens whose keys and values one block holds.
    pub block_tokens: usize,
    /// Blocks that there are.
    pub blocks: usize,
    /// Blocks that may keep their content while nobody uses them. Zero switches the prefix cache off.
    pub cached_blocks: usize,
    /// Blocks that are left, when a sequence is admitted, for each one that runs. Each will need another block soon; without
    /// a reserve the new one would be pre-empted for it before it has got anywhere.
    pub reserve_blocks: usize,
    /// Tokens of one step.
    pub step_tokens: usize,
    /// How many of a step's tokens decodes leave to prompts, while there are any to compute.
    pub prefill_tokens: usize,
    /// Sequences that run at a time, and so the rows of one step.
    pub running: usize,
    /// Sequences that may wait.
    pub waiting: usize,
    /// Tokens of the sequences that wait. One alone is always let in.
    pub waiting_tokens: usize,
    /// Whether a prompt may start from blocks whose tokens were decoded for another sequence. It saves computing an answer
    /// again when it comes back as part of the next prompt. Where the network's kernels for prefill and decode differ in
    /// bits, answers then depend on what is cached.
    pub reuse_decoded: bool,
}

impl TokenPolicy {
    /// A policy for a model of `context` tokens with room for `blocks` blocks, and defaults for the rest.
    pub fn new(context: usize, blocks: usize) -> TokenPolicy {
        TokenPolicy {
            context,
            block_tokens: 16,
            blocks,
            cached_blocks: blocks,
            reserve_blocks: 1,
            step_tokens: 512,
            prefill_tokens: 128,
            running: 256,
            waiting: 1_024,
            waiting_tokens: 1 << 20,
            reuse_decoded: false,
        }
    }

    /// How many whole blocks of `block_bytes` fit into `bytes`. A block's bytes are those of its tokens' keys and values in
    /// every layer.
    pub fn blocks_in(bytes: u64, block_bytes: u64) -> usize {
        usize::try_from(bytes / block_bytes.max(1)).unwrap_or(usize::MAX).min(MAX_BLOCKS)
    }

    /// Whether a scheduler can work with it; else what is wrong, and the limit.
    pub fn check(&self) -> Result<(), Error> {
        let at_least_one = [
            ("block_tokens", self.block_tokens),
            ("blocks", self.blocks),
            ("prefill_tokens", self.prefill_tokens),
            ("running", self.running),
            ("waiting", self.waiting),
        ];
        if let Some((name, _)) = at_least_one.into_iter().find(|(_, value)| *value == 0) {
            return Err(Error::invalid(format!("{name} is 0; it must be at least 1")));
        }
        if self.context < 2 {
            let text = format!("context is {}; it must hold a token of a prompt and one of an answer", self.context);
            return Err(Error::invalid(text));
        }
        if self.blocks > MAX_BLOCKS {
            return Err(Error::invalid(format!("blocks is {}; it may be at most {MAX_BLOCKS}", self.blocks)));
        }
        if u32::try_from(self.block_tokens).is_err() || self.blocks.checked_mul(self.block_tokens).is_none() {
            let text =
                format!("{} blocks of {} tokens can't be counted; make them fewer", self.blocks, self.block_tokens);
            return Err(Error::invalid(text));
        }
        if self.reserve_blocks.checked_mul(self.running).is_none() {
            let text = format!("{} reserve_blocks for each of {} can't be counted", self.reserve_blocks, self.running);
            return Err(Error::invalid(text));
        }
        if self.prefill_tokens >= self.step_tokens {
            let text = format!(
                "prefill_tokens is {} of {} step_tokens; it must leave at least 1 to decodes",
                self.prefill_tokens, self.step_tokens
            );
            return Err(Error::invalid(text));
        }
        Ok(())
    }

    /// How many tokens a sequence may come to, prompt and answer together, and why it ends there; or why it can never run.
    pub fn limit(&self, prompt: usize, max_new: Option<usize>) -> Result<(usize, EndReason), Refusal> {
        let new = max_new.unwrap_or(1);
        if prompt == 0 {
            return Err(Refusal::EmptyPrompt);
        }
        if new == 0 {
            return Err(Refusal::NoNewTokens);
        }
        let most = prompt.saturating_add(new);
        if most > self.context {
            return Err(Refusal::Context { prompt, new, context: self.context });
        }
        // The last token is never computed, so it needs no place.
        let needed = self.blocks_for(most - 1);
        if needed > self.blocks {
            return Err(Refusal::Blocks { prompt, new, needed, blocks: self.blocks });
        }
        Ok(match max_new {
            Some(_) => (most, EndReason::MaxNewTokens),
            None => (self.context, EndReason::Context),
        })
    }

    /// Blocks for the keys and values of `tokens` tokens.
    pub(super) fn blocks_for(&self, tokens: usize) -> usize {
        tokens.div_ceil(self.block_tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_sound() {
        assert_eq!(TokenPolicy::new(2, 1).check(), Ok(()));
        assert_eq!(TokenPolicy::new(131_072, 100_000).check(), Ok(()));
    }

    #[test]
    fn what_can_not_work_is_named_with_its_limit() {
        let policy = TokenPolicy::new(4_096, 100);
        let message = |policy: TokenPolicy| policy.check().unwrap_err().message().to_owned();
        assert_eq!(message(TokenPolicy { blocks: 0, ..policy }), "blocks is 0; it must be at least 1");
        assert_eq!(message(TokenPolicy { running: 0, ..policy }), "running is 0; it must be at least 1");
        assert!(message(TokenPolicy { context: 1, ..policy }).starts_with("context is 1; "));
        assert!(message(TokenPolicy { blocks: usize::MAX, ..policy }).ends_with("at most 4294967294"));
        assert!(message(TokenPolicy { block_tokens: usize::MAX, ..policy }).ends_with("make them fewer"));
        assert_eq!(
            message(TokenPolicy { step_tokens: 8, prefill_tokens: 8, ..policy }),
            "prefill_tokens is 8 of 8 step_tokens; it must leave at least 1 to decodes"
        );
    }

    #[test]
    fn a_budget_in_bytes_holds_whole_blocks() {
        assert_eq!(TokenPolicy::blocks_in(1_000, 300), 3);
        assert_eq!(TokenPolicy::blocks_in(299, 300), 0);
        assert_eq!(TokenPolicy::blocks_in(u64::MAX, 0), MAX_BLOCKS);
    }
}
