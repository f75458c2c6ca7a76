//! Plain Rust, for processors without the others' instructions, and what the tests hold the others against.

use half::{bf16, f16};

use super::simd::Simd;

const LANES: usize = 4;

#[derive(Clone, Copy)]
pub struct Portable;

#[inline(always)]
unsafe fn lanes<T: Copy, U>(p: *const T, convert: impl Fn(T) -> U) -> [U; LANES] {
    std::array::from_fn(|lane| convert(unsafe { p.add(lane).read_unaligned() }))
}

#[inline(always)]
fn quads(sum: [i32; LANES], product: impl Fn(usize) -> i32) -> [i32; LANES] {
    std::array::from_fn(|lane| (0..4).fold(sum[lane], |sum, byte| sum + product(4 * lane + byte)))
}

// SAFETY: there are no special instructions, and no more is read or written than the trait says.
unsafe impl Simd for Portable {
    const LANES: usize = LANES;
    const ROWS: usize = 4;
    type F = [f32; LANES];
    type I = [u8; 4 * LANES];

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::F {
        [x; LANES]
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self::F {
        unsafe { lanes(p, |x| x) }
    }

    #[inline(always)]
    unsafe fn load_f16(p: *const u16) -> Self::F {
        unsafe { lanes(p, |x| f16::from_bits(x).to_f32()) }
    }

    #[inline(always)]
    unsafe fn load_bf16(p: *const u16) -> Self::F {
        unsafe { lanes(p, |x| bf16::from_bits(x).to_f32()) }
    }

    #[inline(always)]
    unsafe fn load_u8(p: *const u8) -> Self::F {
        unsafe { lanes(p, f32::from) }
    }

    #[inline(always)]
    unsafe fn load_i8(p: *const i8) -> Self::F {
        unsafe { lanes(p, f32::from) }
    }

    #[inline(always)]
    unsafe fn store(p: *mut f32, x: Self::F) {
        unsafe { p.cast::<Self::F>().write_unaligned(x) }
    }

    #[inline(always)]
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F {
        std::array::from_fn(|lane| a[lane] * b[lane])
    }

    #[inline(always)]
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        std::array::from_fn(|lane| a[lane].mul_add(b[lane], c[lane]))
    }

    #[inline(always)]
    unsafe fn zero() -> Self::I {
        [0; 4 * LANES]
    }

    #[inline(always)]
    unsafe fn load_bytes(p: *const u8) -> Self::I {
        unsafe { p.cast::<Self::I>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn splat_bytes(p: *const i8) -> Self::I {
        let four = unsafe { p.cast::<[u8; 4]>().read_unaligned() };
        std::array::from_fn(|byte| four[byte % 4])
    }

    #[inline(always)]
    unsafe fn nibbles(x: Self::I) -> (Self::I, Self::I) {
        (x.map(|byte| byte & 0x0f), x.map(|byte| byte >> 4))
    }

    #[inline(always)]
    unsafe fn dot(sum: Self::I, a: Self::I, b: Self::I) -> Self::I {
        bytemuck::cast(quads(bytemuck::cast(sum), |byte| i32::from(a[byte]) * i32::from(b[byte] as i8)))
    }

    #[inline(always)]
    unsafe fn start_offset(_: *const i32) -> Self::I {
        [0; 4 * LANES]
    }

    #[inline(always)]
    unsafe fn dot_offset(sum: Self::I, a: Self::I, b: Self::I) -> Self::I {
        let product = |byte: usize| (i32::from(a[byte]) - 128) * i32::from(b[byte] as i8);
        bytemuck::cast(quads(bytemuck::cast(sum), product))
    }

    #[inline(always)]
    unsafe fn to_float(x: Self::I) -> Self::F {
        bytemuck::cast::<Self::I, [i32; LANES]>(x).map(|x| x as f32)
    }
}
