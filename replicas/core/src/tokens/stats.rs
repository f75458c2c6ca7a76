//! Numbers for metrics.

/// Where a scheduler stands, and what it has done since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Sequences that wait, pre-empted ones among them.
    pub waiting: usize,
    /// Tokens of those that wait.
    pub waiting_tokens: usize,
    /// Sequences that have blocks.
    pub running: usize,
    /// Blocks that sequences use.
    pub used_blocks: usize,
    /// Blocks that nobody uses and whose content is kept.
    pub cached_blocks: usize,
    /// Blocks without content. The three are all blocks.
    pub free_blocks: usize,
    /// What was counted since the beginning.
    pub totals: Totals,
}

/// Counts that only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Tokens of the prompts that were admitted, each counted once.
    pub prompt_tokens: u64,
    /// How many of these were found in the prefix cache.
    pub prompt_hit_tokens: u64,
    /// Tokens of answers.
    pub new_tokens: u64,
    /// Times that a sequence gave its blocks to others.
    pub preemptions: u64,
    /// Tokens that were computed again, because a pre-emption had cost them.
    pub recomputed_tokens: u64,
    /// Blocks whose content was thrown away for others.
    pub evicted_blocks: u64,
}
