//! Two runs side by side, figure by figure, with their spread.

use crate::result::{Ratio, Run};

/// Figures of several runs on A and as many on B, in pairs.
pub fn pairs(a: &[Run], b: &[Run]) -> Vec<Ratio> {
    let _ = (a, b);
    Vec::new()
}
