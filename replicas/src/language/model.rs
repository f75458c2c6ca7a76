//! What was loaded from a model's files.

use std::path::Path;
use std::sync::Arc;

use weirgate_models::storage::{self, Place};
use weirgate_models::{LoadError, Stop};
use weirgate_protocol::{Datatype, Dim, ModelSpec, TensorSpec};

use super::replica::LanguageSetConfig;
use crate::embed::{EmbedConfig, EmbedEngine, EmbedObserver, EmbedServer};
use crate::remote::{Described, Server};
use crate::text::{EngineEnd, TextConfig, TextEngine, TextObserver, TextServer};

/// Where OpenAI's routes begin at a server.
const OPENAI: &str = "/v1";
/// What GGUF files end in.
const GGUF: &str = "gguf";
/// What an embedder's folder has.
const EMBEDDER: [&str; 2] = ["config.json", "tokenizer.json"];

/// An engine, by what its model's files are.
#[derive(Clone)]
pub(super) enum Model {
    /// It goes on with texts: a GGUF file.
    Text(Arc<TextEngine>),
    /// It makes vectors of texts: a folder as Hugging Face has it.
    Embed(Arc<EmbedEngine>),
}

/// Whom engines tell what they do.
pub(super) struct Observers {
    pub text: Arc<dyn TextObserver>,
    pub embed: Arc<dyn EmbedObserver>,
}

impl Model {
    /// Brings the model here, and loads it. `name`: for its threads.
    pub fn load(
        config: &LanguageSetConfig,
        name: String,
        observers: Observers,
        stop: &Stop,
    ) -> Result<Model, LoadError> {
        let place = config.source.fetch(&config.service, stop)?;
        Model::load_from(&place, config, name, observers, stop).map_err(|error| place.named(error))
    }

    fn load_from(
        place: &Place<'_>,
        config: &LanguageSetConfig,
        name: String,
        observers: Observers,
        stop: &Stop,
    ) -> Result<Model, LoadError> {
        if is_embedder(place.path()) {
            let mut config = EmbedConfig { name, ..config.embed.clone() };
            config.embedder.roots = place.roots().to_vec();
            let engine = EmbedEngine::load(place.path(), &config, observers.embed)?;
            return Ok(Model::Embed(Arc::new(engine)));
        }
        let file = storage::find(place.path(), GGUF).map_err(|LoadError(text)| {
            LoadError(format!("{text} (or at a folder with {}, for an embedder)", EMBEDDER.join(" and ")))
        })?;
        storage::check_within(&file, place.roots())?;
        let config = TextConfig { name, ..config.text.clone() };
        let engine = TextEngine::load(&file, &config, observers.text, stop)?;
        Ok(Model::Text(Arc::new(engine)))
    }

    pub fn server(&self, config: &LanguageSetConfig) -> Arc<dyn Server> {
        let (model, revision) = (config.model.clone(), config.revision.clone());
        match self {
            Model::Text(engine) => Arc::new(TextServer::new(engine.clone(), model, revision)),
            Model::Embed(engine) => Arc::new(EmbedServer::new(engine.clone(), model)),
        }
    }

    pub fn describe(&self) -> Described {
        let generates = matches!(self, Model::Text(_));
        Described { openai: Some(OPENAI), generates, ..Described::default() }
    }

    /// What V2 says of it. Its generate extension has these fields; of vectors it knows nothing.
    pub fn spec(&self) -> ModelSpec {
        let text = |name: &str| TensorSpec { name: name.into(), datatype: Datatype::Bytes, shape: vec![Dim::Fixed(1)] };
        let (platform, inputs, outputs) = match self {
            Model::Text(_) => ("weirgate_gguf", vec![text("text_input")], vec![text("text_output")]),
            Model::Embed(_) => ("weirgate_embedder", Vec::new(), Vec::new()),
        };
        ModelSpec { version: None, platform, inputs, outputs, pads: false }
    }

    /// Calls that it takes at a time.
    pub fn slots(&self, config: &LanguageSetConfig) -> usize {
        match self {
            Model::Text(_) => config.text.running,
            // One run, and the next.
            Model::Embed(_) => config.embed.run_texts * 2,
        }
    }

    pub fn drain(&self) {
        match self {
            Model::Text(engine) => engine.drain(),
            Model::Embed(engine) => engine.drain(),
        }
    }

    pub async fn ended(&self) -> EngineEnd {
        match self {
            Model::Text(engine) => engine.ended().await,
            Model::Embed(engine) => engine.ended().await,
        }
    }
}

/// Whether a folder holds an embedder, by the names of its files.
fn is_embedder(place: &Path) -> bool {
    EMBEDDER.iter().all(|name| place.join(name).is_file())
}
