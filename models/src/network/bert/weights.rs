//! The weights of a BERT network, by their names in Hugging Face's files.

use std::collections::HashSet;

use super::super::cpu::matrix::Matrix;
use super::super::cpu::memory::Arena;
use super::BertShape;
use crate::gguf::TensorType;
use crate::model::LoadError;
use crate::safetensors::{Element, Safetensors};

/// A product's weights and what is added to its results.
pub struct Dense {
    pub matrix: Matrix,
    pub bias: Vec<f32>,
}

/// A norm's factors and what is added to its results.
pub struct LayerNorm {
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
}

pub struct Layer {
    pub query: Dense,
    pub key: Dense,
    pub value: Dense,
    pub attention_output: Dense,
    pub attention_norm: LayerNorm,
    pub inner: Dense,
    pub output: Dense,
    pub output_norm: LayerNorm,
}

pub struct Weights {
    /// A row for each token of the vocabulary.
    pub tokens: Vec<f32>,
    /// A row for each position, the first type's added.
    pub positions: Vec<f32>,
    pub norm: LayerNorm,
    pub layers: Vec<Layer>,
}

/// Tensors of heads that are put on a network for other uses, and numbers that are the positions' own.
const UNUSED: [&str; 3] = ["embeddings.position_ids", "pooler.", "cls."];

struct Loader<'a> {
    file: &'a Safetensors,
    shape: &'a BertShape,
    /// What all names begin with: a network with a head on it is a part of the whole.
    prefix: &'static str,
    seen: HashSet<String>,
    arena: Arena,
}

impl Weights {
    pub fn load(file: &Safetensors, shape: &BertShape) -> Result<Weights, LoadError> {
        let part = "bert.embeddings.word_embeddings.weight";
        let prefix = if file.has(part) { "bert." } else { "" };
        let mut loader = Loader { file, shape, prefix, seen: HashSet::new(), arena: Arena::default() };
        let width = shape.width;
        let tokens = loader.floats("embeddings.word_embeddings.weight", &[shape.vocabulary, width])?;
        let mut positions = loader.floats("embeddings.position_embeddings.weight", &[shape.positions, width])?;
        let types = loader.floats("embeddings.token_type_embeddings.weight", &[shape.types, width])?;
        for row in positions.chunks_exact_mut(width) {
            row.iter_mut().zip(&types[..width]).for_each(|(value, kind)| *value += kind);
        }
        let norm = loader.norm("embeddings.LayerNorm")?;
        let layers = (0..shape.layers).map(|index| loader.layer(index)).collect::<Result<_, _>>()?;
        loader.all_known()?;
        Ok(Weights { tokens, positions, norm, layers })
    }
}

impl Loader<'_> {
    fn name(&mut self, name: &str) -> String {
        let name = format!("{}{name}", self.prefix);
        self.seen.insert(name.clone());
        name
    }

    fn floats(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, LoadError> {
        let name = self.name(name);
        self.file.floats(&name, shape)
    }

    fn dense(&mut self, name: &str, outputs: usize, inputs: usize) -> Result<Dense, LoadError> {
        let bias = self.floats(&format!("{name}.bias"), &[outputs])?;
        let weight = self.name(&format!("{name}.weight"));
        let (element, bytes) = self.file.read(&weight, &[outputs, inputs])?;
        let kind = match element {
            Element::F32 => TensorType::F32,
            Element::F16 => TensorType::F16,
            Element::Bf16 => TensorType::Bf16,
        };
        let matrix = Matrix::empty(kind, outputs, inputs, &mut self.arena).and_then(|mut matrix| {
            matrix.fill(kind, 0, &bytes)?;
            Ok(matrix)
        });
        let matrix =
            matrix.map_err(|error| self.file.refuse(format!("the tensor '{weight}' can't be packed: {error}")))?;
        Ok(Dense { matrix, bias })
    }

    /// Old files have other names for the two.
    fn norm(&mut self, name: &str) -> Result<LayerNorm, LoadError> {
        let old = self.file.has(&format!("{}{name}.gamma", self.prefix));
        let (weight, bias) = if old { ("gamma", "beta") } else { ("weight", "bias") };
        let width = [self.shape.width];
        Ok(LayerNorm {
            weight: self.floats(&format!("{name}.{weight}"), &width)?,
            bias: self.floats(&format!("{name}.{bias}"), &width)?,
        })
    }

    fn layer(&mut self, index: usize) -> Result<Layer, LoadError> {
        let BertShape { width, inner, .. } = *self.shape;
        let name = |part: &str| format!("encoder.layer.{index}.{part}");
        Ok(Layer {
            query: self.dense(&name("attention.self.query"), width, width)?,
            key: self.dense(&name("attention.self.key"), width, width)?,
            value: self.dense(&name("attention.self.value"), width, width)?,
            attention_output: self.dense(&name("attention.output.dense"), width, width)?,
            attention_norm: self.norm(&name("attention.output.LayerNorm"))?,
            inner: self.dense(&name("intermediate.dense"), inner, width)?,
            output: self.dense(&name("output.dense"), width, inner)?,
            output_norm: self.norm(&name("output.LayerNorm"))?,
        })
    }

    /// A tensor that is left over would have changed the answers.
    fn all_known(&self) -> Result<(), LoadError> {
        let unused = |name: &str| {
            let own = name.strip_prefix(self.prefix).unwrap_or(name);
            UNUSED.iter().any(|unused| own.starts_with(unused) || name.starts_with(unused))
        };
        match self.file.names().filter(|name| !self.seen.contains(*name) && !unused(name)).min() {
            Some(name) => {
                let short: String = name.chars().take(80).collect();
                Err(self.file.refuse(format!(
                    "nothing is known of tensor '{short}' in a BERT network, so its answers would be wrong"
                )))
            }
            None => Ok(()),
        }
    }
}
