//! Rotary positions: pairs of dimensions are turned by angles that grow with the position.

use crate::gguf::{HyperParameters, RopeScaling, RopeStyle};

/// The speeds at which a network's pairs turn.
pub struct Rope {
    /// Radians a position, for each pair.
    speeds: Vec<f64>,
}

/// Cosine and sine of a pair's angle.
pub type Angle = [f32; 2];

impl Rope {
    /// `divisors` are what `rope_freqs.weight` holds, with which Llama 3 slows the slow pairs: one for each pair, or none.
    pub fn new(hyper: &HyperParameters, divisors: Option<&[f32]>) -> Result<Rope, String> {
        let pairs = hyper.rope_dim / 2;
        let factor = match hyper.rope_scaling {
            RopeScaling::Linear(factor) => f64::from(factor),
            RopeScaling::None | RopeScaling::Frequencies => 1.0,
        };
        let divisor = |pair: usize| divisors.map_or(1.0, |divisors| f64::from(divisors[pair]));
        let speeds = (0..pairs).map(|pair| {
            let exponent = -2.0 * pair as f64 / hyper.rope_dim as f64;
            f64::from(hyper.rope_base).powf(exponent) / factor / divisor(pair)
        });
        let speeds: Vec<f64> = speeds.collect();
        match speeds.iter().position(|speed| !speed.is_finite()) {
            Some(pair) => Err(format!(
                "the tensor 'rope_freqs.weight' has {} at {pair}, by which nothing can be divided",
                divisor(pair)
            )),
            None => Ok(Rope { speeds }),
        }
    }

    /// Pairs of a head that turn.
    pub fn pairs(&self) -> usize {
        self.speeds.len()
    }

    /// Writes the angles at a position, one for each pair.
    pub fn angles(&self, position: usize, angles: &mut [Angle]) {
        for (angle, speed) in angles.iter_mut().zip(&self.speeds) {
            let (sine, cosine) = (position as f64 * speed).sin_cos();
            *angle = [cosine as f32, sine as f32];
        }
    }
}

/// Turns a head's pairs.
#[inline(always)]
pub fn rotate(head: &mut [f32], angles: &[Angle], style: RopeStyle) {
    match style {
        RopeStyle::Neighbours => {
            for ([x, y], [cosine, sine]) in head.as_chunks_mut::<2>().0.iter_mut().zip(angles) {
                (*x, *y) = (*x * cosine - *y * sine, *x * sine + *y * cosine);
            }
        }
        RopeStyle::Halves => {
            let (first, second) = head[..2 * angles.len()].split_at_mut(angles.len());
            for ((x, y), [cosine, sine]) in first.iter_mut().zip(second).zip(angles) {
                (*x, *y) = (*x * cosine - *y * sine, *x * sine + *y * cosine);
            }
        }
    }
}
