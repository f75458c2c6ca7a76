//! Random tensors of the shapes that a model takes.
//!
//! ```text
//! shapes  how large each is
//! values  what is in them
//! ```

mod shapes;
mod values;

use bytes::Bytes;
use weirgate_protocol::{InferRequest, Shape, Tensor, TensorSpec};

use self::values::Values;
use super::budget::MOST_BYTES;
use super::random::{Use, Words, rng};
use super::range::Bounds;

/// Draws requests for one model.
#[derive(Debug)]
pub struct RandomTensors {
    inputs: Vec<(TensorSpec, Shape, Values)>,
    seed: u64,
    words: Words,
}

impl RandomTensors {
    /// `rows` is the first dimension where the model leaves it open. `shapes` and `values` are what `--shape` and
    /// `--values` were given, as `NAME=1,128` and `NAME=0..100`.
    pub fn new(
        inputs: Vec<TensorSpec>,
        rows: usize,
        shapes: &[String],
        values: &[String],
        seed: u64,
    ) -> Result<RandomTensors, String> {
        let shapes = shapes::of(&inputs, rows, shapes)?;
        let values = values::of(&inputs, values)?;
        let inputs: Vec<_> =
            inputs.into_iter().zip(shapes).zip(values).map(|((spec, shape), values)| (spec, shape, values)).collect();
        let random = RandomTensors { inputs, seed, words: Words::new() };
        match random.bytes() {
            bytes if bytes > MOST_BYTES => Err(format!(
                "the tensors of one request take {} MiB, the limit is {} MiB: lower --rows or --shape",
                bytes >> 20,
                MOST_BYTES >> 20
            )),
            _ => Ok(random),
        }
    }

    /// About as many bytes as the raw tensors of one request take.
    pub fn bytes(&self) -> u64 {
        let bytes = |(spec, shape, _): &(TensorSpec, Shape, Values)| {
            let size = spec.datatype.size().unwrap_or(values::BYTES_ELEMENT) as u64;
            shape.iter().fold(size, |bytes, &dim| bytes.saturating_mul(dim as u64))
        };
        self.inputs.iter().map(bytes).fold(0, u64::saturating_add)
    }

    /// The inputs, in words: `ids [1, 128], attention_mask [1, 128] all 1`.
    pub fn what(&self) -> String {
        const SHOWN: usize = 8;
        let input = |(spec, shape, values): &(TensorSpec, Shape, Values)| match values {
            Values::All(value) => format!("{} {:?} all {value}", spec.name, &shape[..]),
            _ => format!("{} {:?}", spec.name, &shape[..]),
        };
        let mut inputs: Vec<_> = self.inputs.iter().take(SHOWN).map(input).collect();
        if self.inputs.len() > SHOWN {
            inputs.push(format!("and {} more", self.inputs.len() - SHOWN));
        }
        inputs.join(", ")
    }

    /// The request of this index; the same each time.
    pub fn request(&self, index: u64) -> Result<InferRequest, String> {
        let mut rng = rng(self.seed, Use::Values, 0, index);
        let mut inputs = Vec::with_capacity(self.inputs.len());
        for (spec, shape, values) in &self.inputs {
            let data = values.draw(spec.datatype, shape.iter().product(), &mut rng, &self.words)?;
            let tensor = Tensor::new(spec.name.clone(), spec.datatype, shape.clone(), Bytes::from(data));
            inputs.push(tensor.map_err(|error| error.to_string())?);
        }
        Ok(InferRequest { inputs, ..InferRequest::default() })
    }
}

/// What is wrong with `--shape` and `--values` whatever the model takes.
pub fn check(shapes: &[String], values: &[String]) -> Result<(), String> {
    shapes.iter().try_for_each(|text| shapes::parse(text, split("--shape", text)?.1).map(|_| ()))?;
    values.iter().try_for_each(|text| {
        let bounds = Bounds::parse(split("--values", text)?.1);
        bounds.map(|_| ()).map_err(|why| format!("--values {text}: {why}"))
    })
}

/// Splits `NAME=REST` at the last `=`. `flag` is named in errors.
fn split<'a>(flag: &str, text: &'a str) -> Result<(&'a str, &'a str), String> {
    text.rsplit_once('=')
        .ok_or_else(|| format!("{flag} '{text}' does not name an input: write it as NAME=..., the input's name first"))
}

/// Splits `NAME=REST` at the last `=` and finds the input of that name. `flag` is named in errors.
fn named<'a>(inputs: &[TensorSpec], flag: &str, text: &'a str) -> Result<(usize, &'a str), String> {
    let (name, rest) = split(flag, text)?;
    match inputs.iter().position(|spec| *spec.name == *name) {
        Some(index) => Ok((index, rest)),
        None => {
            let known: Vec<_> = inputs.iter().map(|spec| &*spec.name).collect();
            Err(format!("{flag} names '{name}', which is no input: the model takes {}", known.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use weirgate_protocol::{Datatype, Dim, ModelSpec, oip, v1, v2};

    use super::*;
    use crate::request::{Protocol, Request};

    fn spec(name: &str, datatype: Datatype, shape: &[i64]) -> TensorSpec {
        let dim = |&size: &i64| usize::try_from(size).map_or(Dim::Dynamic("".into()), Dim::Fixed);
        TensorSpec { name: name.into(), datatype, shape: shape.iter().map(dim).collect() }
    }

    #[test]
    fn one_seed_gives_one_request_and_indices_differ() {
        let random = |seed| RandomTensors::new(vec![spec("x", Datatype::Fp32, &[-1, 16])], 2, &[], &[], seed).unwrap();
        let first = random(1).request(0).unwrap();
        assert_eq!(first.inputs[0].shape[..], [2, 16]);
        assert_eq!(first, random(1).request(0).unwrap());
        assert_ne!(first, random(1).request(1).unwrap());
        assert_ne!(first, random(2).request(0).unwrap());
    }

    #[test]
    fn masks_and_token_types_are_what_text_models_expect() {
        let open = |name| spec(name, Datatype::Int64, &[-1, 4]);
        let inputs = vec![open("input_ids"), open("attention_mask"), open("token_type_ids")];
        let random = RandomTensors::new(inputs.clone(), 1, &[], &[], 1).unwrap();
        assert_eq!(random.what(), "input_ids [1, 4], attention_mask [1, 4] all 1, token_type_ids [1, 4] all 0");
        let request = random.request(0).unwrap();
        let ints = |index: usize| -> Vec<i64> {
            request.inputs[index].data.chunks(8).map(|raw| i64::from_le_bytes(raw.try_into().unwrap())).collect()
        };
        assert_eq!((ints(1), ints(2)), (vec![1; 4], vec![0; 4]));
        let given = RandomTensors::new(inputs, 1, &[], &["attention_mask=0..1".to_owned()], 1).unwrap();
        assert_eq!(given.what(), "input_ids [1, 4], attention_mask [1, 4], token_type_ids [1, 4] all 0");
    }

    #[test]
    fn flags_that_fit_no_input_and_tensors_that_fit_no_memory_are_refused() {
        let new = |rows, shapes: &[&str], values: &[&str]| {
            let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
            let inputs = vec![spec("x", Datatype::Fp32, &[-1, 1024]), spec("y", Datatype::Bytes, &[-1])];
            RandomTensors::new(inputs, rows, &owned(shapes), &owned(values), 1).unwrap_err()
        };
        assert!(new(1, &["z=1"], &[]).contains("names 'z', which is no input: the model takes x, y"));
        assert!(new(1, &[], &["x"]).contains("--values 'x' does not name an input"));
        assert!(new(1 << 20, &[], &[]).contains("limit is 1024 MiB"));
        assert!(new(usize::MAX, &[], &[]).contains("limit is 1024 MiB"));
    }

    proptest! {
        #[test]
        fn every_protocol_carries_what_was_drawn(
            types in vec(proptest::sample::select(&Datatype::ALL[..]), 1..4),
            rows in 1usize..4,
            width in 1usize..5,
            seed: u64,
        ) {
            let inputs: Vec<_> = types
                .iter()
                .enumerate()
                .map(|(index, &datatype)| spec(&format!("in {index}"), datatype, &[-1, width as i64]))
                .collect();
            let random = RandomTensors::new(inputs.clone(), rows, &[], &[], seed).unwrap();
            let wanted = random.request(3).unwrap();
            for input in &wanted.inputs {
                prop_assert_eq!(&input.shape[..], [rows, width]);
            }

            let request = |protocol| Request::tensors(protocol, "m", wanted.clone()).unwrap();
            let json = v2::decode_request(&request(Protocol::V2).body, None).unwrap();
            prop_assert_eq!(&json.inputs, &wanted.inputs);

            let binary = request(Protocol::V2Binary);
            let length = binary.headers.get("inference-header-content-length").unwrap().to_str().unwrap();
            let read = v2::decode_request(&binary.body, Some(length)).unwrap();
            prop_assert!(read.binary_outputs);
            prop_assert_eq!(&read.inputs, &wanted.inputs);

            let message: oip::ModelInferRequest = prost::Message::decode(&request(Protocol::Grpc).body[5..]).unwrap();
            let (read, raw) = oip::decode_request(message).unwrap();
            prop_assert!(raw);
            prop_assert_eq!(&read.inputs, &wanted.inputs);

            let model = ModelSpec { version: None, platform: "test", inputs, outputs: vec![], pads: false };
            let (read, _) = v1::decode_request(&request(Protocol::V1).body, &model).unwrap();
            prop_assert_eq!(&read.inputs, &wanted.inputs);
        }
    }
}
