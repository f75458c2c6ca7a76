//! An embedder that is loaded.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bert_encoder::BertEncoder;
use super::encoder::{Company, Encoder};
use super::files::Files;
use super::layout::{Backend, Layout, Matryoshka, Weights};
use super::onnx_encoder::OnnxEncoder;
use super::pooling::{Pooling, normalise};
use super::tokenizer::{self, EmbedTokenizer, TokenizerOptions};
use crate::model::{Interrupt, LoadError, RunError};

/// More threads would be a slip.
const MOST_THREADS: usize = 1 << 12;

/// How an embedder is loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EmbedderOptions {
    /// Threads that compute, the calling one among them; 0 is 1.
    pub threads: usize,
    pub backend: Backend,
    /// In place of what the folder says.
    pub pooling: Option<Pooling>,
    /// Whether vectors are brought to length 1, in place of what the folder says.
    pub normalise: Option<bool>,
    /// Most tokens of a text, where that is less than the model's own limit.
    pub max_tokens: Option<usize>,
    /// Where the folder and what its links lead to may lie; anywhere where there are none.
    pub roots: Vec<PathBuf>,
}

/// What is to be known of an embedder.
#[derive(Clone, Debug)]
pub struct EmbedderSpec {
    /// Values of a vector.
    pub dimensions: usize,
    pub vocabulary: usize,
    /// Most tokens of a text, with those that begin and end it.
    pub max_tokens: usize,
    pub company: Company,
    pub pooling: Pooling,
    /// Vectors have length 1.
    pub normalised: bool,
    /// Which shorter vectors it has.
    pub matryoshka: Matryoshka,
    pub weights: Weights,
}

/// Tokens to vectors. One thread owns it; only [`Interrupt`] may be used from others.
pub struct Embedder {
    encoder: Box<dyn Encoder>,
    spec: EmbedderSpec,
    tokenizer: Arc<EmbedTokenizer>,
    vectors: Vec<f32>,
}

impl Embedder {
    /// Loads a folder as Hugging Face and sentence-transformers lay it out; see [`super`] for what is read of it.
    pub fn load(folder: &Path, options: &EmbedderOptions) -> Result<Embedder, LoadError> {
        let files = Files::new(folder, &options.roots)?;
        let mut layout = Layout::read(&files, options.backend)?;
        layout.pooling = options.pooling.unwrap_or(layout.pooling);
        layout.normalises = options.normalise.unwrap_or(layout.normalises);
        if let Some(most) = options.max_tokens {
            if most > layout.max_tokens {
                let limit = layout.max_tokens;
                return Err(LoadError(format!(
                    "{}: {most} tokens of a text are asked for, and the model's limit is {limit}",
                    folder.display()
                )));
            }
            layout.max_tokens = most;
        }
        let tokenizer = read_tokenizer(&files, &layout)?;
        let vocabulary = layout.config.vocab_size;
        if tokenizer.largest_id() as usize >= vocabulary {
            let text = format!("has the id {}, and config.json a vocab_size of {vocabulary}", tokenizer.largest_id());
            return Err(files.refuse("tokenizer.json", text));
        }
        let threads = options.threads.max(1);
        if threads > MOST_THREADS {
            let folder = folder.display();
            return Err(LoadError(format!("{folder}: {threads} threads are asked for, the limit is {MOST_THREADS}")));
        }
        let encoder: Box<dyn Encoder> = match &layout.weights {
            Weights::Onnx(path) => Box::new(OnnxEncoder::load(path, &layout, threads)?),
            Weights::Safetensors(path) => Box::new(BertEncoder::load(path, &layout, threads)?),
        };
        let spec = EmbedderSpec {
            dimensions: encoder.width(),
            vocabulary,
            max_tokens: layout.max_tokens,
            company: encoder.company(),
            pooling: layout.pooling,
            normalised: layout.normalises,
            matryoshka: layout.matryoshka,
            weights: layout.weights,
        };
        Ok(Embedder { encoder, spec, tokenizer: Arc::new(tokenizer), vectors: Vec::new() })
    }

    pub fn spec(&self) -> &EmbedderSpec {
        &self.spec
    }

    /// Makes tokens of texts, on any thread.
    pub fn tokenizer(&self) -> &Arc<EmbedTokenizer> {
        &self.tokenizer
    }

    /// The vectors of some texts, one after the other. Every text has one to [`EmbedderSpec::max_tokens`] tokens, all of the
    /// vocabulary; what is not so is an error that is the caller's.
    pub fn embed(&mut self, texts: &[&[u32]]) -> Result<&[f32], RunError> {
        for (index, text) in texts.iter().enumerate() {
            self.spec.check(text).map_err(|error| RunError::Input(format!("text {index} {error}")))?;
        }
        self.vectors.clear();
        if texts.is_empty() {
            return Ok(&self.vectors);
        }
        self.encoder.encode(texts, &mut self.vectors)?;
        for vector in self.vectors.chunks_exact_mut(self.spec.dimensions) {
            if vector.iter().any(|value| !value.is_finite()) {
                return Err(RunError::Engine("the network gave a value that is no number".to_owned()));
            }
            if self.spec.normalised {
                normalise(vector);
            }
        }
        Ok(&self.vectors)
    }

    /// Stops a run from another thread.
    pub fn interrupt(&self) -> Arc<dyn Interrupt> {
        self.encoder.interrupt()
    }
}

impl EmbedderSpec {
    /// Whether a text can be embedded; else what is wrong with it.
    pub fn check(&self, text: &[u32]) -> Result<(), String> {
        if text.is_empty() {
            return Err("has no tokens; it needs at least 1".to_owned());
        }
        if text.len() > self.max_tokens {
            let (tokens, limit) = (text.len(), self.max_tokens);
            return Err(format!(
                "has {tokens} tokens, and the model takes {limit}; shorten it, or ask for it to be truncated"
            ));
        }
        match text.iter().find(|&&id| id as usize >= self.vocabulary) {
            Some(id) => Err(format!("has token {id}, and the vocabulary has {}; ids start from 0", self.vocabulary)),
            None => Ok(()),
        }
    }

    /// Whether the first `dimensions` values of a vector are one for themselves; else what is wrong with asking for them.
    pub fn check_dimensions(&self, dimensions: usize) -> Result<(), String> {
        let whole = self.dimensions;
        if dimensions == whole {
            return Ok(());
        }
        if dimensions == 0 || dimensions > whole {
            return Err(format!("{dimensions} dimensions are asked for, and the model has 1 to {whole}"));
        }
        match &self.matryoshka {
            Matryoshka::Any => Ok(()),
            Matryoshka::These(known) if known.contains(&dimensions) => Ok(()),
            Matryoshka::These(known) => {
                let known: Vec<String> = known.iter().take(32).map(usize::to_string).collect();
                Err(format!(
                    "{dimensions} dimensions are asked for, and the model was trained for {}",
                    known.join(", ")
                ))
            }
            Matryoshka::No => Err(format!(
                "{dimensions} dimensions are asked for, and the model has {whole}: it does not say that it was trained for fewer \
                 (is_matryoshka or matryoshka_dimensions in config.json)"
            )),
        }
    }

    /// Cuts a vector to its first `dimensions` values, and gives it the length that it had to have.
    pub fn cut(&self, vector: &mut Vec<f32>, dimensions: usize) {
        if dimensions < vector.len() {
            vector.truncate(dimensions);
            if self.normalised {
                normalise(vector);
            }
        }
    }
}

fn read_tokenizer(files: &Files<'_>, layout: &Layout) -> Result<EmbedTokenizer, LoadError> {
    let name = "tokenizer.json";
    let bytes = files.read(name, tokenizer::LARGEST)?.ok_or_else(|| files.missing(name))?;
    let options = TokenizerOptions {
        max_tokens: layout.max_tokens,
        lowercases: layout.lowercases,
        prompt: layout.prompt.clone(),
    };
    EmbedTokenizer::parse(&bytes, options).map_err(|error| files.refuse(name, error))
}
