//! An embedder's network as safetensors, through kernels of our own: BERT.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::encoder::{Company, Encoder};
use super::layout::{Layout, ModelConfig};
use super::pooling::Pooling;
use crate::model::{Interrupt, LoadError, RunError};
use crate::network::bert::{Bert, BertError, BertShape};

pub(super) struct BertEncoder {
    bert: Bert,
    pooling: Pooling,
}

impl BertEncoder {
    pub fn load(path: &Path, layout: &Layout, threads: usize) -> Result<BertEncoder, LoadError> {
        let shape = shape(&layout.config).map_err(|error| {
            LoadError(format!(
                "{}: {error}: or add the network as onnx/model.onnx",
                path.with_file_name("config.json").display()
            ))
        })?;
        Ok(BertEncoder { bert: Bert::load(path, shape, layout.max_tokens, threads)?, pooling: layout.pooling })
    }
}

/// The network's sizes, or what of it there are no kernels for.
fn shape(config: &ModelConfig) -> Result<BertShape, String> {
    let only = |name: &str, found: &str, known: &str| {
        let short: String = found.chars().take(40).collect();
        if found == known { Ok(()) } else { Err(format!("{name} is {short}; supported with safetensors is {known}")) }
    };
    only("model_type", &config.model_type, "bert")?;
    only("hidden_act", config.hidden_act.as_deref().unwrap_or("gelu"), "gelu")?;
    let positions = config.position_embedding_type.as_deref().unwrap_or("absolute");
    only("position_embedding_type", positions, "absolute")?;
    let needed = |name: &str, value: Option<usize>| value.ok_or_else(|| format!("has no {name}"));
    Ok(BertShape {
        vocabulary: config.vocab_size,
        positions: needed("max_position_embeddings", config.max_position_embeddings)?,
        types: needed("type_vocab_size", config.type_vocab_size)?,
        width: config.hidden_size,
        layers: needed("num_hidden_layers", config.num_hidden_layers)?,
        heads: needed("num_attention_heads", config.num_attention_heads)?,
        inner: needed("intermediate_size", config.intermediate_size)?,
        epsilon: config.layer_norm_eps.unwrap_or(1e-12) as f32,
    })
}

impl Encoder for BertEncoder {
    fn width(&self) -> usize {
        self.bert.shape().width
    }

    fn company(&self) -> Company {
        Company::Ragged
    }

    fn encode(&mut self, texts: &[&[u32]], vectors: &mut Vec<f32>) -> Result<(), RunError> {
        let (pooling, width) = (self.pooling, self.width());
        let result = self.bert.encode(texts, |tokens| {
            let begin = vectors.len();
            vectors.resize(begin + width, 0.0);
            pooling.pool(tokens, &mut vectors[begin..]);
        });
        result.map_err(|error| match error {
            BertError::Stopped => RunError::Interrupted,
            BertError::Length { .. } | BertError::Token { .. } => RunError::Input(error.to_string()),
        })
    }

    fn interrupt(&self) -> Arc<dyn Interrupt> {
        Arc::new(StopFlag(self.bert.stop().clone()))
    }
}

/// Looked at between layers.
struct StopFlag(Arc<AtomicBool>);

impl Interrupt for StopFlag {
    fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn reset(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
