//! What an engine thread needs of a loaded model.

use std::fmt;
use std::sync::Arc;

use weirgate_protocol::{ModelSpec, Tensor};

/// A loaded model. One thread owns it; only [`Interrupt`] may be used from others.
pub trait Model: Send {
    fn spec(&self) -> &Arc<ModelSpec>;

    /// Runs the model on inputs in the order of its spec, and returns the outputs of the given indices, in that order.
    fn run(&mut self, inputs: &[Tensor], outputs: &[usize]) -> Result<Vec<Tensor>, RunError>;

    /// Stops a run from another thread.
    fn interrupt(&self) -> Arc<dyn Interrupt>;
}

/// Stops the run that is under way.
pub trait Interrupt: Send + Sync {
    /// Asks the run to end soon, with [`RunError::Interrupted`].
    fn stop(&self);
    /// Clears an earlier `stop`, before the next run.
    fn reset(&self);
}

/// Why a run gave no outputs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The model can't take these values: the caller's fault, and the session is fine.
    #[error("the model refused the input: {0}")]
    Input(String),
    /// The engine failed; the session is not trusted any more.
    #[error("the engine failed: {0}")]
    Engine(String),
    /// `Interrupt::stop` was called.
    #[error("the run was stopped")]
    Interrupted,
}

/// Why a model could not be loaded, with what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError(pub String);

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LoadError {}
