//! The bounds of an embedder's queue: its one configuration.

use weirgate_protocol::Error;

/// How texts of different lengths share a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// A text costs the same whatever is beside it.
    Ragged,
    /// Each is padded to the longest, and the padding is computed too.
    Padded,
    /// They can't: only texts of one length do.
    OneLength,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbedPolicy {
    pub sharing: Sharing,
    /// Most tokens of a run, padding among them. A text alone may have more.
    pub run_tokens: usize,
    /// Most texts of a run.
    pub run_texts: usize,
    /// Most texts of a call.
    pub call_texts: usize,
    /// Most calls that wait, those whose texts are just computed among them.
    pub waiting: usize,
    /// Most texts of these. A call holds vectors for all of its texts until the last is there. One call alone is always let in.
    pub waiting_texts: usize,
    /// Most tokens of their texts. One call alone is always let in.
    pub waiting_tokens: usize,
}

impl EmbedPolicy {
    /// Whether a queue can work with it; else what is wrong, and the limit.
    pub fn check(&self) -> Result<(), Error> {
        let counts = [
            ("run_tokens", self.run_tokens),
            ("run_texts", self.run_texts),
            ("call_texts", self.call_texts),
            ("waiting", self.waiting),
            ("waiting_texts", self.waiting_texts),
            ("waiting_tokens", self.waiting_tokens),
        ];
        // What is added up must not pass what can be counted.
        let most = 1 << 40;
        match counts.into_iter().find(|(_, count)| !(1..=most).contains(count)) {
            Some((name, count)) => Err(Error::invalid(format!("{name} is {count}; it must be 1 to {most}"))),
            None => Ok(()),
        }
    }
}
