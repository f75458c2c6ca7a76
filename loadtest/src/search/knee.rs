//! The knee: where more load stops giving more answers and latency begins to climb.
//!
//! Curvature methods (Kneedle) want many points evenly spaced and little noise; a sweep has about ten, most of them near
//! the end of its search. So two plainer facts are put together:
//!
//! - **A bracket.** The points in order of their rates are cut in two so that as few as possible are on the wrong side:
//!   below the cut the server kept up, above it did not (`is_saturated` says which). Noise near the cut moves it by a point.
//! - **The plateau.** A saturated server answers at its capacity, whatever is offered: the median of the answered rates
//!   above the cut is the knee, and at most the first rate above the cut. Only a server that breaks down under overload
//!   answers far less there than below the cut; its knee is the highest rate below.

use super::Point;
use crate::stats::Spread;

/// A plateau below this share of what the server kept up with is no plateau, but a breakdown.
const BREAKDOWN: f64 = 0.7;

/// The knee's rate. None where no point was beyond it, or nothing was answered.
pub fn knee(points: &[Point], is_saturated: impl Fn(&Point) -> bool) -> Option<f64> {
    let mut judged: Vec<(&Point, bool)> = points.iter().map(|point| (point, is_saturated(point))).collect();
    judged.sort_by(|(a, _), (b, _)| a.rate.total_cmp(&b.rate));
    let cut = cut(&judged);
    let (below, above) = judged.split_at(cut);
    let most = above.first()?.0.rate;
    let least = below.last().map_or(0.0, |(point, _)| point.rate);
    let plateau = Spread::of(above.iter().map(|(point, _)| point.answered_rate())).median;
    let knee = if plateau < least * BREAKDOWN { least } else { plateau.min(most) };
    (knee > 0.0).then_some(knee)
}

/// How many points lie below the knee, with the fewest on the wrong side; of several such cuts the middle one.
fn cut(judged: &[(&Point, bool)]) -> usize {
    let wrong = |cut: usize| {
        let (below, above) = judged.split_at(cut);
        below.iter().filter(|(_, saturated)| *saturated).count()
            + above.iter().filter(|(_, saturated)| !saturated).count()
    };
    let least = (0..=judged.len()).map(wrong).min();
    let best: Vec<usize> = (0..=judged.len()).filter(|cut| Some(wrong(*cut)) == least).collect();
    best.get(best.len() / 2).copied().unwrap_or(0)
}
