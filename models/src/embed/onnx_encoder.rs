//! An embedder's network as ONNX, through ONNX Runtime.
//!
//! Exports differ in what they take and give. Inputs are known by their names: `input_ids`, `attention_mask`, `token_type_ids`
//! (all of one type) and `position_ids`. Of the outputs `sentence_embedding` is taken where there is one, a vector for each
//! text; else `last_hidden_state` or `token_embeddings`, a vector for each token, which are pooled here.

use std::path::Path;
use std::sync::Arc;

use weirgate_protocol::tensor::raw_bytes;
use weirgate_protocol::{Datatype, Dim, Shape, Tensor, TensorSpec};

use super::encoder::{Company, Encoder};
use super::layout::Layout;
use super::pooling::Pooling;
use crate::model::{Interrupt, LoadError, Model, RunError};
use crate::onnx::{OnnxModel, OnnxOptions};

/// Outputs that are pooled already, and those that are not.
const POOLED: [&str; 1] = ["sentence_embedding"];
const TOKENS: [&str; 2] = ["last_hidden_state", "token_embeddings"];

/// Lengths of the two texts by which it is tried whether padding changes answers.
const SHORT: usize = 3;
const LONG: usize = 8;
/// Differences that come from adding in another order, as a share of the largest value; a mask that is not honoured shows in the
/// first digits.
const TOLERANCE: f32 = 1e-4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    Ids,
    Mask,
    /// Nought for each token: there is one text, not a pair of them.
    Types,
    /// Counted from 0.
    Positions,
}

pub(super) struct OnnxEncoder {
    model: OnnxModel,
    inputs: Vec<(Input, TensorSpec)>,
    output: usize,
    /// None where the output is pooled already.
    pooling: Option<Pooling>,
    width: usize,
    padding: u32,
    company: Company,
}

impl OnnxEncoder {
    pub fn load(path: &Path, layout: &Layout, threads: usize) -> Result<OnnxEncoder, LoadError> {
        let refuse = |text: String| LoadError(format!("{}: {text}", path.display()));
        let model = OnnxModel::load(path, None, OnnxOptions { intra_threads: threads })?;
        let spec = model.spec().clone();
        let inputs: Vec<_> = spec.inputs.iter().map(input).collect::<Result<_, _>>().map_err(refuse)?;
        if !inputs.iter().any(|(input, _)| *input == Input::Ids) {
            return Err(refuse("has no input input_ids, which an embedder needs".to_owned()));
        }
        let (output, pooled) = output(&spec.outputs).map_err(refuse)?;
        let given = &spec.outputs[output];
        let width = match given.shape.last() {
            Some(Dim::Fixed(width)) => *width,
            // Exports that don't say it have the network's own.
            _ => layout.config.hidden_size,
        };
        if !pooled && width != layout.config.hidden_size {
            let text = format!(
                "output '{}' has vectors of {width} values, and those of config.json have {}",
                given.name, layout.config.hidden_size
            );
            return Err(refuse(text));
        }
        let mut encoder = OnnxEncoder {
            model,
            inputs,
            output,
            pooling: (!pooled).then_some(layout.pooling),
            width,
            padding: layout.config.pad_token_id.unwrap_or(0),
            company: Company::Padded,
        };
        let most = layout.max_tokens;
        encoder.company = encoder
            .try_company(layout.config.vocab_size, most)
            .map_err(|error| refuse(format!("can't be run: {error}")))?;
        Ok(encoder)
    }

    /// Whether padding changes answers: found by trying, as a mask is but a hint.
    fn try_company(&mut self, vocabulary: usize, most: usize) -> Result<Company, RunError> {
        let ids = |length: usize| -> Vec<u32> { (0..length.min(most)).map(|id| (id % vocabulary) as u32).collect() };
        let (short, long) = (ids(SHORT), ids(LONG));
        let (mut apart, mut together) = (Vec::new(), Vec::new());
        self.encode(&[&short], &mut apart)?;
        self.encode(&[&long], &mut apart)?;
        if !self.inputs.iter().any(|(input, _)| *input == Input::Mask) {
            return Ok(Company::OneLength);
        }
        if self.encode(&[&short, &long], &mut together).is_err() {
            tracing::info!("the embedder could not be tried with padding: only texts of one length share a run");
            return Ok(Company::OneLength);
        }
        let largest = apart.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        let same = apart.iter().zip(&together).all(|(a, b)| (a - b).abs() <= TOLERANCE * largest);
        if !same {
            tracing::info!("padding changes the embedder's answers: only texts of one length share a run");
        }
        Ok(if same { Company::Padded } else { Company::OneLength })
    }

    fn tensor(&self, input: Input, spec: &TensorSpec, texts: &[&[u32]], longest: usize) -> Result<Tensor, RunError> {
        let value = |text: &[u32], at: usize| match (input, text.get(at)) {
            (Input::Ids, Some(&id)) => i64::from(id),
            (Input::Ids, None) => i64::from(self.padding),
            (Input::Mask, token) => i64::from(token.is_some()),
            (Input::Types, _) => 0,
            (Input::Positions, token) => token.map_or(0, |_| at as i64),
        };
        let values = texts.iter().flat_map(|text| (0..longest).map(move |at| value(text, at)));
        let data = match spec.datatype {
            Datatype::Int32 => raw_bytes(values.map(|value| value as i32).collect()),
            _ => raw_bytes(values.collect::<Vec<i64>>()),
        };
        Tensor::new(spec.name.clone(), spec.datatype, Shape::from_slice(&[texts.len(), longest]), data)
            .map_err(|error| RunError::Engine(error.message().to_owned()))
    }
}

impl Encoder for OnnxEncoder {
    fn width(&self) -> usize {
        self.width
    }

    fn company(&self) -> Company {
        self.company
    }

    fn encode(&mut self, texts: &[&[u32]], vectors: &mut Vec<f32>) -> Result<(), RunError> {
        let longest = texts.iter().map(|text| text.len()).max().unwrap_or(0);
        let inputs = self.inputs.iter().map(|(input, spec)| self.tensor(*input, spec, texts, longest));
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let outputs = self.model.run(&inputs, &[self.output])?;
        let Some(output) = outputs.first() else {
            return Err(RunError::Engine("the model gave no output".to_owned()));
        };
        let expected: &[usize] = match self.pooling {
            Some(_) => &[texts.len(), longest, self.width],
            None => &[texts.len(), self.width],
        };
        if output.shape.as_slice() != expected {
            let found = output.shape.as_slice();
            let text = format!("output '{}' has the shape {found:?}, and {expected:?} was expected", output.name);
            return Err(RunError::Engine(text));
        }
        let values: std::borrow::Cow<'_, [f32]> = match bytemuck::try_cast_slice(&output.data) {
            Ok(values) => values.into(),
            Err(_) => bytemuck::pod_collect_to_vec(&output.data).into(),
        };
        let Some(pooling) = self.pooling else {
            vectors.extend_from_slice(&values);
            return Ok(());
        };
        for (text, tokens) in texts.iter().zip(values.chunks_exact(longest * self.width)) {
            let begin = vectors.len();
            vectors.resize(begin + self.width, 0.0);
            pooling.pool(&tokens[..text.len() * self.width], &mut vectors[begin..]);
        }
        Ok(())
    }

    fn interrupt(&self) -> Arc<dyn Interrupt> {
        self.model.interrupt()
    }
}

fn input(spec: &TensorSpec) -> Result<(Input, TensorSpec), String> {
    let input = match &*spec.name {
        "input_ids" => Input::Ids,
        "attention_mask" => Input::Mask,
        "token_type_ids" => Input::Types,
        "position_ids" => Input::Positions,
        other => {
            return Err(format!(
                "has an input '{other}'; known are input_ids, attention_mask, token_type_ids and position_ids"
            ));
        }
    };
    if !matches!(spec.datatype, Datatype::Int64 | Datatype::Int32) {
        return Err(format!("input '{}' is {}; supported are INT64 and INT32", spec.name, spec.datatype));
    }
    match spec.shape.as_slice() {
        [Dim::Dynamic(_), Dim::Dynamic(_)] => Ok((input, spec.clone())),
        _ => Err(format!(
            "input '{}' has not two dimensions that are free, texts and tokens: export the model with dynamic axes",
            spec.name
        )),
    }
}

/// The output that is taken, and whether it is pooled.
fn output(outputs: &[TensorSpec]) -> Result<(usize, bool), String> {
    let find = |names: &[&str], dimensions: usize| {
        let fits = |spec: &TensorSpec| names.contains(&&*spec.name) && spec.shape.len() == dimensions;
        outputs.iter().position(fits)
    };
    let found = find(&POOLED, 2).map(|at| (at, true)).or_else(|| find(&TOKENS, 3).map(|at| (at, false)));
    let Some((at, pooled)) = found else {
        let names: Vec<&str> = outputs.iter().take(8).map(|spec| &*spec.name).collect();
        return Err(format!(
            "has the outputs {}; known are sentence_embedding, and last_hidden_state and token_embeddings of three dimensions",
            names.join(", ")
        ));
    };
    match outputs[at].datatype {
        Datatype::Fp32 => Ok((at, pooled)),
        other => Err(format!("output '{}' is {other}; supported is FP32", outputs[at].name)),
    }
}
