//! The weights of a network: every tensor by its name in the file, of the shape that the hyper-parameters ask for.

use std::collections::HashSet;

use super::cpu::matrix::Matrix;
use super::cpu::pack::Type;
use super::error::NetworkError;
use super::file::Gguf;
use super::hyper::{Architecture, HyperParameters};

/// What weights are computed with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// As they are in the file. Rows that meet quantised weights are rounded to 8 bits.
    #[default]
    Stored,
    /// As 32-bit floats, for comparison: large and slow, without any rounding to 8 bits.
    Float32,
}

pub struct Weights {
    /// A row for each token of the vocabulary.
    pub embedding: Matrix,
    pub layers: Vec<Layer>,
    pub output_norm: Vec<f32>,
    /// `None` where the embedding serves as output too.
    output: Option<Matrix>,
    /// Divisors of the speeds of rotation.
    pub rope_divisors: Option<Vec<f32>>,
}

pub struct Layer {
    pub attention_norm: Vec<f32>,
    pub query: Matrix,
    pub key: Matrix,
    pub value: Matrix,
    /// Of queries, keys and values, one after the other; empty where there is none.
    pub bias: Vec<f32>,
    /// Of a head's queries, and keys.
    pub query_norm: Option<Vec<f32>>,
    pub key_norm: Option<Vec<f32>>,
    pub attention_output: Matrix,
    pub feed_forward_norm: Vec<f32>,
    pub gate: Matrix,
    pub up: Matrix,
    pub down: Matrix,
}

impl Weights {
    pub fn load(file: &mut Gguf, hyper: &HyperParameters, precision: Precision) -> Result<Weights, NetworkError> {
        let mut loader = Loader { file, hyper, precision, seen: HashSet::new() };
        let vocabulary = loader.vocabulary()?;
        let embedding = loader.matrix("token_embd.weight", vocabulary, hyper.width)?;
        let layers = (0..hyper.layers).map(|index| loader.layer(index)).collect::<Result<_, _>>()?;
        let output_norm = loader.vector("output_norm.weight", hyper.width)?;
        let has_output = loader.file.has("output.weight");
        let output = has_output.then(|| loader.matrix("output.weight", vocabulary, hyper.width)).transpose()?;
        let rope_divisors = loader.optional("rope_freqs.weight", hyper.rotated / 2)?;
        loader.all_known()?;
        Ok(Weights { embedding, layers, output_norm, output, rope_divisors })
    }

    pub fn vocabulary(&self) -> usize {
        self.embedding.outputs()
    }

    pub fn output(&self) -> &Matrix {
        self.output.as_ref().unwrap_or(&self.embedding)
    }

    /// Bytes of all matrices.
    pub fn bytes(&self) -> usize {
        let layers = self.layers.iter().flat_map(Layer::matrices).map(Matrix::bytes).sum::<usize>();
        self.embedding.bytes() + self.output.as_ref().map_or(0, Matrix::bytes) + layers
    }
}

impl Layer {
    pub fn matrices(&self) -> [&Matrix; 7] {
        [&self.query, &self.key, &self.value, &self.attention_output, &self.gate, &self.up, &self.down]
    }
}

struct Loader<'a> {
    file: &'a mut Gguf,
    hyper: &'a HyperParameters,
    precision: Precision,
    seen: HashSet<String>,
}

impl Loader<'_> {
    fn layer(&mut self, index: usize) -> Result<Layer, NetworkError> {
        let hyper = self.hyper;
        let (width, queries, keys) = (hyper.width, hyper.queries(), hyper.keys());
        let name = |part: &str| format!("blk.{index}.{part}");
        Ok(Layer {
            attention_norm: self.vector(&name("attn_norm.weight"), width)?,
            query: self.matrix(&name("attn_q.weight"), queries, width)?,
            key: self.matrix(&name("attn_k.weight"), keys, width)?,
            value: self.matrix(&name("attn_v.weight"), keys, width)?,
            bias: self.bias(index)?,
            query_norm: self.head_norm(&name("attn_q_norm.weight"))?,
            key_norm: self.head_norm(&name("attn_k_norm.weight"))?,
            attention_output: self.matrix(&name("attn_output.weight"), width, queries)?,
            feed_forward_norm: self.vector(&name("ffn_norm.weight"), width)?,
            gate: self.matrix(&name("ffn_gate.weight"), hyper.feed_forward, width)?,
            up: self.matrix(&name("ffn_up.weight"), hyper.feed_forward, width)?,
            down: self.matrix(&name("ffn_down.weight"), width, hyper.feed_forward)?,
        })
    }

    /// Biases of queries, keys and values: Qwen 2 has them all, and some networks of the llama family too.
    fn bias(&mut self, index: usize) -> Result<Vec<f32>, NetworkError> {
        let parts = [("q", self.hyper.queries()), ("k", self.hyper.keys()), ("v", self.hyper.keys())];
        let name = |part: &str| format!("blk.{index}.attn_{part}.bias");
        let any = parts.iter().any(|(part, _)| self.file.has(&name(part)));
        let mut bias = Vec::new();
        if any || self.hyper.architecture == Architecture::Qwen2 {
            for (part, length) in parts {
                bias.extend(self.vector(&name(part), length)?);
            }
        }
        Ok(bias)
    }

    fn head_norm(&mut self, name: &str) -> Result<Option<Vec<f32>>, NetworkError> {
        match self.hyper.architecture {
            Architecture::Qwen3 => self.vector(name, self.hyper.head).map(Some),
            Architecture::Llama | Architecture::Qwen2 => Ok(None),
        }
    }

    fn vocabulary(&mut self) -> Result<usize, NetworkError> {
        let name = "token_embd.weight";
        let expected = || format!("[vocabulary, {}]", self.hyper.width);
        match self.file.tensor(name) {
            None => Err(NetworkError::MissingTensor { name: name.to_owned(), expected: expected() }),
            Some((_, shape)) => match shape[..] {
                // Tokens are numbers of 32 bits.
                [vocabulary, _] if vocabulary > 0 && u32::try_from(vocabulary).is_ok() => Ok(vocabulary),
                _ => Err(NetworkError::Shape {
                    name: name.to_owned(),
                    found: format!("{shape:?}"),
                    expected: expected(),
                }),
            },
        }
    }

    /// A tensor's type and bytes.
    fn tensor(&mut self, name: &str, expected: &[usize]) -> Result<(Type, Vec<u8>), NetworkError> {
        let Some((kind, shape)) = self.file.tensor(name) else {
            return Err(NetworkError::MissingTensor { name: name.to_owned(), expected: format!("{expected:?}") });
        };
        if shape != expected {
            let (found, expected) = (format!("{shape:?}"), format!("{expected:?}"));
            return Err(NetworkError::Shape { name: name.to_owned(), found, expected });
        }
        let kind = kind?;
        self.seen.insert(name.to_owned());
        Ok((kind, self.file.read(name)?))
    }

    fn matrix(&mut self, name: &str, outputs: usize, inputs: usize) -> Result<Matrix, NetworkError> {
        let (kind, bytes) = self.tensor(name, &[outputs, inputs])?;
        let pack = |kind, bytes: &[u8]| {
            Matrix::pack(kind, outputs, inputs, bytes)
                .map_err(|error| NetworkError::Pack { name: name.to_owned(), error })
        };
        let matrix = pack(kind, &bytes)?;
        drop(bytes);
        match self.precision {
            Precision::Stored => Ok(matrix),
            Precision::Float32 => pack(Type::F32, &floats_of(&matrix)),
        }
    }

    fn vector(&mut self, name: &str, length: usize) -> Result<Vec<f32>, NetworkError> {
        match self.tensor(name, &[length])? {
            (Type::F32, bytes) => Ok(bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()),
            (other, _) => {
                let (found, known) = (format!("{other:?}"), "for a vector only F32");
                Err(NetworkError::Type { name: name.to_owned(), found, known })
            }
        }
    }

    fn optional(&mut self, name: &str, length: usize) -> Result<Option<Vec<f32>>, NetworkError> {
        if self.file.has(name) { self.vector(name, length).map(Some) } else { Ok(None) }
    }

    /// A tensor that is left over would have changed the answers.
    fn all_known(&self) -> Result<(), NetworkError> {
        match self.file.tensors().filter(|name| !self.seen.contains(*name)).min() {
            Some(name) => {
                Err(NetworkError::UnknownTensor { name: name.to_owned(), architecture: self.hyper.architecture.name() })
            }
            None => Ok(()),
        }
    }
}

fn floats_of(matrix: &Matrix) -> Vec<u8> {
    let mut row = vec![0.0; matrix.inputs()];
    let rows = (0..matrix.outputs()).flat_map(|output| {
        matrix.row(output, &mut row);
        row.iter().flat_map(|weight| weight.to_le_bytes()).collect::<Vec<_>>()
    });
    rows.collect()
}
