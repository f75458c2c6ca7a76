//! What happens to a token's queries, keys and values between their projection and attention: biases, norms, rotation.

use super::cpu::isa::Kernel;
use super::cpu::math::inverse_root_mean_square;
use super::cpu::simd::Simd;
use super::rope::{Angle, rotate};
use super::weights::Layer;
use crate::gguf::{HyperParameters, RopeStyle};

/// One token's heads in one layer.
pub struct Heads<'a> {
    pub hyper: &'a HyperParameters,
    pub layer: &'a Layer,
    pub angles: &'a [Angle],
    pub style: RopeStyle,
    /// Queries, then keys, then values.
    pub token: &'a mut [f32],
}

impl Kernel for Heads<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for (value, bias) in self.token.iter_mut().zip(&self.layer.bias) {
            *value += bias;
        }
        let (queries, rest) = self.token.split_at_mut(self.hyper.queries());
        let keys = &mut rest[..self.hyper.keys()];
        for (heads, norm) in [(queries, &self.layer.query_norm), (keys, &self.layer.key_norm)] {
            for head in heads.chunks_exact_mut(self.hyper.head_dim) {
                if let Some(weights) = norm {
                    let factor = inverse_root_mean_square(head, self.hyper.norm_epsilon);
                    for (value, weight) in head.iter_mut().zip(weights) {
                        *value = *value * factor * weight;
                    }
                }
                rotate(head, self.angles, self.style);
            }
        }
    }
}
