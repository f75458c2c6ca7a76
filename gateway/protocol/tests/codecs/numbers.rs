//! JSON numbers against the standard library's exact parsers and against serde_json.

use half::{bf16, f16};
use proptest::prelude::*;

use weirgate_protocol::{Datatype, InferRequest, InferResponse, Shape, Tensor, v2};

use crate::support::{one_tensor, read, refusal};

/// Numbers as people and programs write them: any digits, points and exponents that JSON allows.
fn number_text() -> impl Strategy<Value = String> {
    "-?(0|[1-9][0-9]{0,21})(\\.[0-9]{1,24})?([eE][+-]?[0-9]{1,2})?"
}

/// Decimal texts at, and a hair beside, the middle of two neighbouring floats: where a second rounding shows.
fn near_middle() -> impl Strategy<Value = String> {
    (any::<u32>(), 0..5usize).prop_map(|(bits, side)| {
        let low = f32::from_bits(bits & 0x7FFF_FFFF);
        let high = f32::from_bits((bits & 0x7FFF_FFFF).saturating_add(1));
        let (low, high) = if high.is_finite() { (low, high) } else { (1.0, 1.0 + f32::EPSILON) };
        let middle = (f64::from(low) + f64::from(high)) / 2.0;
        match side {
            3 => return format!("{middle:.15e}"),
            4 => return format!("{middle:.17e}"),
            _ => {}
        }
        let middle = format!("{middle:.160}");
        let middle = middle.trim_end_matches('0');
        match side {
            0 => format!("{middle}0"),
            1 => format!("{middle}00000000001"),
            _ => format!("{}4999999999", &middle[..middle.len() - 1]),
        }
    })
}

fn f32s(text: &str) -> Option<f32> {
    text.parse().ok().filter(|value: &f32| value.is_finite())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn fp32_is_the_nearest(text in number_text()) {
        let padded = format!("[{text}]{}", " ".repeat(40));
        match f32s(&text) {
            Some(expected) => prop_assert_eq!(&read("FP32", "[1]", &padded)[..], &expected.to_le_bytes()[..]),
            None => prop_assert!(refusal(one_tensor("FP32", "[1]", &padded)).contains("within the range of FP32")),
        }
    }

    #[test]
    fn fp32_is_the_nearest_at_the_middle_of_two(text in near_middle()) {
        let Some(expected) = f32s(&text) else { return Ok(()) };
        prop_assert_eq!(&read("FP32", "[1]", &format!("[{text}]"))[..], &expected.to_le_bytes()[..]);
    }

    #[test]
    fn fp32_of_any_printed_float(bits in any::<u32>()) {
        let value = f32::from_bits(bits);
        prop_assume!(value.is_finite());
        for text in [format!("{value:?}"), format!("{value}"), format!("{:?}", f64::from(value)), format!("{value:e}")] {
            prop_assert_eq!(&read("FP32", "[1]", &format!("[{text}]"))[..], &value.to_le_bytes()[..], "{}", text);
        }
    }

    #[test]
    fn fp64_is_the_nearest(text in number_text(), bits in any::<u64>()) {
        let expected: f64 = text.parse().unwrap();
        prop_assert_eq!(&read("FP64", "[1]", &format!("[{text}]"))[..], &expected.to_le_bytes()[..]);
        let value = f64::from_bits(bits);
        prop_assume!(value.is_finite());
        prop_assert_eq!(&read("FP64", "[1]", &format!("[{value:?}]"))[..], &value.to_le_bytes()[..]);
    }

    #[test]
    fn fp16_is_the_nearest(bits in any::<u16>(), nudge in -3i64..=3) {
        let value = f16::from_bits(bits & 0x7BFF);
        let above = f16::from_bits((bits & 0x7BFF) + 1);
        prop_assume!(above.is_finite());
        // The middle of two neighbours, and the doubles beside it.
        let middle = (value.to_f64() + above.to_f64()) / 2.0;
        let number = f64::from_bits(middle.to_bits().wrapping_add_signed(nudge));
        let expected = match nudge {
            0 if bits & 1 == 0 => value,
            0 => above,
            1.. => above,
            _ => value,
        };
        let data = read("FP16", "[1]", &format!("[{number:?}]"));
        prop_assert_eq!(f16::from_le_bytes(data[..].try_into().unwrap()), expected);
    }

    #[test]
    fn bf16_is_the_nearest(bits in any::<u16>(), nudge in -3i64..=3) {
        let bits = bits & 0x7F7F;
        let (value, above) = (bf16::from_bits(bits), bf16::from_bits(bits + 1));
        prop_assume!(above.is_finite());
        let middle = (value.to_f64() + above.to_f64()) / 2.0;
        let number = f64::from_bits(middle.to_bits().wrapping_add_signed(nudge));
        let expected = if nudge > 0 || (nudge == 0 && bits & 1 == 1) { above } else { value };
        let data = read("BF16", "[1]", &format!("[{number:?}]"));
        prop_assert_eq!(bf16::from_le_bytes(data[..].try_into().unwrap()), expected);
    }

    #[test]
    fn integers_are_exact(value in any::<i64>(), unsigned in any::<u64>(), digits in 0usize..6) {
        let zeros = "0".repeat(digits);
        for text in [format!("{value}"), format!("{value}.0{zeros}"), format!("{value}{zeros}e-{digits}")] {
            prop_assert_eq!(&read("INT64", "[1]", &format!("[{text}]"))[..], &value.to_le_bytes()[..], "{}", text);
        }
        prop_assert_eq!(&read("UINT64", "[1]", &format!("[{unsigned}]"))[..], &unsigned.to_le_bytes()[..]);
        let fits = i16::try_from(value >> 46).ok();
        let body = one_tensor("INT16", "[1]", &format!("[{}]", value >> 46));
        prop_assert_eq!(weirgate_protocol::v2::decode_request(&body, None).is_ok(), fits.is_some());
    }

    #[test]
    fn an_integer_tensor_takes_only_whole_numbers(text in number_text()) {
        let body = one_tensor("INT64", "[1]", &format!("[{text}]"));
        let read = weirgate_protocol::v2::decode_request(&body, None).ok();
        let read = read.map(|request| i64::from_le_bytes(request.inputs[0].data[..].try_into().unwrap()));
        prop_assert_eq!(read, exact_integer(&text), "{}", text);
    }

    #[test]
    fn what_is_a_number_here_is_one_for_serde_json(text in "[-+.eE0-9]{1,12}") {
        let body = one_tensor("FP64", "[1]", &format!("[{text}]"));
        let ours = weirgate_protocol::v2::decode_request(&body, None);
        match serde_json::from_str::<f64>(&text) {
            Ok(_) => prop_assert!(ours.is_ok(), "{}: {:?}", text, ours),
            Err(_) => prop_assert!(ours.is_err(), "{}", text),
        }
    }
}

/// The integer that a decimal text is, by moving its point as text.
fn exact_integer(text: &str) -> Option<i64> {
    const ROOM: usize = 100;
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let sign = if mantissa.starts_with('-') { "-" } else { "" };
    let (whole, fraction) = mantissa.trim_start_matches('-').split_once('.').unwrap_or((&mantissa[sign.len()..], ""));
    let zeros = "0".repeat(ROOM);
    let point = (ROOM + whole.len()).checked_add_signed(exponent.parse().ok()?)?;
    let digits = format!("{zeros}{whole}{fraction}{zeros}");
    let (whole, fraction) = digits.split_at(point);
    let exact = fraction.bytes().all(|digit| digit == b'0');
    let whole = whole.trim_start_matches('0');
    if whole.is_empty() { exact.then_some(0) } else { format!("{sign}{whole}").parse().ok().filter(|_| exact) }
}

#[test]
fn the_ends_of_the_integers() {
    assert_eq!(&read("UINT64", "[2]", "[18446744073709551615,0]")[..8], u64::MAX.to_le_bytes());
    assert_eq!(&read("INT64", "[2]", "[-9223372036854775808, 9223372036854775807]")[..8], i64::MIN.to_le_bytes());
    assert_eq!(&read("INT8", "[4]", "[-128,127,1.0,1e1]")[..], [0x80, 127, 1, 10]);
    for (datatype, text) in [("UINT64", "18446744073709551616"), ("INT64", "9223372036854775808"), ("INT8", "128")] {
        let refused = refusal(one_tensor(datatype, "[1]", &format!("[{text}]")));
        assert!(refused.contains(&format!("for {datatype}, found {text}")), "{refused}");
    }
}

#[test]
fn zero_has_a_sign_where_it_can() {
    assert_eq!(&read("FP32", "[2]", "[-0.0, -0]")[..], [(-0.0f32).to_le_bytes(), (-0.0f32).to_le_bytes()].concat());
    assert_eq!(&read("INT32", "[1]", "[-0]")[..], [0; 4]);
}

/// Every FP16 and BF16 there is: finite ones read back bit for bit, the others are refused both ways.
#[test]
fn all_65536_halves_are_exact_or_refused() {
    for datatype in [Datatype::Fp16, Datatype::Bf16] {
        let is_finite = |bits: u16| match datatype {
            Datatype::Fp16 => f16::from_bits(bits).is_finite(),
            _ => bf16::from_bits(bits).is_finite(),
        };
        let tensor = |bits: &[u16]| {
            let data: Vec<u8> = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
            Tensor::new("x", datatype, Shape::from_slice(&[bits.len()]), data.into()).unwrap()
        };
        let (numbers, others): (Vec<u16>, Vec<u16>) = (0..=u16::MAX).partition(|&bits| is_finite(bits));
        assert_eq!(numbers.len() + others.len(), 1 << 16);
        let request = InferRequest { inputs: vec![tensor(&numbers)], ..Default::default() };
        let body = v2::encode_request(&request, false).unwrap().into_bytes();
        assert_eq!(v2::decode_request(&body, None).unwrap(), request, "{datatype}");
        for bits in others {
            let response = InferResponse { outputs: vec![tensor(&[bits])], ..Default::default() };
            let refused = v2::encode_response(&response, &InferRequest::default()).unwrap_err();
            assert!(refused.message().contains("ask for it in binary"), "{refused}");
        }
        for text in ["NaN", "Infinity", "-Infinity"] {
            let refused = refusal(one_tensor(datatype.name(), "[1]", &format!("[{text}]")));
            assert!(refused.contains("send the tensor in binary"), "{refused}");
        }
    }
    let largest = bf16::MAX.to_f64();
    assert_eq!(read("BF16", "[1]", &format!("[{largest:?}]")), bf16::MAX.to_le_bytes()[..]);
    assert!(refusal(one_tensor("BF16", "[1]", "[3.4e38]")).contains("within the range of BF16"));
}
