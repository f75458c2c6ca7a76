//! Language models as replicas of a set.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::watch as channel;
use tokio::task::JoinSet;
use weirgate_models::storage::Source;
use weirgate_models::{LoadError, Stop};
use weirgate_protocol::LoadedModel;
use weirgate_replicas_core::BatchPolicy;

use super::model::{Model, Observers};
use crate::embed::EmbedConfig;
use crate::kind::{Ending, EventKind, Kind, Start, Started, stop_asked};
use crate::remote::{Link, Remote};
use crate::replica::FailureKind;
use crate::text::{EngineEnd, TextConfig};
use crate::upstream::RemoteLimits;

/// The language models of one revision.
pub struct LanguageSetConfig {
    /// Shown in thread names.
    pub name: String,
    /// For logs: `namespace/name`.
    pub service: String,
    /// The name by which answers call the model.
    pub model: Arc<str>,
    /// What answers call `system_fingerprint`: it changes where the same request may get another answer.
    pub revision: Arc<str>,
    pub source: Source,
    /// Of one that goes on with texts.
    pub text: TextConfig,
    /// Of one that makes vectors of them.
    pub embed: EmbedConfig,
    pub container_concurrency: Option<NonZeroUsize>,
}

/// Language models of this process.
pub(crate) struct LanguageModels {
    config: Arc<LanguageSetConfig>,
    ids: AtomicU64,
}

impl LanguageModels {
    pub fn new(config: LanguageSetConfig) -> LanguageModels {
        LanguageModels { config: Arc::new(config), ids: AtomicU64::new(0) }
    }
}

impl Kind for LanguageModels {
    fn start(&self, start: Start, tasks: &mut JoinSet<()>) -> Result<Arc<dyn Started>, String> {
        let (stop, stopping) = channel::channel(false);
        let loading = Stop::default();
        let body = Body {
            config: self.config.clone(),
            // A new one each time: it is a stranger to its lane when it comes back.
            id: self.ids.fetch_add(1, Ordering::Relaxed),
            observers: Observers { text: start.feed.observe_text(), embed: start.feed.observe_embed() },
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
    config: Arc<LanguageSetConfig>,
    id: u64,
    observers: Observers,
    loading: Stop,
    stopping: channel::Receiver<bool>,
}

impl Body {
    /// Loads the engine, and looks after it until it has ended. Returns the last event.
    async fn run(self, start: &Start) -> EventKind {
        let started = Instant::now();
        let (config, observers, stop) = (self.config.clone(), self.observers, self.loading);
        let name = format!("{}-{}", config.name, start.id);
        let loaded = tokio::task::spawn_blocking(move || Model::load(&config, name, observers, &stop)).await;
        let model = match loaded {
            Ok(Ok(model)) => model,
            Ok(Err(error)) => return EventKind::LoadFailed(error),
            Err(_) => return EventKind::LoadFailed(LoadError("loading the model panicked".to_owned())),
        };
        let remote = remote(self.id, &model, &self.config);
        let gone = remote.gone();
        let (spec, took) = (Arc::new(LoadedModel::new(Arc::new(model.spec()), [])), started.elapsed());
        start.tell.tell(EventKind::Loaded { model: spec, took, remote: Some(remote) });
        let drained = async {
            stop_asked(self.stopping).await;
            // Calls that it has go on to their end.
            gone.await;
            model.drain();
            model.ended().await
        };
        let end = tokio::select! {
            end = model.ended() => end,
            end = drained => end,
        };
        match end {
            EngineEnd::Stopped => EventKind::Exited(None),
            EngineEnd::Failed(reason) => {
                EventKind::Exited(Some((FailureKind::Exit { code: None }, reason.to_string())))
            }
        }
    }
}

/// The model as its lane sees it.
fn remote(id: u64, model: &Model, config: &LanguageSetConfig) -> Arc<Remote> {
    let most = model.slots(config);
    let slots = config.container_concurrency.map_or(most, |limit| limit.get().min(most));
    let remote = Remote::new(id, format!("engine {id}").into(), Link::Here(model.server(config)), true, slots);
    remote.describe(model.describe());
    remote
}
