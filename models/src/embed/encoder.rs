//! What computes the vectors of texts.

use std::sync::Arc;

use crate::model::{Interrupt, RunError};

/// How texts of different lengths can share a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    /// A text costs the same whatever is beside it.
    Ragged,
    /// Each is padded to the longest, and the padding is computed too.
    Padded,
    /// They can't: only texts of one length do, as padding changes the answers.
    OneLength,
}

/// A network that makes a vector of a text. One thread owns it; only [`Interrupt`] may be used from others.
pub(super) trait Encoder: Send {
    /// Values of a vector.
    fn width(&self) -> usize;

    fn company(&self) -> Company;

    /// Appends to `vectors` one for each text, in their order. Each text has a token at least, all of the vocabulary, and no
    /// more than the model takes. After an error what was appended is of no use.
    fn encode(&mut self, texts: &[&[u32]], vectors: &mut Vec<f32>) -> Result<(), RunError>;

    /// Stops a run from another thread.
    fn interrupt(&self) -> Arc<dyn Interrupt>;
}
