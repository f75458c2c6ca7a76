//! What is done with a token's values between two products, in one fixed order of operations.

use super::super::cpu::isa::Kernel;
use super::super::cpu::math::{exp, sum};
use super::super::cpu::simd::Simd;
use super::weights::LayerNorm;

/// Adds a bias, and brings the values' mean to 0 and that of their squares to 1; then the norm's own factors. The values are a
/// multiple of sixteen.
pub struct AddNorm<'a> {
    pub values: &'a mut [f32],
    pub bias: Option<&'a [f32]>,
    pub norm: &'a LayerNorm,
    pub epsilon: f32,
}

impl Kernel for AddNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let AddNorm { values, bias, norm, epsilon } = self;
        if let Some(bias) = bias {
            values.iter_mut().zip(bias).for_each(|(value, bias)| *value += bias);
        }
        let count = values.len() as f32;
        let mut sums = [0.0f32; 16];
        for values in values.as_chunks::<16>().0 {
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        }
        let mean = sum(sums) / count;
        let mut squares = [0.0f32; 16];
        for values in values.as_chunks_mut::<16>().0 {
            for (sum, value) in squares.iter_mut().zip(values) {
                *value -= mean;
                *sum = value.mul_add(*value, *sum);
            }
        }
        let factor = 1.0 / (sum(squares) / count + epsilon).sqrt();
        for ((value, weight), bias) in values.iter_mut().zip(&norm.weight).zip(&norm.bias) {
            *value = (*value * factor).mul_add(*weight, *bias);
        }
    }
}

/// Adds a bias; then x times the share of a normal distribution that lies below x.
pub struct AddGelu<'a> {
    pub values: &'a mut [f32],
    pub bias: &'a [f32],
}

impl Kernel for AddGelu<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for (value, bias) in self.values.iter_mut().zip(self.bias) {
            *value = gelu(*value + bias);
        }
    }
}

#[inline(always)]
fn gelu(x: f32) -> f32 {
    x * (0.5 + 0.5 * erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// The error function, to 5e-7: a polynomial of 1 / (1 + p|x|) times e to the power of -x², whose factors Hastings found.
#[inline(always)]
fn erf(x: f32) -> f32 {
    let size = x.abs();
    let t = 1.0 / size.mul_add(0.327_591_1, 1.0);
    let mut series = 1.061_405_4f32;
    for factor in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
        series = series.mul_add(t, factor);
    }
    let y = 1.0 - series * t * exp(-size * size);
    y.copysign(x)
}

#[cfg(test)]
mod tests {
    use super::super::super::cpu::isa::Isa;
    use super::*;

    #[test]
    fn the_error_function_is_right_where_it_is_known() {
        let known =
            [(0.0, 0.0), (0.1, 0.112_462_92), (0.5, 0.520_499_9), (1.0, 0.842_700_8), (2.0, 0.995_322_3), (9.0, 1.0)];
        for (x, right) in known {
            assert!((erf(x) - right).abs() < 5e-7, "erf({x}) = {}", erf(x));
            assert_eq!(erf(-x), -erf(x));
        }
        assert!((gelu(-3.0) + 0.004_049_7).abs() < 1e-6);
        assert_eq!((gelu(100.0), gelu(-100.0)), (100.0, -0.0));
    }

    #[test]
    fn instruction_sets_give_the_same_bits() {
        let values: Vec<f32> = (0..96).map(|i| ((i * 37 % 101) as f32 - 50.0) / 13.0).collect();
        let norm = LayerNorm { weight: values.iter().rev().copied().collect(), bias: values.clone() };
        let run = |isa: Isa| {
            let (mut normed, mut gated) = (values.clone(), values.clone());
            isa.run(AddNorm { values: &mut normed, bias: Some(&norm.weight), norm: &norm, epsilon: 1e-12 });
            isa.run(AddGelu { values: &mut gated, bias: &norm.bias });
            [normed, gated].concat().into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        let right = run(Isa::PORTABLE);
        for isa in Isa::all() {
            assert_eq!(run(isa), right, "{isa:?}");
        }
    }
}
