//! Moves a block of weights of a GGUF file to its place in a panel.

use half::f16;

use super::layout::{BYTES_BLOCK, Layout, NIBBLES_BLOCK, byte_at};
use super::simd::PANEL;
use crate::gguf::TensorType;

const SCALES: usize = 2 * PANEL;

/// The numbers that four bits choose from in IQ4_NL and IQ4_XS.
const CHOICE: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// How weights of a type are kept.
pub const fn layout(kind: TensorType) -> Layout {
    match kind {
        TensorType::F32 => Layout::Float32,
        TensorType::F16 => Layout::Float16,
        TensorType::Bf16 => Layout::Brain16,
        TensorType::Q4_0 | TensorType::Q4_1 => Layout::Nibbles32,
        TensorType::Q5_0 | TensorType::Q5_1 => Layout::Bytes32,
        TensorType::Q8_0 | TensorType::Iq4Nl => Layout::Offset32,
        TensorType::Q4K => Layout::Nibbles256,
        TensorType::Q5K => Layout::Bytes256,
        TensorType::Q3K | TensorType::Q6K | TensorType::Iq4Xs => Layout::Offset256,
    }
}

/// Bytes that as many weights of one output take in a file as a unit of the layout has inputs.
pub const fn unit_bytes(kind: TensorType) -> usize {
    layout(kind).inputs() / kind.block() as usize * kind.block_bytes() as usize
}

/// Writes one output's weights into a unit. `block` has [`unit_bytes`], `unit` has [`Layout::bytes`].
///
/// Returns false where a scale or a minimum is no finite number of 16 bits.
#[must_use]
pub fn place(kind: TensorType, block: &[u8], unit: &mut [u8], output: usize) -> bool {
    let scale = |at: usize| f16::from_le_bytes([block[at], block[at + 1]]);
    // These types have a zero point instead of a minimum; a power of two times a scale is exact.
    let zero_point = |zero: f32| f16::from_f32(-zero * scale(0).to_f32());
    match kind {
        TensorType::F32 => floats::<4>(block, unit, output),
        TensorType::F16 | TensorType::Bf16 => floats::<2>(block, unit, output),
        TensorType::Q4_0 => {
            nibbles(&block[2..], &mut unit[2 * SCALES..], output);
            return scales(unit, output, scale(0), zero_point(8.0));
        }
        TensorType::Q4_1 => {
            nibbles(&block[4..], &mut unit[2 * SCALES..], output);
            return scales(unit, output, scale(0), scale(2));
        }
        TensorType::Q5_0 => {
            bytes(&mut unit[2 * SCALES..], output, |input| five_bits(&block[2..6], &block[6..], input));
            return scales(unit, output, scale(0), zero_point(16.0));
        }
        TensorType::Q5_1 => {
            bytes(&mut unit[2 * SCALES..], output, |input| five_bits(&block[4..8], &block[8..], input));
            return scales(unit, output, scale(0), scale(2));
        }
        TensorType::Q8_0 => {
            bytes(&mut unit[SCALES..], output, |input| block[2 + input] ^ 0x80);
            return only_scale(unit, output, scale(0));
        }
        TensorType::Q4K | TensorType::Q5K => {
            k_quants(kind, block, unit, output);
            return scales(unit, output, scale(0), scale(2));
        }
        TensorType::Q3K => {
            three_bits(block, unit, output);
            return only_scale(unit, output, scale(108));
        }
        TensorType::Q6K => {
            six_bits(block, unit, output);
            return only_scale(unit, output, scale(208));
        }
        TensorType::Iq4Nl => {
            bytes(&mut unit[SCALES..], output, |input| chosen(&block[2..], input));
            return only_scale(unit, output, scale(0));
        }
        TensorType::Iq4Xs => {
            chosen_by_eights(block, unit, output);
            return only_scale(unit, output, scale(0));
        }
    }
    true
}

fn scales(unit: &mut [u8], output: usize, scale: f16, minimum: f16) -> bool {
    unit[2 * output..2 * output + 2].copy_from_slice(&scale.to_le_bytes());
    unit[SCALES + 2 * output..SCALES + 2 * output + 2].copy_from_slice(&minimum.to_le_bytes());
    scale.is_finite() && minimum.is_finite()
}

fn only_scale(unit: &mut [u8], output: usize, scale: f16) -> bool {
    unit[2 * output..2 * output + 2].copy_from_slice(&scale.to_le_bytes());
    scale.is_finite()
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
fn k_quants(kind: TensorType, block: &[u8], unit: &mut [u8], output: usize) {
    let (packed, quants) = (&block[4..16], &block[16..]);
    let (highest, quants) = if kind == TensorType::Q5K { quants.split_at(32) } else { (&[][..], quants) };
    let size = if kind == TensorType::Q5K { BYTES_BLOCK } else { NIBBLES_BLOCK };
    for (index, place) in unit[2 * SCALES..].chunks_exact_mut(size).enumerate() {
        let (scale, minimum) = factors(packed, index);
        place[output] = scale;
        place[PANEL + output] = minimum;
        let vectors = &mut place[2 * PANEL..];
        let nibble = |input: usize| quants[index / 2 * 32 + input] >> (index % 2 * 4) & 0x0f;
        if kind == TensorType::Q5K {
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

/// Q3_K: 32 bytes with the highest bits of the quants, 64 with the lower two, twelve with sixteen factors of six bits, the
/// scale. For each 128 inputs, byte i of 32 holds the lower bits of i, i + 32, i + 64 and i + 96; bit j of byte i of the first
/// 32 belongs to input i of block j, and where it is not set, 4 is taken off.
fn three_bits(block: &[u8], unit: &mut [u8], output: usize) {
    let (highest, low, packed) = (&block[..32], &block[32..96], &block[96..108]);
    // The lower four bits of factor i are in byte i of eight, the upper two in byte i of four.
    let factor = |index: usize| {
        let low = packed[index % 8] >> (index / 8 * 4) & 0x0f;
        let high = packed[8 + index % 4] >> (index / 4 * 2) & 3;
        (low | high << 4).wrapping_sub(32)
    };
    for (index, place) in unit[SCALES..].chunks_exact_mut(BYTES_BLOCK).enumerate() {
        place[output] = factor(2 * index);
        place[PANEL + output] = factor(2 * index + 1);
        bytes(&mut place[2 * PANEL..], output, |input| {
            let low = low[index / 4 * 32 + input] >> (index % 4 * 2) & 3;
            let high = highest[input] >> index & 1;
            (low | high << 2).wrapping_sub(4) ^ 0x80
        });
    }
}

/// The number that four bits of sixteen bytes choose.
fn chosen(nibbles: &[u8], input: usize) -> u8 {
    let nibble = nibbles[input % 16] >> (input / 16 * 4) & 0x0f;
    CHOICE[usize::from(nibble)].cast_unsigned() ^ 0x80
}

/// IQ4_XS: the scale, two bytes with the upper two bits of eight factors, four with their lower four bits, then the choices.
fn chosen_by_eights(block: &[u8], unit: &mut [u8], output: usize) {
    let high = u16::from_le_bytes([block[2], block[3]]);
    for (index, place) in unit[SCALES..].chunks_exact_mut(BYTES_BLOCK).enumerate() {
        let low = block[4 + index / 2] >> (index % 2 * 4) & 0x0f;
        let factor = (low | ((high >> (2 * index) & 3) as u8) << 4).wrapping_sub(32);
        place[output] = factor;
        place[PANEL + output] = factor;
        bytes(&mut place[2 * PANEL..], output, |input| chosen(&block[8 + 16 * index..], input));
    }
}
