//! JSON numbers, read exactly: the nearest float, or the integer itself, or a refusal.

use half::f16;

/// A number as it is written: `±mantissa × 10^exponent`, as far as that fits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number<'a> {
    text: &'a [u8],
    negative: bool,
    /// The digits; meaningless unless `whole`.
    mantissa: u64,
    exponent: i64,
    /// Whether `mantissa` holds every digit.
    whole: bool,
}

/// Powers of ten that an `f64` holds exactly.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// Exponents beyond this are all the same: no type here comes near.
const MAX_EXPONENT: i64 = 1 << 40;

/// Any 19 digits fit a `u64`.
const MAX_DIGITS: usize = 19;

/// The number at the start of `text`, if there is one.
#[inline]
pub(super) fn scan(text: &[u8]) -> Option<Number<'_>> {
    let negative = text.first() == Some(&b'-');
    let mut at = usize::from(negative);
    let mut mantissa = 0;
    let first = at;
    digits(text, &mut at, &mut mantissa);
    let mut digit_count = at - first;
    if digit_count == 0 || (digit_count > 1 && text[first] == b'0') {
        return None;
    }
    let mut exponent = 0;
    if text.get(at) == Some(&b'.') {
        at += 1;
        let first = at;
        digits(text, &mut at, &mut mantissa);
        if at == first {
            return None;
        }
        digit_count += at - first;
        exponent = -((at - first) as i64);
    }
    if let Some(b'e' | b'E') = text.get(at) {
        exponent += written_exponent(text, &mut at)?;
    }
    Some(Number { text: &text[..at], negative, mantissa, exponent, whole: digit_count <= MAX_DIGITS })
}

/// Appends a run of digits to `mantissa`, which wraps when there are too many; the caller counts them.
#[inline]
fn digits(text: &[u8], at: &mut usize, mantissa: &mut u64) {
    while let Some(eight) = text[*at..].first_chunk::<8>().and_then(|chunk| eight_digits(*chunk)) {
        *mantissa = mantissa.wrapping_mul(100_000_000).wrapping_add(eight);
        *at += 8;
    }
    while let Some(digit) = text.get(*at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
        *mantissa = mantissa.wrapping_mul(10).wrapping_add(digit.into());
        *at += 1;
    }
}

/// The value of eight digits at once, or `None` where one of the bytes is something else.
#[inline]
fn eight_digits(chunk: [u8; 8]) -> Option<u64> {
    let bytes = u64::from_le_bytes(chunk);
    // A digit's high half is 3, and stays 3 when 6 is added.
    let high_halves =
        (bytes & 0xF0F0_F0F0_F0F0_F0F0) | ((bytes.wrapping_add(0x0606_0606_0606_0606) >> 4) & 0x0F0F_0F0F_0F0F_0F0F);
    if high_halves != 0x3333_3333_3333_3333 {
        return None;
    }
    // Neighbours join: eight digits, four pairs, two fours, one eight. The first byte is the highest digit.
    let ones = bytes & 0x0F0F_0F0F_0F0F_0F0F;
    let pairs = (ones.wrapping_mul(10 << 8 | 1) >> 8) & 0x00FF_00FF_00FF_00FF;
    let fours = (pairs.wrapping_mul(100 << 16 | 1) >> 16) & 0x0000_FFFF_0000_FFFF;
    Some(fours.wrapping_mul(10_000 << 32 | 1) >> 32)
}

fn written_exponent(text: &[u8], at: &mut usize) -> Option<i64> {
    *at += 1;
    let negative = text.get(*at) == Some(&b'-');
    *at += usize::from(matches!(text.get(*at), Some(b'-' | b'+')));
    let first = *at;
    let mut exponent = 0i64;
    while let Some(digit) = text.get(*at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
        exponent = (exponent * 10 + i64::from(digit)).min(MAX_EXPONENT);
        *at += 1;
    }
    (*at > first).then_some(if negative { -exponent } else { exponent })
}

impl<'a> Number<'a> {
    pub fn text(&self) -> &'a [u8] {
        self.text
    }

    fn sign<F: std::ops::Neg<Output = F>>(&self, value: F) -> F {
        if self.negative { -value } else { value }
    }

    /// The mantissa times its power of ten, each rounded at most once: off by less than two units in the last place.
    #[inline]
    fn close(&self) -> Option<f64> {
        let power = *EXACT_POWERS.get(usize::try_from(self.exponent.unsigned_abs()).ok()?)?;
        let mantissa = self.mantissa as f64;
        self.whole.then(|| if self.exponent < 0 { mantissa / power } else { mantissa * power })
    }

    /// The nearest `f32`, ties to even; `None` where that would be an infinity.
    ///
    /// Rounding an almost exact `f64` gives the nearest `f32` unless it lies at the middle between two of them, where
    /// the last error decides. Only there, and at the ends of the range, is the text read again.
    #[inline]
    pub fn to_f32(self) -> Option<f32> {
        const DROPPED: u64 = (1 << 29) - 1;
        const MIDDLE: u64 = 1 << 28;
        const DOUBT: u64 = 4;
        const SAFE: std::ops::Range<f64> = f32::MIN_POSITIVE as f64 * 2.0..f32::MAX as f64 / 2.0;
        if let Some(close) = self.close()
            && (SAFE.contains(&close) || self.mantissa == 0)
            && (close.to_bits() & DROPPED).abs_diff(MIDDLE) > DOUBT
        {
            return Some(self.sign(close as f32));
        }
        self.read_again()
    }

    /// The nearest `f64`, ties to even; `None` where that would be an infinity.
    #[inline]
    pub fn to_f64(self) -> Option<f64> {
        const EXACT: u64 = 1 << 53;
        // With both operands exact, the one operation rounds correctly.
        match self.close() {
            Some(close) if self.mantissa <= EXACT => Some(self.sign(close)),
            _ => self.read_again(),
        }
    }

    #[cold]
    fn read_again<F: fast_float2::FastFloat + Into<f64>>(&self) -> Option<F> {
        let value: F = fast_float2::parse(self.text).ok()?;
        value.into().is_finite().then_some(value)
    }

    /// The `f16` nearest to the nearest `f64`, ties to even; `None` where that would be an infinity.
    pub fn to_f16(self) -> Option<f16> {
        let exact = self.to_f64()?;
        // Rounding to odd keeps what a second rounding must know: that something was cut off.
        let mut single = exact as f32;
        if f64::from(single) != exact {
            let toward_zero = u32::from(f64::from(single).abs() > exact.abs());
            single = f32::from_bits((single.to_bits() - toward_zero) | 1);
        }
        let half = f16::from_f32(single);
        half.is_finite().then_some(half)
    }

    /// The integer this number is, however it is written; `None` where it has a fraction or 20 digits don't hold it.
    #[inline]
    pub fn to_integer(self) -> Option<i128> {
        let magnitude = if self.whole && self.exponent == 0 { self.mantissa } else { self.any_integer()? };
        Some(self.sign(i128::from(magnitude)))
    }

    #[cold]
    fn any_integer(&self) -> Option<u64> {
        let mut magnitude = 0u64;
        // Zeros count only once another digit follows, so that 1.000 and 1000e-3 are 1.
        let mut zeros = 0i64;
        let mantissa = self.text.iter().take_while(|byte| !matches!(byte, b'e' | b'E'));
        for digit in mantissa.filter(|byte| byte.is_ascii_digit()).map(|byte| u64::from(byte - b'0')) {
            if digit == 0 {
                zeros += i64::from(magnitude > 0);
                continue;
            }
            let shift = u32::try_from(zeros + 1).ok()?;
            let scale = if magnitude == 0 { 1 } else { 10u64.checked_pow(shift)? };
            magnitude = magnitude.checked_mul(scale)?.checked_add(digit)?;
            zeros = 0;
        }
        if magnitude == 0 {
            return Some(0);
        }
        let power = u32::try_from(self.exponent.checked_add(zeros)?).ok()?;
        magnitude.checked_mul(10u64.checked_pow(power)?)
    }
}
