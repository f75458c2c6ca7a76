//! A text engine, as others hold it.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;
use weirgate_models::gguf::GgufFile;
use weirgate_models::network::{LoadProgress, Network};
use weirgate_models::text::Tokenizer;
use weirgate_models::text::chat::ChatTemplate;
use weirgate_models::{LoadError, Stop};
use weirgate_protocol::Result;
use weirgate_replicas_core::tokens::{NewSequence, Scheduler, TokenPolicy};

use super::config::TextConfig;
use super::executor::{Executor, Live};
use super::forward::Forward;
use super::inbox::{Inbox, Submission};
use super::mailbox::{Generation, mailbox};
use super::observer::{TextObserver, TextStats};
use super::request::Generate;
use super::writer::AnswerWriter;

/// From one line in the log on how far loading has come to the next.
const TELLS_EVERY: Duration = Duration::from_secs(5);

/// Why an engine's thread has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineEnd {
    /// It was asked to.
    Stopped,
    /// It could not go on, for this reason.
    Failed(Arc<str>),
}

impl EngineEnd {
    /// Resolves when an engine's thread has said that it ended.
    pub(crate) async fn told_by(ended: &watch::Sender<Option<EngineEnd>>) -> EngineEnd {
        match ended.subscribe().wait_for(Option::is_some).await.as_deref() {
            Ok(Some(end)) => end.clone(),
            // The sender is held by whoever asks, so it can't be gone.
            Ok(None) | Err(_) => EngineEnd::Failed("the engine does not say why it ended".into()),
        }
    }
}

/// A language model that is loaded, on a thread of its own. Dropping it stops the thread.
pub struct TextEngine {
    shared: Arc<Shared>,
    text: ModelText,
    policy: TokenPolicy,
    /// Tokens that the network has logits for.
    vocabulary: usize,
    unread_bytes: usize,
}

/// What the engine and its thread have in common.
pub(super) struct Shared {
    pub name: String,
    pub inbox: Inbox,
    pub stats: Mutex<TextStats>,
    pub ended: watch::Sender<Option<EngineEnd>>,
}

/// How texts become tokens, and tokens texts.
#[derive(Clone)]
pub(super) struct ModelText {
    pub tokenizer: Arc<Tokenizer>,
    pub template: Option<Arc<ChatTemplate>>,
}

impl ModelText {
    pub fn read(file: &GgufFile) -> Result<ModelText, LoadError> {
        let refuse = |error: String| file.refuse(error);
        let tokenizer = Tokenizer::of(file.metadata()).map_err(refuse)?;
        let source = file.metadata().str("tokenizer.chat_template").map_err(refuse)?;
        let template = source.map(|source| ChatTemplate::new(source, tokenizer.bos_text(), tokenizer.eos_text()));
        let template = template.transpose().map_err(refuse)?.map(Arc::new);
        Ok(ModelText { tokenizer: Arc::new(tokenizer), template })
    }
}

impl TextEngine {
    /// Loads a GGUF file, and starts the engine's thread. It reads the whole file, and takes its time; `stop` ends it early.
    pub fn load(
        path: &Path,
        config: &TextConfig,
        observer: Arc<dyn TextObserver>,
        stop: &Stop,
    ) -> Result<TextEngine, LoadError> {
        let file = GgufFile::open(path)?;
        let text = ModelText::read(&file)?;
        let mut told = Instant::now();
        let mut progress = |LoadProgress { bytes, total }| {
            if told.elapsed() >= TELLS_EVERY {
                told = Instant::now();
                tracing::info!(engine = %config.name, bytes, of = total, "loading the model");
            }
            if stop.asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let network = Network::of(&file, &config.network(), &mut progress)?;
        let limits = *network.limits();
        let policy = config.policy(&limits).map_err(|error| file.refuse(error))?;
        let block_bytes = network.kv_block_bytes();
        TextEngine::start(network, text, policy, (limits.vocabulary, block_bytes), config, observer)
            .map_err(|error| file.refuse(error))
    }

    /// Starts the thread with a network that is there, of so many tokens and bytes of a block.
    pub(super) fn start<F: Forward + 'static>(
        network: F,
        text: ModelText,
        policy: TokenPolicy,
        (vocabulary, block_bytes): (usize, usize),
        config: &TextConfig,
        observer: Arc<dyn TextObserver>,
    ) -> Result<TextEngine, String> {
        let scheduler = Scheduler::new(policy).map_err(|error| error.message().to_owned())?;
        let TokenPolicy { blocks, block_tokens, .. } = policy;
        let stats = TextStats { scheduler: scheduler.stats(), blocks, block_tokens, block_bytes, ..Default::default() };
        let shared = Arc::new(Shared {
            name: config.name.clone(),
            inbox: Inbox::new(policy.waiting, policy.waiting_tokens),
            stats: Mutex::new(stats),
            ended: watch::Sender::new(None),
        });
        let executor = Executor::new(network, scheduler, stats, shared.clone(), observer);
        // The thread ends after a stop or a drain, which dropping the engine asks for, and says so by `ended`.
        std::thread::Builder::new()
            .name(config.name.clone())
            .spawn(move || executor.run())
            .map_err(|error| format!("no thread could be started for the engine: {error}"))?;
        Ok(TextEngine { shared, text, policy, vocabulary, unread_bytes: config.unread_bytes })
    }

    /// Takes a request in. An error is known at once; others come as the end of the answer.
    pub fn submit(&self, request: Generate) -> Result<Generation> {
        request.check(&self.policy, self.vocabulary)?;
        let (outlet, generation) = mailbox(self.unread_bytes);
        let writer = AnswerWriter::new(&request, self.text.tokenizer.clone());
        let Generate { prompt, max_new_tokens, priority, arrived, first_token_deadline, deadline, salt, .. } = request;
        let live = Live {
            writer,
            outlet,
            arrived,
            deadline,
            prompt_tokens: prompt.len(),
            started: None,
            first_token: None,
            last_token: None,
            text: String::new(),
            tokens: 0,
            failure: None,
        };
        let first = [first_token_deadline, deadline].into_iter().flatten().min();
        let new = NewSequence { prompt, max_new_tokens, priority, arrived, deadline: first, salt };
        self.shared.inbox.submit(Submission { new, live })?;
        Ok(generation)
    }

    /// To make tokens of prompts, on the caller's own thread.
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.text.tokenizer
    }

    /// To make prompts of messages; none where the model has no template.
    pub fn template(&self) -> Option<&Arc<ChatTemplate>> {
        self.text.template.as_ref()
    }

    /// Most tokens of a prompt and its answer together.
    pub fn context(&self) -> usize {
        self.policy.context
    }

    /// How many tokens the network tells apart.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// Where it stands, as of its last step.
    pub fn stats(&self) -> TextStats {
        let stats = *self.shared.stats.lock();
        TextStats { submitted: self.shared.inbox.len(), ..stats }
    }

    /// Refuses what comes from now on, and ends once all that was taken in is answered.
    pub fn drain(&self) {
        self.shared.inbox.drain();
    }

    /// Refuses what comes from now on, and ends before the next step. Answers that are under way end with an error.
    pub fn stop(&self) {
        self.shared.inbox.stop();
    }

    /// Why its thread has ended, once it has. All answers have had their end by then.
    pub async fn ended(&self) -> EngineEnd {
        EngineEnd::told_by(&self.shared.ended).await
    }
}

impl Drop for TextEngine {
    fn drop(&mut self) {
        self.stop();
    }
}
