//! What is in random tensors.
//!
//! Floats lie between 0 and 1, as normalised pixels and probabilities do; integers between 0 and 100, which is within
//! every vocabulary; BYTES are a few words each. `--values` says otherwise. The masks and token types of text models are
//! all 1 and all 0, by the names that exports of transformers give them: random ones would ask for another amount of work.

use half::{bf16, f16};
use rand::RngExt;
use rand::rngs::StdRng;
use weirgate_protocol::tensor::push_bytes_element;
use weirgate_protocol::{Datatype, TensorSpec};

use super::named;
use crate::workload::random::Words;
use crate::workload::range::Bounds;

/// Words of a BYTES element.
const WORDS: usize = 8;
/// About as many bytes as a BYTES element takes.
pub const BYTES_ELEMENT: usize = 48;

/// Inputs that are all of one value, by name.
const ALL_ONE: [&str; 2] = ["attention_mask", "input_mask"];
const ALL_ZERO: [&str; 2] = ["token_type_ids", "segment_ids"];

/// What an input's elements are drawn from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Values {
    /// Between these, both included.
    Numbers(Bounds),
    /// Each this.
    All(u8),
    /// True and false.
    Bools,
    /// A few words each.
    Texts,
}

/// What each input holds, in their order. `given` are texts as `NAME=0..100`.
pub fn of(inputs: &[TensorSpec], given: &[String]) -> Result<Vec<Values>, String> {
    let mut values: Vec<_> = inputs.iter().map(usual).collect();
    for text in given {
        let (index, bounds) = named(inputs, "--values", text)?;
        values[index] = bounded(&inputs[index], bounds).map_err(|why| format!("--values {text}: {why}"))?;
    }
    Ok(values)
}

fn usual(input: &TensorSpec) -> Values {
    let numbers = |to| Values::Numbers(Bounds { from: 0.0, to });
    match input.datatype {
        Datatype::Bytes => Values::Texts,
        _ if ALL_ONE.contains(&&*input.name) => Values::All(1),
        _ if ALL_ZERO.contains(&&*input.name) => Values::All(0),
        Datatype::Bool => Values::Bools,
        Datatype::Fp16 | Datatype::Bf16 | Datatype::Fp32 | Datatype::Fp64 => numbers(1.0),
        _ => numbers(100.0),
    }
}

fn bounded(input: &TensorSpec, bounds: &str) -> Result<Values, String> {
    let bounds = Bounds::parse(bounds)?;
    let (from, to) = match input.datatype {
        Datatype::Bool | Datatype::Bytes => {
            return Err(format!("the input is {}, which has no bounds", input.datatype));
        }
        Datatype::Uint8 => (0.0, f64::from(u8::MAX)),
        Datatype::Uint16 => (0.0, f64::from(u16::MAX)),
        Datatype::Uint32 => (0.0, f64::from(u32::MAX)),
        Datatype::Uint64 => (0.0, WHOLE),
        Datatype::Int8 => (f64::from(i8::MIN), f64::from(i8::MAX)),
        Datatype::Int16 => (f64::from(i16::MIN), f64::from(i16::MAX)),
        Datatype::Int32 => (f64::from(i32::MIN), f64::from(i32::MAX)),
        Datatype::Int64 => (-WHOLE, WHOLE),
        Datatype::Fp16 => (f16::MIN.to_f64(), f16::MAX.to_f64()),
        Datatype::Bf16 => (bf16::MIN.to_f64(), bf16::MAX.to_f64()),
        Datatype::Fp32 => (f64::from(f32::MIN), f64::from(f32::MAX)),
        // Half of what there is, so that the distance between the bounds is a number, too.
        Datatype::Fp64 => (f64::MIN / 2.0, f64::MAX / 2.0),
    };
    if bounds.from < from || bounds.to > to {
        return Err(format!("the input is {}, and can hold {from:?} to {to:?}", input.datatype));
    }
    let floats = matches!(input.datatype, Datatype::Fp16 | Datatype::Bf16 | Datatype::Fp32 | Datatype::Fp64);
    if !floats && (bounds.from.fract() != 0.0 || bounds.to.fract() != 0.0) {
        return Err(format!("the input is {}: give whole numbers", input.datatype));
    }
    Ok(Values::Numbers(bounds))
}

/// The greatest bound of 64-bit integers: a flag's numbers are read as floats, which are exact up to here.
const WHOLE: f64 = (1u64 << 53) as f64;

impl Values {
    /// The raw form of so many elements.
    pub fn draw(&self, datatype: Datatype, count: usize, rng: &mut StdRng, words: &Words) -> Result<Vec<u8>, String> {
        let mut raw = Vec::with_capacity(count.saturating_mul(datatype.size().unwrap_or(BYTES_ELEMENT)));
        for _ in 0..count {
            match *self {
                Values::Texts => {
                    let mut text = String::new();
                    words.push(&mut text, rng, WORDS);
                    push_bytes_element(&mut raw, text.as_bytes()).map_err(|error| error.to_string())?;
                }
                Values::Bools => raw.push(rng.random_range(0..=1)),
                Values::All(value) => push(&mut raw, datatype, f64::from(value)),
                Values::Numbers(bounds) => push(&mut raw, datatype, number(datatype, bounds, rng)),
            }
        }
        Ok(raw)
    }
}

fn number(datatype: Datatype, bounds: Bounds, rng: &mut StdRng) -> f64 {
    match datatype {
        Datatype::Fp16 | Datatype::Bf16 | Datatype::Fp32 | Datatype::Fp64 => rng.random_range(bounds.from..=bounds.to),
        // Whole and within what floats hold exactly.
        _ => rng.random_range(bounds.from as i64..=bounds.to as i64) as f64,
    }
}

/// Appends a number that was checked to fit the datatype.
fn push(raw: &mut Vec<u8>, datatype: Datatype, value: f64) {
    match datatype {
        Datatype::Bool | Datatype::Uint8 => raw.push(value as u8),
        Datatype::Uint16 => raw.extend_from_slice(&(value as u16).to_le_bytes()),
        Datatype::Uint32 => raw.extend_from_slice(&(value as u32).to_le_bytes()),
        Datatype::Uint64 => raw.extend_from_slice(&(value as u64).to_le_bytes()),
        Datatype::Int8 => raw.extend_from_slice(&(value as i8).to_le_bytes()),
        Datatype::Int16 => raw.extend_from_slice(&(value as i16).to_le_bytes()),
        Datatype::Int32 => raw.extend_from_slice(&(value as i32).to_le_bytes()),
        Datatype::Int64 => raw.extend_from_slice(&(value as i64).to_le_bytes()),
        Datatype::Fp16 => raw.extend_from_slice(&f16::from_f64(value).to_le_bytes()),
        Datatype::Bf16 => raw.extend_from_slice(&bf16::from_f64(value).to_le_bytes()),
        Datatype::Fp32 => raw.extend_from_slice(&(value as f32).to_le_bytes()),
        Datatype::Fp64 => raw.extend_from_slice(&value.to_le_bytes()),
        // Texts are pushed where they are drawn.
        Datatype::Bytes => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::random::{Use, rng};

    fn input(datatype: Datatype) -> Vec<TensorSpec> {
        vec![TensorSpec { name: "x".into(), datatype, shape: vec![] }]
    }

    fn ints(given: &str) -> Vec<i32> {
        let values = of(&input(Datatype::Int32), &[given.to_owned()]).unwrap()[0];
        let raw = values.draw(Datatype::Int32, 500, &mut rng(1, Use::Values, 0, 0), &Words::new()).unwrap();
        raw.chunks(4).map(|raw| i32::from_le_bytes(raw.try_into().unwrap())).collect()
    }

    #[test]
    fn integers_reach_both_bounds_and_pass_neither() {
        let drawn = ints("x=-2..3");
        assert_eq!((drawn.iter().min(), drawn.iter().max()), (Some(&-2), Some(&3)));
        assert_eq!(ints("x=7..7"), [7; 500]);
    }

    #[test]
    fn floats_stay_within_what_was_asked() {
        let values = of(&input(Datatype::Fp16), &["x=-60000..60000".to_owned()]).unwrap()[0];
        let raw = values.draw(Datatype::Fp16, 500, &mut rng(1, Use::Values, 0, 0), &Words::new()).unwrap();
        let drawn: Vec<_> = raw.chunks(2).map(|raw| f16::from_le_bytes(raw.try_into().unwrap())).collect();
        assert!(drawn.iter().all(|value| value.is_finite()));
        assert!(
            drawn.iter().any(|value| value.to_f32() < -1000.0) && drawn.iter().any(|value| value.to_f32() > 1000.0)
        );
    }

    #[test]
    fn bounds_that_the_datatype_can_not_hold_are_refused() {
        for (datatype, given, part) in [
            (Datatype::Uint8, "x=0..256", "can hold 0.0 to 255.0"),
            (Datatype::Int8, "x=-129..0", "can hold -128.0"),
            (Datatype::Fp16, "x=0..70000", "is FP16"),
            (Datatype::Int64, "x=0..0.5", "whole numbers"),
            (Datatype::Bool, "x=0..1", "no bounds"),
            (Datatype::Bytes, "x=0..1", "no bounds"),
            (Datatype::Fp32, "x=5", "is not a range"),
        ] {
            let error = of(&input(datatype), &[given.to_owned()]).unwrap_err();
            assert!(error.starts_with("--values x=") && error.contains(part), "{datatype}: {error}");
        }
    }
}
