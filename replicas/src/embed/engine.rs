//! An embedding engine, as others hold it.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;
use weirgate_models::LoadError;
use weirgate_models::embed::{EmbedTokenizer, Embedder, EmbedderSpec};
use weirgate_protocol::Result;
use weirgate_replicas_core::embedding::EmbedQueue;

use super::answer::Embedding;
use super::compute::Compute;
use super::config::EmbedConfig;
use super::executor::Executor;
use super::observer::{EmbedObserver, EmbedStats};
use super::request::Embed;
use super::shared::{Shared, State};
use crate::text::{EngineEnd, Phase};

/// An embedder that is loaded, on a thread of its own. Dropping it stops the thread.
pub struct EmbedEngine {
    shared: Arc<Shared>,
    tokenizer: Arc<EmbedTokenizer>,
    spec: Arc<EmbedderSpec>,
}

impl EmbedEngine {
    /// Loads a folder, and starts the engine's thread. It reads all weights, and takes its time.
    pub fn load(
        folder: &Path,
        config: &EmbedConfig,
        observer: Arc<dyn EmbedObserver>,
    ) -> Result<EmbedEngine, LoadError> {
        let embedder = Embedder::load(folder, &config.embedder)?;
        let (spec, tokenizer) = (embedder.spec().clone(), embedder.tokenizer().clone());
        EmbedEngine::start(embedder, spec, tokenizer, config, observer)
            .map_err(|error| LoadError(format!("{}: {error}", folder.display())))
    }

    /// Starts the thread with an embedder that is there.
    pub(super) fn start<C: Compute + 'static>(
        embedder: C,
        spec: EmbedderSpec,
        tokenizer: Arc<EmbedTokenizer>,
        config: &EmbedConfig,
        observer: Arc<dyn EmbedObserver>,
    ) -> Result<EmbedEngine, String> {
        let queue = EmbedQueue::new(config.policy(spec.company)?);
        let state = State {
            queue,
            live: HashMap::new(),
            phase: Phase::Serving,
            running: HashSet::new(),
            stats: EmbedStats::default(),
        };
        let shared = Arc::new(Shared {
            name: config.name.clone(),
            state: Mutex::new(state),
            wake: Condvar::new(),
            ended: watch::Sender::new(None),
            interrupt: embedder.interrupt(),
            observer,
        });
        let spec = Arc::new(spec);
        let executor = Executor::new(embedder, spec.clone(), shared.clone());
        // The thread ends after a stop or a drain, which dropping the engine asks for, and says so by `ended`.
        std::thread::Builder::new()
            .name(config.name.clone())
            .spawn(move || executor.run())
            .map_err(|error| format!("no thread could be started for the engine: {error}"))?;
        Ok(EmbedEngine { shared, tokenizer, spec })
    }

    /// Takes a request in. An error is known at once; others come as the answer.
    pub fn submit(&self, request: Embed) -> Result<Embedding> {
        request.check(&self.spec)?;
        let dimensions = request.dimensions.unwrap_or(self.spec.dimensions);
        let (call, answer) = self.shared.submit(request, dimensions)?;
        Ok(Embedding { shared: self.shared.clone(), call, answer })
    }

    /// To make tokens of texts, on the caller's own thread.
    pub fn tokenizer(&self) -> &Arc<EmbedTokenizer> {
        &self.tokenizer
    }

    /// What is to be known of the model.
    pub fn spec(&self) -> &EmbedderSpec {
        &self.spec
    }

    /// Values of a vector.
    pub fn dimensions(&self) -> usize {
        self.spec.dimensions
    }

    /// Most tokens of a text, with those that begin and end it.
    pub fn max_tokens(&self) -> usize {
        self.spec.max_tokens
    }

    /// Where it stands.
    pub fn stats(&self) -> EmbedStats {
        let state = self.shared.state.lock();
        let counts = state.queue.counts();
        EmbedStats { calls: counts.calls, waiting_texts: counts.texts, waiting_tokens: counts.tokens, ..state.stats }
    }

    /// Refuses what comes from now on, and ends once all that was taken in is answered.
    pub fn drain(&self) {
        self.shared.end(Phase::Draining);
    }

    /// Refuses what comes from now on, and ends the run that is under way. Calls that are not answered end with an error.
    pub fn stop(&self) {
        self.shared.end(Phase::Stopping);
    }

    /// Why its thread has ended, once it has. All calls have had their end by then.
    pub async fn ended(&self) -> EngineEnd {
        EngineEnd::told_by(&self.shared.ended).await
    }
}

impl Drop for EmbedEngine {
    fn drop(&mut self) {
        self.stop();
    }
}
