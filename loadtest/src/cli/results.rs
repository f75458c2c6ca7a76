//! Compares two results, shows one again.

use super::options::{Compare, Show};
use super::{Wrong, print};
use crate::result::{Report, write_whole};
use crate::{compare as comparing, report};

pub(super) fn compare(options: &Compare) -> Result<(), Wrong> {
    if let Some(factor) = options.fail_above
        && !(factor.is_finite() && factor >= 1.0)
    {
        return Err(Wrong::Usage(format!("--fail-above {factor} is not 1 or more")));
    }
    let (a, b) = (Report::read(&options.a)?, Report::read(&options.b)?);
    let comparison = comparing::files(&a, &b)?;
    print(&report::comparison(&comparison))?;
    if let Some(path) = &options.out {
        let text = serde_json::to_string_pretty(&comparison).map_err(|error| Wrong::Failed(error.to_string()))?;
        write_whole(path, format!("{text}\n").as_bytes())?;
    }
    let Some(factor) = options.fail_above else { return Ok(()) };
    if !comparison.incomparable.is_empty() {
        print(&format!("\nnot comparable: {}\n", comparison.incomparable.join("; ")))?;
        return Err(Wrong::Missed);
    }
    let worse = comparison.surely_worse(factor);
    for ratio in &worse {
        let figure = &ratio.figure;
        let told = match ratio.is_share() {
            true => format!("is {:.4} % and that of A {:.4} %", ratio.b, ratio.a),
            false => format!("is {:.2} times A's", ratio.ratio),
        };
        print(&format!("{figure} of B {told}, surely worse than by {factor}\n"))?;
    }
    if worse.is_empty() && comparison.lost.is_empty() { Ok(()) } else { Err(Wrong::Missed) }
}

pub(super) fn show(options: &Show) -> Result<(), Wrong> {
    let result = Report::read(&options.result)?;
    match &options.html {
        Some(path) => Ok(write_whole(path, report::html(&result).as_bytes())?),
        None => print(&report::text(&result)),
    }
}
