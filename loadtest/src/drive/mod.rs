//! One run, a sweep over rates, or two servers in turn.
//!
//! ```text
//! sweep  from the search's rates to points, with a rest after each that was too much for the server
//! point  what a run says to the search
//! ab     pairs of runs, in an order that alternates
//! ```
//!
//! Each driver takes its runs from a function, so that what it decides can be tested on servers that are only formulas.
//! The functions here give them an [`Engine`].

mod ab;
mod point;
mod sweep;

#[cfg(test)]
mod model;

use std::time::Duration;

pub use self::ab::AbPlan;
pub use self::sweep::SweepPlan;
use crate::Result;
use crate::engine::{Engine, Load, Observer, Span, Until, Warmup};
use crate::result::{Findings, Side};

/// One run.
pub fn single(engine: &mut Engine, load: &Load, span: &Span, observer: &mut dyn Observer) -> Result<Findings> {
    let run = engine.run(load, span, None, observer)?;
    Ok(Findings::Run { run: Box::new(run) })
}

/// Looks for the knee, and for the highest rate that meets the objective.
pub fn sweep(engine: &mut Engine, plan: &SweepPlan, observer: &mut dyn Observer) -> Result<Findings> {
    let sweep = sweep::sweep(plan, |load, span, label| engine.run(load, span, Some(label), observer))?;
    Ok(Findings::Sweep { sweep })
}

/// Loads two servers in turn. Both engines should be set up alike but for their target.
pub fn ab(a: &mut Engine, b: &mut Engine, plan: &AbPlan, observer: &mut dyn Observer) -> Result<Findings> {
    let ab = ab::ab(plan, |side, load, span, label| {
        let engine = match side {
            Side::A => &mut *a,
            Side::B => &mut *b,
        };
        engine.run(load, span, Some(label), observer)
    })?;
    Ok(Findings::Ab { ab })
}

/// A span of fixed lengths.
fn fixed(warmup: Duration, measured: Duration) -> Span {
    Span { warmup: Warmup::For(warmup), until: Until::After(measured) }
}
