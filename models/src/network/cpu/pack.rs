//! Moves a block of weights of a GGUF file to its place in a panel.

use half::f16;

use super::layout::{BYTES_BLOCK, Layout, NIBBLES_BLOCK, byte_at};
use super::simd::PANEL;

/// The types of a file's tensors that networks are run from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4K,
    Q5K,
    Q6K,
}

const SCALES: usize = 2 * PANEL;

impl Type {
    pub const fn layout(self) -> Layout {
        match self {
            Type::F32 => Layout::Float32,
            Type::F16 => Layout::Float16,
            Type::Bf16 => Layout::Brain16,
            Type::Q4_0 | Type::Q4_1 => Layout::Nibbles32,
            Type::Q5_0 | Type::Q5_1 => Layout::Bytes32,
            Type::Q8_0 => Layout::Offset32,
            Type::Q4K => Layout::Nibbles256,
            Type::Q5K => Layout::Bytes256,
            Type::Q6K => Layout::Offset256,
        }
    }

    /// Bytes of as many weights of one output as a unit of the layout has inputs.
    pub const fn bytes(self) -> usize {
        match self {
            Type::F32 => 32 * 4,
            Type::F16 | Type::Bf16 => 32 * 2,
            Type::Q4_0 => 2 + 16,
            Type::Q4_1 => 4 + 16,
            Type::Q5_0 => 2 + 4 + 16,
            Type::Q5_1 => 4 + 4 + 16,
            Type::Q8_0 => 2 + 32,
            Type::Q4K => 4 + 12 + 128,
            Type::Q5K => 4 + 12 + 32 + 128,
            Type::Q6K => 128 + 64 + 16 + 2,
        }
    }

    /// Writes one output's weights into a unit. `block` has [`Type::bytes`], `unit` has [`Layout::bytes`].
    ///
    /// Returns false where a minimum is not a number of 16 bits: the file's scale is absurd.
    #[must_use]
    pub fn place(self, block: &[u8], unit: &mut [u8], output: usize) -> bool {
        let scale = |at: usize| f16::from_le_bytes([block[at], block[at + 1]]);
        // These types have a zero point instead of a minimum; a power of two times a scale is exact.
        let zero_point = |zero: f32| f16::from_f32(-zero * scale(0).to_f32());
        match self {
            Type::F32 => floats::<4>(block, unit, output),
            Type::F16 | Type::Bf16 => floats::<2>(block, unit, output),
            Type::Q4_0 => {
                nibbles(&block[2..], &mut unit[2 * SCALES..], output);
                return scales(unit, output, scale(0), zero_point(8.0));
            }
            Type::Q4_1 => {
                nibbles(&block[4..], &mut unit[2 * SCALES..], output);
                return scales(unit, output, scale(0), scale(2));
            }
            Type::Q5_0 => {
                bytes(&mut unit[2 * SCALES..], output, |input| five_bits(&block[2..6], &block[6..], input));
                return scales(unit, output, scale(0), zero_point(16.0));
            }
            Type::Q5_1 => {
                bytes(&mut unit[2 * SCALES..], output, |input| five_bits(&block[4..8], &block[8..], input));
                return scales(unit, output, scale(0), scale(2));
            }
            Type::Q8_0 => {
                unit[2 * output..2 * output + 2].copy_from_slice(&block[..2]);
                bytes(&mut unit[SCALES..], output, |input| block[2 + input] ^ 0x80);
            }
            Type::Q4K | Type::Q5K => {
                k_quants(self, block, unit, output);
                return scales(unit, output, scale(0), scale(2));
            }
            Type::Q6K => six_bits(block, unit, output),
        }
        true
    }
}

fn scales(unit: &mut [u8], output: usize, scale: f16, minimum: f16) -> bool {
    unit[2 * output..2 * output + 2].copy_from_slice(&scale.to_le_bytes());
    unit[SCALES + 2 * output..SCALES + 2 * output + 2].copy_from_slice(&minimum.to_le_bytes());
    minimum.is_finite()
}

fn floats<const BYTES: usize>(block: &[u8], unit: &mut [u8], output: usize) {
    let places = unit.chunks_exact_mut(BYTES).skip(output).step_by(PANEL);
    for (weight, place) in block.chunks_exact(BYTES).zip(places) {
        place.copy_from_slice(weight);
    }
}

/// Sixteen bytes hold inputs 0 to 15 in their lower halves and 16 to 31 in their upper ones, as the vectors do.
fn nibbles(quants: &[u8], vectors: &mut [u8], output: usize) {
    for (input, &pair) in quants[..16].iter().enumerate() {
        vectors[byte_at(output, input)] = pair;
    }
}

fn bytes(vectors: &mut [u8], output: usize, quant: impl Fn(usize) -> u8) {
    for input in 0..32 {
        vectors[byte_at(output, input)] = quant(input);
    }
}

fn five_bits(highest: &[u8], nibbles: &[u8], input: usize) -> u8 {
    let nibble = nibbles[input % 16] >> (input / 16 * 4) & 0x0f;
    nibble | (highest[input / 8] >> (input % 8) & 1) << 4
}

/// Q4_K and Q5_K: scale and minimum, twelve bytes with eight factors of six bits for each, in Q5_K the highest bits of the
/// quants, then the lower four. 32 bytes of these hold the inputs of one block in their lower halves and those of the next in
/// their upper ones.
fn k_quants(kind: Type, block: &[u8], unit: &mut [u8], output: usize) {
    let (packed, quants) = (&block[4..16], &block[16..]);
    let (highest, quants) = if kind == Type::Q5K { quants.split_at(32) } else { (&[][..], quants) };
    let size = if kind == Type::Q5K { BYTES_BLOCK } else { NIBBLES_BLOCK };
    for (index, place) in unit[2 * SCALES..].chunks_exact_mut(size).enumerate() {
        let (scale, minimum) = factors(packed, index);
        place[output] = scale;
        place[PANEL + output] = minimum;
        let vectors = &mut place[2 * PANEL..];
        let nibble = |input: usize| quants[index / 2 * 32 + input] >> (index % 2 * 4) & 0x0f;
        if kind == Type::Q5K {
            bytes(vectors, output, |input| nibble(input) | (highest[input] >> index & 1) << 4);
        } else {
            for input in 0..16 {
                vectors[byte_at(output, input)] = nibble(input) | nibble(16 + input) << 4;
            }
        }
    }
}

/// The factors of block 0 to 7 for scale and minimum. Those of the first four blocks are the lower six bits of a byte each; the
/// others' upper two bits are what is left of these bytes.
fn factors(packed: &[u8], block: usize) -> (u8, u8) {
    if block < 4 {
        (packed[block] & 0x3f, packed[block + 4] & 0x3f)
    } else {
        let low = packed[block + 4];
        (low & 0x0f | packed[block - 4] >> 6 << 4, low >> 4 | packed[block] >> 6 << 4)
    }
}

/// Q6_K: 128 bytes with the lower four bits, 64 with the upper two, sixteen signed factors, the scale. For each 128 inputs, byte
/// i of 64 holds inputs i and i + 64, and byte i of 32 the upper bits of i, i + 32, i + 64 and i + 96.
fn six_bits(block: &[u8], unit: &mut [u8], output: usize) {
    unit[2 * output..2 * output + 2].copy_from_slice(&block[208..210]);
    for (index, place) in unit[SCALES..].chunks_exact_mut(BYTES_BLOCK).enumerate() {
        place[output] = block[192 + 2 * index];
        place[PANEL + output] = block[192 + 2 * index + 1];
        let (half, quarter) = (index / 4, index % 4);
        bytes(&mut place[2 * PANEL..], output, |input| {
            let low = block[64 * half + quarter % 2 * 32 + input] >> (quarter / 2 * 4) & 0x0f;
            let high = block[128 + 32 * half + input] >> (2 * quarter) & 3;
            (low | high << 4).wrapping_sub(32) ^ 0x80
        });
    }
}
