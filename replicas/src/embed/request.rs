//! What a caller asks of an embedding engine.

use std::time::Instant;

use weirgate_models::embed::EmbedderSpec;
use weirgate_protocol::{Error, Priority, Result};

/// Texts, and what their vectors are to be.
#[derive(Clone, Debug)]
pub struct Embed {
    /// Tokens of each text, with those that begin and end it where the model wants them.
    pub texts: Vec<Vec<u32>>,
    /// Values of each vector, for models that were trained for fewer than they have; `None` for all.
    pub dimensions: Option<usize>,
    pub priority: Priority,
    /// When the call arrived, from which its times count.
    pub arrived: Instant,
    /// When it ends at the latest.
    pub deadline: Option<Instant>,
}

impl Embed {
    /// Whole vectors, whenever they are there.
    pub fn new(texts: Vec<Vec<u32>>, arrived: Instant) -> Embed {
        Embed { texts, dimensions: None, priority: Priority::default(), arrived, deadline: None }
    }

    /// Refuses what can never be answered. The error is the caller's.
    pub(super) fn check(&self, spec: &EmbedderSpec) -> Result<()> {
        if let Some(dimensions) = self.dimensions {
            spec.check_dimensions(dimensions).map_err(Error::invalid)?;
        }
        for (index, text) in self.texts.iter().enumerate() {
            spec.check(text).map_err(|error| Error::invalid(format!("text {index} {error}")))?;
        }
        Ok(())
    }
}
