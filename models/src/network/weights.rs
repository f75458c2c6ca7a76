//! The weights of a network: every tensor by its name in the file, of the shape that the hyper-parameters ask for.

use std::collections::HashSet;
use std::ops::ControlFlow;

use half::{bf16, f16};

use super::cpu::matrix::{Matrix, PackError};
use super::cpu::memory::Arena;
use crate::gguf::{GgufFile, HyperParameters, RopeScaling, TensorInfo, TensorType};
use crate::model::LoadError;

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

/// How far loading has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadProgress {
    /// Bytes of tensors that were read.
    pub bytes: u64,
    /// Of so many.
    pub total: u64,
}

impl Weights {
    /// Reads all tensors, some rows at a time, each to where it stays. `progress` is told of each tensor, and may end it.
    pub fn load(
        file: &GgufFile,
        hyper: &HyperParameters,
        precision: Precision,
        progress: &mut dyn FnMut(LoadProgress) -> ControlFlow<()>,
    ) -> Result<Weights, LoadError> {
        let total = file.tensors().iter().map(|tensor| tensor.bytes).sum();
        let read = LoadProgress { bytes: 0, total };
        let mut loader = Loader {
            file,
            hyper,
            precision,
            progress,
            read,
            seen: HashSet::new(),
            buffer: Vec::new(),
            arena: Arena::default(),
        };
        let embedding = loader.matrix("token_embd.weight", hyper.vocabulary, hyper.width)?;
        let layers = (0..hyper.layers).map(|index| loader.layer(index)).collect::<Result<_, _>>()?;
        let output_norm = loader.vector("output_norm.weight", hyper.width)?;
        let output = match hyper.tied_output {
            true => None,
            false => Some(loader.matrix("output.weight", hyper.vocabulary, hyper.width)?),
        };
        let rope_divisors = match hyper.rope_scaling {
            RopeScaling::Frequencies => Some(loader.vector("rope_freqs.weight", hyper.rope_dim / 2)?),
            RopeScaling::None | RopeScaling::Linear(_) => None,
        };
        loader.all_known()?;
        Ok(Weights { embedding, layers, output_norm, output, rope_divisors })
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
    file: &'a GgufFile,
    hyper: &'a HyperParameters,
    precision: Precision,
    progress: &'a mut dyn FnMut(LoadProgress) -> ControlFlow<()>,
    read: LoadProgress,
    seen: HashSet<&'a str>,
    /// Rows of a tensor, as they are in the file.
    buffer: Vec<u8>,
    arena: Arena,
}

/// Bytes that are read at once, where a row isn't larger.
const PIECE: usize = 1 << 20;

impl<'a> Loader<'a> {
    fn layer(&mut self, index: usize) -> Result<Layer, LoadError> {
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
    fn bias(&mut self, index: usize) -> Result<Vec<f32>, LoadError> {
        let mut bias = Vec::new();
        if self.hyper.qkv_biases {
            for (part, length) in [("q", self.hyper.queries()), ("k", self.hyper.keys()), ("v", self.hyper.keys())] {
                bias.extend(self.vector(&format!("blk.{index}.attn_{part}.bias"), length)?);
            }
        }
        Ok(bias)
    }

    fn head_norm(&mut self, name: &str) -> Result<Option<Vec<f32>>, LoadError> {
        self.hyper.qk_norms.then(|| self.vector(name, self.hyper.head_dim)).transpose()
    }

    /// A tensor of the shape that is asked for, the innermost dimension first.
    fn tensor(&mut self, name: &str, expected: &[usize]) -> Result<&'a TensorInfo, LoadError> {
        let Some(tensor) = self.file.tensor(name) else {
            return Err(self.file.refuse(format!("the tensor '{name}' is missing, of the shape {expected:?}")));
        };
        if tensor.shape != expected {
            let found = &tensor.shape;
            return Err(self
                .file
                .refuse(format!("the tensor '{name}' has the shape {found:?}, expected {expected:?}")));
        }
        self.seen.insert(&tensor.name);
        Ok(tensor)
    }

    fn matrix(&mut self, name: &str, outputs: usize, inputs: usize) -> Result<Matrix, LoadError> {
        let tensor = self.tensor(name, &[inputs, outputs])?;
        let refuse = |error: PackError| self.file.refuse(format!("the tensor '{name}' {error}"));
        let mut matrix = match self.precision {
            Precision::Stored => Matrix::empty(tensor.kind, outputs, inputs, &mut self.arena),
            // It is there for a moment alone, so it has an area of its own.
            Precision::Float32 => Matrix::empty(tensor.kind, outputs, inputs, &mut Arena::default()),
        }
        .map_err(refuse)?;
        let row = matrix.row_bytes(tensor.kind);
        let rows = (PIECE / row).max(1);
        for first in (0..outputs).step_by(rows) {
            let count = rows.min(outputs - first);
            self.buffer.resize(count * row, 0);
            self.file.read_part(tensor, (first * row) as u64, &mut self.buffer)?;
            matrix.fill(tensor.kind, first, &self.buffer).map_err(refuse)?;
        }
        if self.precision == Precision::Float32 {
            matrix = floats_of(&matrix, &mut self.arena).map_err(refuse)?;
        }
        self.done(tensor)?;
        Ok(matrix)
    }

    fn vector(&mut self, name: &str, length: usize) -> Result<Vec<f32>, LoadError> {
        let tensor = self.tensor(name, &[length])?;
        let bytes = self.file.read(tensor)?;
        let halves = || bytes.as_chunks::<2>().0.iter();
        let numbers: Vec<f32> = match tensor.kind {
            TensorType::F32 => bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
            TensorType::F16 => halves().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect(),
            TensorType::Bf16 => halves().map(|bytes| bf16::from_le_bytes(*bytes).to_f32()).collect(),
            other => {
                let found = other.name();
                let error =
                    format!("the tensor '{name}' is of type {found}, and of one row supported are F32, F16, BF16");
                return Err(self.file.refuse(error));
            }
        };
        if let Some(at) = numbers.iter().position(|number| !number.is_finite()) {
            return Err(self.file.refuse(format!("the tensor '{name}' has {} at {at}", numbers[at])));
        }
        self.done(tensor)?;
        Ok(numbers)
    }

    fn done(&mut self, tensor: &TensorInfo) -> Result<(), LoadError> {
        self.read.bytes += tensor.bytes;
        match (self.progress)(self.read) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(self.file.refuse("loading was stopped")),
        }
    }

    /// A tensor that is left over would have changed the answers.
    fn all_known(&self) -> Result<(), LoadError> {
        match self.file.tensors().iter().find(|tensor| !self.seen.contains(&*tensor.name)) {
            Some(TensorInfo { name, .. }) => Err(self.file.refuse(format!(
                "the tensor '{name}' is none that {} networks have, so without it answers would be wrong",
                self.hyper.architecture
            ))),
            None => Ok(()),
        }
    }
}

fn floats_of(matrix: &Matrix, arena: &mut Arena) -> Result<Matrix, PackError> {
    let mut floats = Matrix::empty(TensorType::F32, matrix.outputs(), matrix.inputs(), arena)?;
    let mut row = vec![0.0; matrix.inputs()];
    for output in 0..matrix.outputs() {
        matrix.row(output, &mut row);
        let bytes: Vec<u8> = row.iter().flat_map(|weight| weight.to_le_bytes()).collect();
        floats.fill(TensorType::F32, output, &bytes)?;
    }
    Ok(floats)
}
