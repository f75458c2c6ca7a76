//! What a folder says of an embedder, as Hugging Face and sentence-transformers lay it out.
//!
//! | file                         | what is read of it                                                            |
//! |------------------------------|-------------------------------------------------------------------------------|
//! | `config.json`                | the network's family and sizes                                                |
//! | `tokenizer.json`             | tokens (`tokenizer_config.json`: how many, where nothing else says it)         |
//! | `modules.json`               | what happens to the vectors of tokens: pooling, then length 1                 |
//! | `1_Pooling/config.json`      | which pooling                                                                 |
//! | `sentence_bert_config.json`  | most tokens of a text, and whether it is brought to lower case                |
//! | `config_sentence_transformers.json` | a prompt that goes before each text                                    |
//! | `model.onnx`, `onnx/model.onnx`, `model.safetensors` | the weights                                           |
//!
//! Without `modules.json` the mean of the tokens' vectors is taken and brought to length 1, which is what KServe's Hugging Face
//! runtime does with every embedder. (Text Embeddings Inference refuses to start without a pooling that is chosen.)

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::files::Files;
use super::pooling::{self, Pooling, PoolingFile};
use crate::model::LoadError;

/// Which weights are loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// ONNX where there is such a file, else safetensors.
    #[default]
    Any,
    Onnx,
    Safetensors,
}

/// Where the weights are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Weights {
    Onnx(PathBuf),
    Safetensors(PathBuf),
}

/// Which shorter vectors a model was trained for: the first values of a vector are one for themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matryoshka {
    /// The model doesn't say that it was.
    No,
    Any,
    These(Vec<usize>),
}

/// An embedder's folder, read and checked.
#[derive(Clone, Debug)]
pub struct Layout {
    pub weights: Weights,
    pub pooling: Pooling,
    /// Vectors are brought to length 1.
    pub normalises: bool,
    /// Most tokens of a text, with those that begin and end it.
    pub max_tokens: usize,
    /// Texts are brought to lower case before all else.
    pub lowercases: bool,
    /// Goes before each text.
    pub prompt: String,
    pub matryoshka: Matryoshka,
    pub config: ModelConfig,
}

/// `config.json`, as far as embedders need it.
#[derive(Clone, Debug, Deserialize)]
pub struct ModelConfig {
    pub model_type: String,
    #[serde(alias = "dim", alias = "d_model")]
    pub hidden_size: usize,
    pub vocab_size: usize,
    pub max_position_embeddings: Option<usize>,
    #[serde(alias = "n_layers")]
    pub num_hidden_layers: Option<usize>,
    #[serde(alias = "n_heads")]
    pub num_attention_heads: Option<usize>,
    pub intermediate_size: Option<usize>,
    pub type_vocab_size: Option<usize>,
    pub layer_norm_eps: Option<f64>,
    pub hidden_act: Option<String>,
    pub position_embedding_type: Option<String>,
    pub pad_token_id: Option<u32>,
    #[serde(default)]
    is_matryoshka: bool,
    matryoshka_dimensions: Option<Vec<usize>>,
}

#[derive(Deserialize)]
struct Module {
    #[serde(rename = "type")]
    kind: String,
    path: String,
}

/// What `modules.json` makes of the vectors of tokens.
struct Head {
    pooling: PoolingFile,
    normalises: bool,
}

/// Where sentence-transformers puts what it knows of a network, by the network's family.
const SENTENCE_CONFIGS: [&str; 7] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

#[derive(Default, Deserialize)]
#[serde(default)]
struct SentenceConfig {
    max_seq_length: Option<usize>,
    do_lower_case: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TokenizerConfig {
    /// Files without a limit have 10 to the power of 30 here.
    model_max_length: Option<f64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Prompts {
    prompts: serde_json::Map<String, Value>,
    default_prompt_name: Option<String>,
}

impl Layout {
    pub fn read(files: &Files<'_>, backend: Backend) -> Result<Layout, LoadError> {
        let config: ModelConfig = files.needed("config.json")?;
        config.check(files)?;
        let head = Head::read(files)?;
        if let Some(width) = head.pooling.width.filter(|&width| width != config.hidden_size) {
            return Err(files.refuse(
                "modules.json",
                format!("pools vectors of {width} values, and those of config.json have {}", config.hidden_size),
            ));
        }
        let sentence = sentence_config(files)?;
        let prompt = prompt(files)?;
        if !prompt.is_empty() && !head.pooling.counts_prompt {
            return Err(files.refuse("modules.json", "leaves a prompt's tokens out of pooling, which is not supported"));
        }
        Ok(Layout {
            weights: weights(files, backend)?,
            pooling: head.pooling.pooling,
            normalises: head.normalises,
            max_tokens: max_tokens(files, &config, &sentence)?,
            lowercases: sentence.do_lower_case,
            prompt,
            matryoshka: config.matryoshka(),
            config,
        })
    }
}

impl ModelConfig {
    fn check(&self, files: &Files<'_>) -> Result<(), LoadError> {
        for (name, value) in [("hidden_size", self.hidden_size), ("vocab_size", self.vocab_size)] {
            if value == 0 || value > 1 << 24 {
                return Err(
                    files.refuse("config.json", format!("{name} is {value}, and has to be of 1 to {}", 1 << 24))
                );
            }
        }
        Ok(())
    }

    /// Positions that a text's tokens can have. Networks of the RoBERTa family number them from behind the padding's id.
    fn positions(&self) -> Option<usize> {
        let skipped = match self.model_type.as_str() {
            "roberta" | "xlm-roberta" | "camembert" | "mpnet" => self.pad_token_id.unwrap_or(1) as usize + 1,
            _ => 0,
        };
        self.max_position_embeddings.map(|positions| positions.saturating_sub(skipped))
    }

    fn matryoshka(&self) -> Matryoshka {
        match &self.matryoshka_dimensions {
            Some(dimensions) => Matryoshka::These(dimensions.clone()),
            None if self.is_matryoshka => Matryoshka::Any,
            None => Matryoshka::No,
        }
    }
}

impl Head {
    fn read(files: &Files<'_>) -> Result<Head, LoadError> {
        let Some(modules) = files.json::<Vec<Module>>("modules.json")? else {
            let pooling = match files.find("1_Pooling/config.json")? {
                Some(_) => pooling::read(files, "1_Pooling/config.json")?,
                None => PoolingFile { pooling: Pooling::default(), width: None, counts_prompt: true },
            };
            return Ok(Head { pooling, normalises: true });
        };
        let refuse = |text: String| Err(files.refuse("modules.json", text));
        let (mut pooling, mut normalises) = (None, false);
        for (index, Module { kind, path }) in modules.iter().enumerate() {
            let kind = kind.rsplit('.').next().unwrap_or_default();
            match kind {
                "Transformer" if index == 0 && path.is_empty() => {}
                "Transformer" => {
                    return refuse(format!(
                        "has module {index} of type Transformer in '{path}'; supported is one, first, in the folder itself"
                    ));
                }
                "Pooling" if pooling.is_none() && !normalises => {
                    pooling = Some(pooling::read(files, &format!("{}/config.json", files.part(path)?))?);
                }
                "Normalize" if pooling.is_some() => normalises = true,
                other => {
                    let short: String = other.chars().take(60).collect();
                    return refuse(format!(
                        "has module {index} of type {short} there, which is not supported; supported are Transformer, Pooling and Normalize, in this order"
                    ));
                }
            }
        }
        match pooling {
            Some(pooling) => Ok(Head { pooling, normalises }),
            None => refuse("has no module of type Pooling, and one is needed".to_owned()),
        }
    }
}

fn sentence_config(files: &Files<'_>) -> Result<SentenceConfig, LoadError> {
    for name in SENTENCE_CONFIGS {
        if let Some(config) = files.json(name)? {
            return Ok(config);
        }
    }
    Ok(SentenceConfig::default())
}

/// The least of what sentence-transformers' file, or else the tokenizer's, says, and what the network has positions for.
fn max_tokens(files: &Files<'_>, config: &ModelConfig, sentence: &SentenceConfig) -> Result<usize, LoadError> {
    let tokenizer: TokenizerConfig = files.json("tokenizer_config.json")?.unwrap_or_default();
    let tokenizer = tokenizer.model_max_length.filter(|&most| (1.0..1e9).contains(&most)).map(|most| most as usize);
    let said = sentence.max_seq_length.or(tokenizer);
    match said.into_iter().chain(config.positions()).min() {
        Some(0) => Err(files.refuse("config.json", "leaves no place for a token: max_position_embeddings or max_seq_length is 0")),
        Some(most) => Ok(most),
        None => Err(files.refuse(
            "config.json",
            "has no max_position_embeddings, and neither sentence_bert_config.json nor tokenizer_config.json says how many \
             tokens a text may have",
        )),
    }
}

fn prompt(files: &Files<'_>) -> Result<String, LoadError> {
    let name = "config_sentence_transformers.json";
    let Some(Prompts { prompts, default_prompt_name }) = files.json(name)? else { return Ok(String::new()) };
    let Some(default) = default_prompt_name else { return Ok(String::new()) };
    match prompts.get(&default) {
        Some(Value::String(prompt)) => Ok(prompt.clone()),
        _ => Err(files.refuse(name, format!("has '{default}' as default_prompt_name, and no such prompt"))),
    }
}

fn weights(files: &Files<'_>, backend: Backend) -> Result<Weights, LoadError> {
    if backend != Backend::Safetensors {
        for name in ["model.onnx", "onnx/model.onnx"] {
            if let Some(path) = files.find(name)? {
                return Ok(Weights::Onnx(path));
            }
        }
    }
    if backend != Backend::Onnx
        && let Some(path) = files.find("model.safetensors")?
    {
        return Ok(Weights::Safetensors(path));
    }
    let supported = match backend {
        Backend::Any => "model.onnx, onnx/model.onnx and model.safetensors",
        Backend::Onnx => "model.onnx and onnx/model.onnx",
        Backend::Safetensors => "model.safetensors",
    };
    let others = [
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "tf_model.h5",
        "model_quantized.onnx",
        "onnx/model_quantized.onnx",
    ];
    let there = others.into_iter().find(|name| Path::new(files.folder()).join(name).exists());
    let there = there.map(|name| format!(" (it has {name}, which is not)")).unwrap_or_default();
    Err(LoadError(format!("{} has no weights: supported are {supported}{there}", files.folder().display())))
}
