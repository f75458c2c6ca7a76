//! Functions of single values and of rows, in one fixed order of operations.

/// A norm by the root of the mean square, with a weight for each value.
#[derive(Clone, Copy)]
pub struct Norm<'a> {
    pub weights: &'a [f32],
    pub epsilon: f32,
}

/// What a row is multiplied with, so that the mean of its squares is one. `row` is a multiple of sixteen long.
#[inline(always)]
pub fn inverse_root_mean_square(row: &[f32], epsilon: f32) -> f32 {
    let mut squares = [0.0f32; 16];
    for values in row.as_chunks::<16>().0 {
        for (sum, value) in squares.iter_mut().zip(values) {
            *sum = value.mul_add(*value, *sum);
        }
    }
    1.0 / (sum(squares) / row.len() as f32 + epsilon).sqrt()
}

/// The sum of sixteen lanes, always paired in the same way.
#[inline(always)]
pub fn sum(lanes: [f32; 16]) -> f32 {
    let mut lanes = lanes;
    for width in [8, 4, 2, 1] {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
    }
    lanes[0]
}

/// e to the power of x, to two units in the last place; below -87.3 and above 88.3 it stays at the value there.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Adding 1.5 × 2^23 leaves the nearest integer in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.3, 88.3);
    let rounded = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let whole = rounded - ROUND;
    // ln 2 in two parts, so that the rest is exact enough.
    let rest = whole.mul_add(-0.693_359_4, x);
    let rest = whole.mul_add(2.121_944_4e-4, rest);
    let mut series = 1.987_569_1e-4f32;
    for factor in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        series = series.mul_add(rest, factor);
    }
    let power = series.mul_add(rest * rest, rest) + 1.0;
    let exponent = (rounded.to_bits() << 23).wrapping_add(0x3f80_0000);
    power * f32::from_bits(exponent)
}

/// x times its logistic function.
#[inline(always)]
pub fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_right_to_two_units_in_the_last_place() {
        for step in -8_730..=8_830 {
            let x = step as f32 / 100.0;
            let right = f64::from(x).exp();
            let error = (f64::from(exp(x)) - right).abs() / right;
            assert!(error < 2.4e-7, "exp({x}) = {}, not {right}", exp(x));
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), exp(-87.3));
        assert!(exp(88.3).is_finite() && exp(1000.0) == exp(88.3) && exp(f32::NAN).is_nan());
    }

    #[test]
    fn silu_has_its_limits() {
        assert_eq!(silu(0.0), 0.0);
        assert!((silu(1.0) - 0.731_058_6).abs() < 1e-6);
        assert_eq!(silu(100.0), 100.0);
        assert!(silu(-100.0).abs() < 1e-30);
    }
}
