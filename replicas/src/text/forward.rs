//! The network, as the executor sees it.

use weirgate_models::network::{Network, Row};

/// Computes steps.
pub(super) trait Forward: Send {
    /// Computes the rows, and calls `each` with the logits of those that want them, in their order. After an error nothing was
    /// computed, and the next step may go well.
    fn step(&mut self, rows: &[Row<'_>], each: &mut dyn FnMut(&[f32])) -> Result<(), String>;
}

impl Forward for Network {
    fn step(&mut self, rows: &[Row<'_>], each: &mut dyn FnMut(&[f32])) -> Result<(), String> {
        let logits = Network::step(self, rows).map_err(|error| error.to_string())?;
        logits.rows().for_each(each);
        Ok(())
    }
}
