//! The operations that the kernels are written in, once for every instruction set.
//!
//! Each operation acts on lanes alone: it is one IEEE operation, or exact in integers. A kernel written in them does the same
//! arithmetic in the same order whatever the width of a vector, so every instruction set gives the same bits.

/// Lanes of a panel: the outputs of a matrix, or the tokens of a cache tile, that are computed side by side.
pub const PANEL: usize = 16;

/// An instruction set. A value of it is proof that the processor has it.
///
/// # Safety
///
/// There is a value only where the processor has the instructions. Every function needs a processor that has the instructions of its set, and pointers that may be read (or written, for
/// `store`) for as many bytes as its comment says. No alignment is asked for.
pub unsafe trait Simd: Copy {
    /// 32-bit lanes of a vector: a divisor of [`PANEL`].
    const LANES: usize;
    /// Rows that a product takes at once, so that what it adds up stays in registers.
    const ROWS: usize;
    /// `LANES` floats.
    type F: Copy;
    /// `LANES` integers of 32 bits, or four times as many bytes.
    type I: Copy;

    unsafe fn splat(x: f32) -> Self::F;
    /// Reads `LANES` floats.
    unsafe fn load(p: *const f32) -> Self::F;
    /// Reads `LANES` floats of 16 bits.
    unsafe fn load_f16(p: *const u16) -> Self::F;
    /// Reads `LANES` brain floats of 16 bits.
    unsafe fn load_bf16(p: *const u16) -> Self::F;
    /// Reads `LANES` bytes, 0 to 255 each.
    unsafe fn load_u8(p: *const u8) -> Self::F;
    /// Reads `LANES` bytes, -128 to 127 each.
    unsafe fn load_i8(p: *const i8) -> Self::F;
    /// Writes `LANES` floats.
    unsafe fn store(p: *mut f32, x: Self::F);
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F;
    /// a × b + c, rounded once.
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F;

    unsafe fn zero() -> Self::I;
    /// Reads `4 × LANES` bytes.
    unsafe fn load_bytes(p: *const u8) -> Self::I;
    /// Reads four bytes, for every lane.
    unsafe fn splat_bytes(p: *const i8) -> Self::I;
    /// The lower and the upper halves of each byte.
    unsafe fn nibbles(x: Self::I) -> (Self::I, Self::I);
    /// Adds to each lane the products of its four bytes: `a` 0 to 127, `b` -127 to 127.
    unsafe fn dot(sum: Self::I, a: Self::I, b: Self::I) -> Self::I;
    /// What sums of [`Simd::dot_offset`] begin with. Reads one integer: -128 times the sum of all that `b` will be.
    unsafe fn start_offset(p: *const i32) -> Self::I;
    /// As [`Simd::dot`], of `a - 128`, for `a` 0 to 255.
    unsafe fn dot_offset(sum: Self::I, a: Self::I, b: Self::I) -> Self::I;
    unsafe fn to_float(x: Self::I) -> Self::F;
}
