//! JSON numbers, read exactly: the nearest float, or the integer itself, or a refusal.

use half::{bf16, f16};

/// A number as it is written: `±mantissa × 10^exponent`, as far as that fits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number<'a> {
    text: &'a [u8],
    negative: bool,
    /// The digits; meaningless unless `whole`.
    mantissa: u64,
    exponent: i64,
    /// Whether `mantissa` holds every digit.
    whole: bool,
}

/// The number at the start of `text` as `convert` has it, and its length; `None` where there is no number.
///
/// The conversion is passed in, and not done by the caller, to keep the common path's number in registers.
#[inline(always)]
pub(super) fn read<T>(text: &[u8], convert: impl Fn(Number<'_>) -> Option<T>) -> Option<(usize, Option<T>)> {
    if let Some(number) = scan_short(text) {
        return Some((number.text.len(), convert(number)));
    }
    scan_any(text).map(|number| (number.text.len(), convert(number)))
}

/// Powers of ten: those from 0 up are exact, the others the nearest.
const POWERS: [f64; 45] = [
    1e-22, 1e-21, 1e-20, 1e-19, 1e-18, 1e-17, 1e-16, 1e-15, 1e-14, 1e-13, 1e-12, 1e-11, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6,
    1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
    1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// The power of ten, if it is in the table.
#[inline]
fn power_of_ten(exponent: i64) -> Option<f64> {
    POWERS.get(usize::try_from(exponent + 22).ok()?).copied()
}

/// Exponents beyond this are all the same: no type here comes near.
const MAX_EXPONENT: i64 = 1 << 40;

/// Any 18 digits fit an `i64`.
const MAX_DIGITS: usize = 18;

/// Reads the numbers that most tensors are full of: no exponent, at most 18 digits, not at the body's very end.
///
/// How many digits a number has is as good as random, so that a loop over them costs about one mispredicted branch for
/// each number. Here eight digits at a time are counted and joined without a branch.
#[inline(always)]
fn scan_short(text: &[u8]) -> Option<Number<'_>> {
    let negative = *text.first()? == b'-';
    let first = usize::from(negative);
    let (mut mantissa, whole_digits) = digit_run(text.get(first..)?)?;
    if whole_digits == 0 || (whole_digits > 1 && text[first] == b'0') {
        return None;
    }
    let mut length = first + whole_digits;
    let mut digits = whole_digits;
    if text[length] == b'.' {
        let (fraction, fraction_digits) = digit_run(&text[length + 1..])?;
        digits += fraction_digits;
        if fraction_digits == 0 || digits > MAX_DIGITS {
            return None;
        }
        mantissa = mantissa * INTEGER_POWERS[fraction_digits] + fraction;
        length += 1 + fraction_digits;
    }
    if digits > MAX_DIGITS || matches!(text[length], b'e' | b'E') {
        return None;
    }
    let exponent = -((digits - whole_digits) as i64);
    Some(Number { text: &text[..length], negative, mantissa, exponent, whole: true })
}

/// The digits at the start of `text`: the number they stand for, and how many they are. That number is right up to 18
/// of them. `None` where the text ends within eight bytes of the last one.
#[inline(always)]
fn digit_run(text: &[u8]) -> Option<(u64, usize)> {
    let mut number = 0u64;
    let mut count = 0;
    loop {
        let word = digit_values(*text.get(count..)?.first_chunk()?);
        let here = leading_digits(word);
        number = number.wrapping_mul(INTEGER_POWERS[here]).wrapping_add(eight_digits(word, here));
        count += here;
        if here < 8 {
            return Some((number, count));
        }
    }
}

const INTEGER_POWERS: [u64; MAX_DIGITS + 1] = {
    let mut powers = [1; MAX_DIGITS + 1];
    let mut index = 1;
    while index < powers.len() {
        powers[index] = powers[index - 1] * 10;
        index += 1;
    }
    powers
};

/// Digits become 0 to 9, and every other byte something above.
#[inline(always)]
fn digit_values(bytes: [u8; 8]) -> u64 {
    u64::from_le_bytes(bytes) ^ every(0x30)
}

/// How many of the first bytes are digits.
#[inline(always)]
fn leading_digits(values: u64) -> usize {
    let others = (((values & every(0x7F)) + every(0x76)) | values) & every(0x80);
    others.trailing_zeros() as usize / 8
}

/// The number that the first `count` bytes stand for, the first byte being the highest digit.
#[inline(always)]
fn eight_digits(values: u64, count: usize) -> u64 {
    // Zeros before the digits, nothing behind them.
    let digits = values.checked_shl(64 - 8 * count as u32).unwrap_or(0);
    // Neighbours join: eight digits, four pairs, two fours, one eight.
    let pairs = (digits.wrapping_mul((10 << 8) | 1) >> 8) & 0x00FF_00FF_00FF_00FF;
    let fours = (pairs.wrapping_mul((100 << 16) | 1) >> 16) & 0x0000_FFFF_0000_FFFF;
    fours.wrapping_mul((10_000 << 32) | 1) >> 32
}

const fn every(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// Reads any number there can be.
#[inline(never)]
fn scan_any(text: &[u8]) -> Option<Number<'_>> {
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
fn digits(text: &[u8], at: &mut usize, mantissa: &mut u64) {
    while let Some(digit) = text.get(*at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
        *mantissa = mantissa.wrapping_mul(10).wrapping_add(digit.into());
        *at += 1;
    }
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

/// The number as an `f32`, rounded to odd: that keeps what a second rounding must know, that something was cut off.
fn odd_f32(exact: f64) -> f32 {
    let single = exact as f32;
    if f64::from(single) == exact {
        return single;
    }
    let toward_zero = u32::from(f64::from(single).abs() > exact.abs());
    f32::from_bits((single.to_bits() - toward_zero) | 1)
}

impl Number<'_> {
    fn sign<F: std::ops::Neg<Output = F>>(&self, value: F) -> F {
        if self.negative { -value } else { value }
    }

    /// The nearest `f32`, ties to even; `None` where that would be an infinity.
    ///
    /// Mantissa, power and product are each rounded once, so the product is off by less than four units in its last
    /// place. Rounding it to an `f32` is right unless it lies that near to the middle between two of them. Only there,
    /// and at the ends of the range, is the text read again.
    #[inline(always)]
    pub fn to_f32(self) -> Option<f32> {
        const DROPPED: u64 = (1 << 29) - 1;
        const MIDDLE: u64 = 1 << 28;
        const DOUBT: u64 = 4;
        const SAFE: std::ops::Range<f64> = f32::MIN_POSITIVE as f64 * 2.0..f32::MAX as f64 / 2.0;
        if self.whole
            && let Some(power) = power_of_ten(self.exponent)
        {
            let close = self.mantissa as i64 as f64 * power;
            let certain = (close.to_bits() & DROPPED).abs_diff(MIDDLE) > DOUBT;
            if certain && (SAFE.contains(&close) || self.mantissa == 0) {
                return Some(f32::from_bits((close as f32).to_bits() | u32::from(self.negative) << 31));
            }
        }
        self.read_again()
    }

    /// The nearest `f64`, ties to even; `None` where that would be an infinity.
    #[inline(always)]
    pub fn to_f64(self) -> Option<f64> {
        const EXACT: u64 = 1 << 53;
        // With both operands exact, the one operation rounds correctly.
        if self.whole
            && self.mantissa <= EXACT
            && let Some(power) = power_of_ten(self.exponent.abs())
        {
            let mantissa = self.mantissa as i64 as f64;
            let value = if self.exponent < 0 { mantissa / power } else { mantissa * power };
            return Some(self.sign(value));
        }
        self.read_again()
    }

    #[inline(never)]
    fn read_again<F: fast_float2::FastFloat + Into<f64>>(&self) -> Option<F> {
        let value: F = fast_float2::parse(self.text).ok()?;
        value.into().is_finite().then_some(value)
    }

    /// The `f16` nearest to the nearest `f64`, ties to even; `None` where that would be an infinity.
    pub fn to_f16(self) -> Option<f16> {
        let half = f16::from_f32(odd_f32(self.to_f64()?));
        half.is_finite().then_some(half)
    }

    /// The `bf16` nearest to the nearest `f64`, ties to even; `None` where that would be an infinity.
    pub fn to_bf16(self) -> Option<bf16> {
        let half = bf16::from_f32(odd_f32(self.to_f64()?));
        half.is_finite().then_some(half)
    }

    /// The integer this number is, however it is written; `None` where it has a fraction or 20 digits don't hold it.
    #[inline(always)]
    pub fn to_integer(self) -> Option<i128> {
        let magnitude = if self.whole && self.exponent == 0 { self.mantissa } else { self.any_integer()? };
        Some(self.sign(i128::from(magnitude)))
    }

    #[inline(never)]
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
