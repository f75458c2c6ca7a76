//! Text engines as replicas: each is a server in this process, which calls are passed to as bytes.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::watch as channel;
use tokio::task::JoinSet;
use weirgate_models::storage::{self, Source};
use weirgate_models::{LoadError, Stop};
use weirgate_protocol::{Datatype, Dim, LoadedModel, ModelSpec, TensorSpec};
use weirgate_replicas_core::BatchPolicy;

use super::config::TextConfig;
use super::engine::{EngineEnd, TextEngine};
use super::observer::TextObserver;
use super::server::TextServer;
use crate::kind::{Ending, EventKind, Kind, Start, Started, stop_asked};
use crate::remote::{Described, Remote};
use crate::replica::FailureKind;
use crate::upstream::RemoteLimits;

/// Where OpenAI's routes begin at a text server.
const OPENAI: &str = "/v1";
/// What GGUF files end in.
const EXTENSION: &str = "gguf";

/// The text engines of one revision.
pub struct TextSetConfig {
    /// For logs: `namespace/name`.
    pub service: String,
    /// The name by which answers call the model.
    pub model: Arc<str>,
    /// What answers call `system_fingerprint`: it changes where the same request may get another answer.
    pub revision: Arc<str>,
    pub source: Source,
    pub text: TextConfig,
    pub container_concurrency: Option<NonZeroUsize>,
}

/// Text engines of this process.
pub(crate) struct TextEngines {
    config: Arc<TextSetConfig>,
    ids: AtomicU64,
}

impl TextEngines {
    pub fn new(config: TextSetConfig) -> TextEngines {
        TextEngines { config: Arc::new(config), ids: AtomicU64::new(0) }
    }
}

impl Kind for TextEngines {
    fn start(&self, start: Start, tasks: &mut JoinSet<()>) -> Result<Arc<dyn Started>, String> {
        let (stop, stopping) = channel::channel(false);
        let loading = Stop::default();
        let body = Body {
            config: self.config.clone(),
            // A new one each time: it is a stranger to its lane when it comes back.
            id: self.ids.fetch_add(1, Ordering::Relaxed),
            observer: start.feed.observe_text(),
            loading: loading.clone(),
            stopping,
        };
        tasks.spawn(async move {
            let ending = Ending::new(start.tell.clone());
            ending.tell(body.run(&start).await);
        });
        Ok(Arc::new(Engine { loading, stop }))
    }
}

/// A replica that was started, as its set has it.
struct Engine {
    loading: Stop,
    stop: channel::Sender<bool>,
}

impl Started for Engine {
    fn stop(&self) {
        self.loading.ask();
        self.stop.send_replace(true);
    }

    /// An engine forms its own batches, of tokens.
    fn policy(&self) -> BatchPolicy {
        RemoteLimits::default().policy()
    }
}

/// A replica's task.
struct Body {
    config: Arc<TextSetConfig>,
    id: u64,
    observer: Arc<dyn TextObserver>,
    loading: Stop,
    stopping: channel::Receiver<bool>,
}

impl Body {
    /// Loads the engine, and looks after it until it has ended. Returns the last event.
    async fn run(self, start: &Start) -> EventKind {
        let started = Instant::now();
        let (config, observer, stop) = (self.config.clone(), self.observer.clone(), self.loading.clone());
        let name = format!("{}-{}", config.text.name, start.id);
        let loaded = tokio::task::spawn_blocking(move || load(&config, name, observer, &stop)).await;
        let engine = match loaded {
            Ok(Ok(engine)) => Arc::new(engine),
            Ok(Err(error)) => return EventKind::LoadFailed(error),
            Err(_) => return EventKind::LoadFailed(LoadError("loading the model panicked".to_owned())),
        };
        let remote = self.remote(&engine);
        let gone = remote.gone();
        let (model, took) = (Arc::new(LoadedModel::new(Arc::new(spec()), [])), started.elapsed());
        start.tell.tell(EventKind::Loaded { model, took, remote: Some(remote) });
        let drained = async {
            stop_asked(self.stopping).await;
            // Calls that it has go on to their end.
            gone.await;
            engine.drain();
            engine.ended().await
        };
        let end = tokio::select! {
            end = engine.ended() => end,
            end = drained => end,
        };
        match end {
            EngineEnd::Stopped => EventKind::Exited(None),
            EngineEnd::Failed(reason) => {
                EventKind::Exited(Some((FailureKind::Exit { code: None }, reason.to_string())))
            }
        }
    }

    fn remote(&self, engine: &Arc<TextEngine>) -> Arc<Remote> {
        let TextSetConfig { model, revision, text, container_concurrency, .. } = &*self.config;
        let slots = container_concurrency.map_or(text.running, |most| most.get().min(text.running));
        let server = TextServer::new(engine.clone(), model.clone(), revision.clone());
        let link = crate::remote::Link::Here(Arc::new(server));
        let remote = Remote::new(self.id, format!("engine {}", self.id).into(), link, true, slots);
        remote.describe(Described { openai: Some(OPENAI), generates: true, ..Described::default() });
        remote
    }
}

/// Brings the model here, and loads it.
fn load(
    config: &TextSetConfig,
    name: String,
    observer: Arc<dyn TextObserver>,
    stop: &Stop,
) -> Result<TextEngine, LoadError> {
    let place = config.source.fetch(&config.service, stop)?;
    let loaded = || {
        let file: PathBuf = storage::find(place.path(), EXTENSION)?;
        storage::check_within(&file, place.roots())?;
        TextEngine::load(&file, &TextConfig { name, ..config.text.clone() }, observer)
    };
    loaded().map_err(|error| place.named(error))
}

/// What V2 says of a model that goes on with texts: its generate extension has these fields.
fn spec() -> ModelSpec {
    let text = |name: &str| TensorSpec { name: name.into(), datatype: Datatype::Bytes, shape: vec![Dim::Fixed(1)] };
    ModelSpec {
        version: None,
        platform: "weirgate_gguf",
        inputs: vec![text("text_input")],
        outputs: vec![text("text_output")],
        pads: false,
    }
}
