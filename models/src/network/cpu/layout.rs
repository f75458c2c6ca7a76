//! How weights lie in memory: panels of sixteen outputs, so that one vector holds four inputs' weights of each of them.
//!
//! A panel is a row of units, a unit holds some inputs (32 or 256) of the panel's sixteen outputs. Scales and quants stay what
//! they are in the file: packing only moves them, so it adds no error.

use half::f16;

use super::simd::PANEL;

/// How a unit lies. Each comment gives the parts of a unit in their order; sixteen stands for the outputs. Quants come in
/// vectors of 64 bytes: four inputs in a row of output 0, then of output 1, and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// 32 inputs: 16 scales and 16 minima of 16 bits, 4 vectors that hold inputs 0 to 15 in their lower halves and 16 to 31 in
    /// their upper ones. A weight is scale × quant + minimum.
    Nibbles32,
    /// 32 inputs: 16 scales and 16 minima of 16 bits, 8 vectors.
    Bytes32,
    /// 32 inputs: 16 scales of 16 bits, 8 vectors of quants + 128.
    Offset32,
    /// 256 inputs: 16 scales and 16 minima of 16 bits, then for each 32 inputs 16 factors of the scales, 16 of the minima, and
    /// 4 vectors as in `Nibbles32`. A weight is scale × factor × quant − minimum × factor.
    Nibbles256,
    /// As `Nibbles256`, with 8 vectors.
    Bytes256,
    /// 256 inputs: 16 scales of 16 bits, then for each 32 inputs 16 signed factors for the first 16 of them, 16 for the others,
    /// and 8 vectors of quants + 128.
    Offset256,
    /// 32 inputs: 16 floats for each, of 32 bits, 16 bits, or brain floats of 16 bits.
    Float32,
    Float16,
    Brain16,
}

/// Bytes of a vector of quants.
const VECTOR: usize = 4 * PANEL;
/// Bytes of a panel's scales, in 16 bits each.
const SCALES: usize = 2 * PANEL;
/// Bytes of a block of 32 inputs in the layouts of 256.
pub const NIBBLES_BLOCK: usize = 2 * PANEL + 4 * VECTOR;
pub const BYTES_BLOCK: usize = 2 * PANEL + 8 * VECTOR;

impl Layout {
    /// Inputs of a unit.
    pub const fn inputs(self) -> usize {
        match self {
            Layout::Nibbles256 | Layout::Bytes256 | Layout::Offset256 => 256,
            _ => 32,
        }
    }

    /// Bytes of a unit.
    pub const fn bytes(self) -> usize {
        match self {
            Layout::Nibbles32 => 2 * SCALES + 4 * VECTOR,
            Layout::Bytes32 => 2 * SCALES + 8 * VECTOR,
            Layout::Offset32 => SCALES + 8 * VECTOR,
            Layout::Nibbles256 => 2 * SCALES + 8 * NIBBLES_BLOCK,
            Layout::Bytes256 => 2 * SCALES + 8 * BYTES_BLOCK,
            Layout::Offset256 => SCALES + 8 * BYTES_BLOCK,
            Layout::Float32 => 32 * PANEL * 4,
            Layout::Float16 | Layout::Brain16 => 32 * PANEL * 2,
        }
    }

    /// Whether it is multiplied with floats, rather than with rows in 8 bits.
    pub const fn is_float(self) -> bool {
        matches!(self, Layout::Float32 | Layout::Float16 | Layout::Brain16)
    }

    /// The weight of an output of the panel and an input of the unit.
    pub fn weight(self, unit: &[u8], output: usize, input: usize) -> f32 {
        let half = |at: usize| f16::from_le_bytes([unit[at], unit[at + 1]]).to_f32();
        let scale = half(2 * output);
        let minimum = || half(SCALES + 2 * output);
        let (block, within) = (input / 32, input % 32);
        match self {
            Layout::Nibbles32 => scale * nibble(&unit[2 * SCALES..], output, within) + minimum(),
            Layout::Bytes32 => scale * byte(&unit[2 * SCALES..], output, within) + minimum(),
            Layout::Offset32 => scale * (byte(&unit[SCALES..], output, within) - 128.0),
            Layout::Nibbles256 => {
                let block = &unit[2 * SCALES + block * NIBBLES_BLOCK..];
                let quant = nibble(&block[2 * PANEL..], output, within);
                scale * f32::from(block[output]) * quant - minimum() * f32::from(block[PANEL + output])
            }
            Layout::Bytes256 => {
                let block = &unit[2 * SCALES + block * BYTES_BLOCK..];
                let quant = byte(&block[2 * PANEL..], output, within);
                scale * f32::from(block[output]) * quant - minimum() * f32::from(block[PANEL + output])
            }
            Layout::Offset256 => {
                let block = &unit[SCALES + block * BYTES_BLOCK..];
                let factor = f32::from(block[within / 16 * PANEL + output].cast_signed());
                scale * factor * (byte(&block[2 * PANEL..], output, within) - 128.0)
            }
            Layout::Float32 => {
                let at = 4 * (input * PANEL + output);
                f32::from_le_bytes([unit[at], unit[at + 1], unit[at + 2], unit[at + 3]])
            }
            Layout::Float16 => half(2 * (input * PANEL + output)),
            Layout::Brain16 => {
                let at = 2 * (input * PANEL + output);
                half::bf16::from_le_bytes([unit[at], unit[at + 1]]).to_f32()
            }
        }
    }
}

fn byte(vectors: &[u8], output: usize, input: usize) -> f32 {
    f32::from(vectors[byte_at(output, input)])
}

fn nibble(vectors: &[u8], output: usize, input: usize) -> f32 {
    f32::from(vectors[byte_at(output, input % 16)] >> (input / 16 * 4) & 0x0f)
}

/// Where a quant lies among vectors of one quant a byte.
pub fn byte_at(output: usize, input: usize) -> usize {
    input / 4 * VECTOR + 4 * output + input % 4
}
