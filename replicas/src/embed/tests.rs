//! The engine with an embedder that can be held, fails and panics as the test wants it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use weirgate_models::embed::{Company, EmbedTokenizer, EmbedderSpec, Matryoshka, Pooling, TokenizerOptions, Weights};
use weirgate_models::{Interrupt, RunError};
use weirgate_protocol::{Error, ErrorCode, RetryClass};

use super::compute::Compute;
use super::*;

/// A text with it fails, by the caller's fault; with the next, by the engine's; with the next, the engine panics.
const WRONG: u32 = 13;
const BROKEN: u32 = 14;
const PANICS: u32 = 15;

/// What a test holds of its embedder.
#[derive(Default)]
struct Hold {
    /// Runs wait while it is closed, until they are interrupted.
    closed: Mutex<bool>,
    opened: Condvar,
    stopped: AtomicBool,
    interrupted: AtomicUsize,
    entered: AtomicUsize,
    /// Texts of each run.
    runs: Mutex<Vec<usize>>,
}

/// A text's vector is its first token, and how many it has.
struct Fake {
    hold: Arc<Hold>,
    values: Vec<f32>,
}

impl Hold {
    fn close(&self) {
        *self.closed.lock() = true;
    }

    fn open(&self) {
        *self.closed.lock() = false;
        self.opened.notify_all();
    }

    /// Waits until so many runs were begun.
    async fn entered(&self, runs: usize) {
        while self.entered.load(Ordering::SeqCst) < runs {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Interrupt for Hold {
    fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        let _closed = self.closed.lock();
        self.opened.notify_all();
    }

    fn reset(&self) {
        self.stopped.store(false, Ordering::SeqCst);
    }
}

impl Compute for Fake {
    fn embed(&mut self, texts: &[&[u32]]) -> Result<&[f32], RunError> {
        self.hold.entered.fetch_add(1, Ordering::SeqCst);
        let mut closed = self.hold.closed.lock();
        while *closed && !self.hold.stopped.load(Ordering::SeqCst) {
            self.hold.opened.wait(&mut closed);
        }
        if self.hold.stopped.load(Ordering::SeqCst) {
            self.hold.interrupted.fetch_add(1, Ordering::SeqCst);
            return Err(RunError::Interrupted);
        }
        self.hold.runs.lock().push(texts.len());
        let has = |token: u32| texts.iter().any(|text| text.contains(&token));
        assert!(!has(PANICS), "as the test wants it");
        if has(WRONG) {
            return Err(RunError::Input("thirteen".to_owned()));
        }
        if has(BROKEN) {
            return Err(RunError::Engine("fourteen".to_owned()));
        }
        self.values = texts.iter().flat_map(|text| [text[0] as f32, text.len() as f32]).collect();
        Ok(&self.values)
    }

    fn interrupt(&self) -> Arc<dyn Interrupt> {
        self.hold.clone()
    }
}

fn engine_with(config: &EmbedConfig, observer: Arc<dyn EmbedObserver>) -> (EmbedEngine, Arc<Hold>) {
    let hold = Arc::new(Hold::default());
    let spec = EmbedderSpec {
        dimensions: 2,
        vocabulary: 1_000,
        max_tokens: 64,
        company: Company::Ragged,
        pooling: Pooling::Mean,
        normalised: false,
        matryoshka: Matryoshka::Any,
        weights: Weights::Safetensors("none".into()),
    };
    let json = br#"{"normalizer": {"type": "BertNormalizer"}, "pre_tokenizer": {"type": "BertPreTokenizer"},
        "model": {"type": "WordPiece", "vocab": {"[UNK]": 0}}}"#;
    let options = TokenizerOptions { max_tokens: 64, lowercases: false, prompt: String::new() };
    let tokenizer = Arc::new(EmbedTokenizer::parse(json, options).unwrap());
    let fake = Fake { hold: hold.clone(), values: Vec::new() };
    (EmbedEngine::start(fake, spec, tokenizer, config, observer).unwrap(), hold)
}

fn engine() -> (EmbedEngine, Arc<Hold>) {
    engine_with(&EmbedConfig::default(), Arc::new(Unobserved))
}

fn request(texts: &[&[u32]]) -> Embed {
    Embed::new(texts.iter().map(|text| text.to_vec()).collect(), Instant::now())
}

async fn vectors(mut embedding: Embedding) -> Result<Vec<f32>, Error> {
    embedding.answer().await.map(|embedded| embedded.values)
}

async fn code(mut embedding: Embedding) -> ErrorCode {
    embedding.answer().await.unwrap_err().code()
}

#[tokio::test]
async fn calls_share_a_run_and_each_gets_its_own_in_its_order() {
    let (engine, hold) = engine();
    hold.close();
    let first = engine.submit(request(&[&[1]])).unwrap();
    hold.entered(1).await;
    let many = engine.submit(request(&[&[2], &[3, 3, 3], &[4, 4]])).unwrap();
    let more = engine.submit(request(&[&[5, 5], &[6]])).unwrap();
    assert_eq!((engine.stats().calls, engine.stats().waiting_tokens), (3, 9));
    hold.open();
    assert_eq!(vectors(first).await.unwrap(), [1.0, 1.0]);
    assert_eq!(vectors(many).await.unwrap(), [2.0, 1.0, 3.0, 3.0, 4.0, 2.0]);
    let mut more = more;
    let embedded = more.answer().await.unwrap();
    assert_eq!(embedded.vectors().collect::<Vec<_>>(), [[5.0, 2.0], [6.0, 1.0]]);
    assert_eq!((embedded.tokens, embedded.timing.runs), (3, 1));
    assert!(embedded.timing.queue.unwrap() <= embedded.timing.total);
    assert_eq!(*hold.runs.lock(), [1, 5]);
    let expected = EmbedStats { runs: 2, texts: 6, tokens: 10, computed: 10, ..EmbedStats::default() };
    assert_eq!(engine.stats(), expected);
}

#[tokio::test]
async fn a_call_is_spread_over_runs_and_put_together_again() {
    let (engine, hold) = engine_with(&EmbedConfig { run_texts: 7, ..EmbedConfig::default() }, Arc::new(Unobserved));
    let texts: Vec<Vec<u32>> = (0..100).map(|index| vec![index + 100; 1 + index as usize * 37 % 64]).collect();
    let mut embedding = engine.submit(Embed::new(texts.clone(), Instant::now())).unwrap();
    let embedded = embedding.answer().await.unwrap();
    for (text, vector) in texts.iter().zip(embedded.vectors()) {
        assert_eq!(vector, [text[0] as f32, text.len() as f32]);
    }
    assert_eq!((embedded.timing.runs, hold.runs.lock().len()), (15, 15));
}

#[tokio::test]
async fn only_the_call_at_fault_fails() {
    let (engine, hold) = engine();
    hold.close();
    let first = engine.submit(request(&[&[1]])).unwrap();
    hold.entered(1).await;
    let wrong = engine.submit(request(&[&[2], &[WRONG], &[3]])).unwrap();
    let broken = engine.submit(request(&[&[BROKEN]])).unwrap();
    let good = engine.submit(request(&[&[4], &[5]])).unwrap();
    hold.open();
    assert!(vectors(first).await.is_ok());
    let error = vectors(wrong).await.unwrap_err();
    assert_eq!(
        (error.code(), error.message()),
        (ErrorCode::InvalidRequest, "text 1 was refused by the model: thirteen")
    );
    let error = vectors(broken).await.unwrap_err();
    assert_eq!((error.code(), error.message()), (ErrorCode::EngineFailed, "the engine failed: fourteen"));
    assert_eq!(vectors(good).await.unwrap(), [4.0, 1.0, 5.0, 1.0]);
    assert_eq!((engine.stats().failed_runs, engine.stats().calls), (1, 0));
    assert!(vectors(engine.submit(request(&[&[6]])).unwrap()).await.is_ok(), "it goes on");
}

#[tokio::test]
async fn a_run_that_nobody_waits_for_ends_and_what_was_held_is_given_back() {
    let (engine, hold) = engine();
    hold.close();
    let running = engine.submit(request(&[&[1], &[2]])).unwrap();
    hold.entered(1).await;
    let waiting = engine.submit(request(&[&[3; 10]])).unwrap();
    let other = engine.submit(request(&[&[4; 5]])).unwrap();
    drop(waiting);
    assert_eq!((engine.stats().calls, engine.stats().waiting_tokens), (2, 5));
    assert_eq!(hold.interrupted.load(Ordering::SeqCst), 0, "somebody waits for the run");
    drop(running);
    hold.entered(2).await;
    assert_eq!(hold.interrupted.load(Ordering::SeqCst), 1);
    hold.open();
    assert_eq!(vectors(other).await.unwrap(), [4.0, 5.0]);
    assert_eq!(*hold.runs.lock(), [1], "what was dropped was never computed");
}

#[tokio::test]
async fn late_work_never_reaches_the_model() {
    let (engine, hold) = engine();
    let past = Embed { deadline: Some(Instant::now()), ..request(&[&[1]]) };
    let error = vectors(engine.submit(past).unwrap()).await.unwrap_err();
    assert_eq!((error.code(), error.retry_class()), (ErrorCode::DeadlineExceeded, RetryClass::NotExecuted));
    hold.close();
    let first = engine.submit(request(&[&[1]])).unwrap();
    hold.entered(1).await;
    let soon = Instant::now() + Duration::from_millis(20);
    let late = engine.submit(Embed { deadline: Some(soon), ..request(&[&[2]]) }).unwrap();
    tokio::time::sleep_until(soon.into()).await;
    hold.open();
    assert!(vectors(first).await.is_ok());
    assert_eq!(code(late).await, ErrorCode::DeadlineExceeded);
    assert_eq!(*hold.runs.lock(), [1]);
}

#[tokio::test]
async fn a_drain_answers_all_that_was_taken_in() {
    let (engine, hold) = engine();
    hold.close();
    let calls: Vec<Embedding> = (1..5).map(|id| engine.submit(request(&[&[id]])).unwrap()).collect();
    hold.entered(1).await;
    engine.drain();
    assert_eq!(engine.submit(request(&[&[1]])).err().unwrap().code(), ErrorCode::Unavailable);
    hold.open();
    for (id, call) in (1..5).zip(calls) {
        assert_eq!(vectors(call).await.unwrap(), [id as f32, 1.0]);
    }
    assert_eq!(engine.ended().await, EngineEnd::Stopped);
    assert_eq!(engine.submit(request(&[&[1]])).err().unwrap().code(), ErrorCode::Unavailable);
}

#[tokio::test]
async fn a_stop_ends_the_run_and_tells_everybody() {
    let (engine, hold) = engine();
    hold.close();
    let running = engine.submit(request(&[&[1]])).unwrap();
    hold.entered(1).await;
    let waiting = engine.submit(request(&[&[2]])).unwrap();
    engine.stop();
    assert_eq!(engine.ended().await, EngineEnd::Stopped);
    assert_eq!(hold.interrupted.load(Ordering::SeqCst), 1);
    let error = vectors(running).await.unwrap_err();
    assert_eq!((error.code(), error.retry_class()), (ErrorCode::Unavailable, RetryClass::MayHaveExecuted));
    let error = vectors(waiting).await.unwrap_err();
    assert_eq!((error.code(), error.retry_class()), (ErrorCode::Unavailable, RetryClass::NotExecuted));
}

#[tokio::test]
async fn a_panic_ends_the_engine_and_tells_everybody() {
    let (engine, hold) = engine();
    hold.close();
    let running = engine.submit(request(&[&[PANICS]])).unwrap();
    hold.entered(1).await;
    let waiting = engine.submit(request(&[&[2]])).unwrap();
    hold.open();
    let EngineEnd::Failed(reason) = engine.ended().await else { panic!("it was not stopped") };
    assert_eq!(&*reason, "the engine panicked: as the test wants it");
    assert_eq!(code(running).await, ErrorCode::EngineFailed);
    assert_eq!(code(waiting).await, ErrorCode::Unavailable);
    let error = engine.submit(request(&[&[1]])).err().unwrap();
    assert_eq!(error.code(), ErrorCode::Unavailable);
    assert!(error.message().contains("as the test wants it"), "{error:?}");
}

#[tokio::test]
async fn what_can_not_be_answered_is_refused_at_once() {
    let (engine, hold) = engine_with(&EmbedConfig { waiting: 2, ..EmbedConfig::default() }, Arc::new(Unobserved));
    let refused = |request: Embed| {
        let error = engine.submit(request).err().unwrap();
        (error.code(), error.message().to_owned())
    };
    let invalid = |text: &str| (ErrorCode::InvalidRequest, text.to_owned());
    assert_eq!(refused(request(&[])), invalid("there are no texts to embed; send at least 1"));
    assert_eq!(refused(request(&[&[1], &[]])), invalid("text 1 has no tokens; it needs at least 1"));
    assert_eq!(
        refused(request(&[&[1_000]])),
        invalid("text 0 has token 1000, and the vocabulary has 1000; ids start from 0")
    );
    let long = "text 0 has 65 tokens, and the model takes 64; shorten it, or ask for it to be truncated";
    assert_eq!(refused(request(&[&[1; 65]])), invalid(long));
    let few = Embed { dimensions: Some(3), ..request(&[&[1]]) };
    assert_eq!(refused(few), invalid("3 dimensions are asked for, and the model has 1 to 2"));
    let one = Embed { dimensions: Some(1), ..request(&[&[7], &[8]]) };
    assert_eq!(vectors(engine.submit(one).unwrap()).await.unwrap(), [7.0, 8.0]);
    hold.close();
    let held: Vec<Embedding> = (0..2).map(|id| engine.submit(request(&[&[id]])).unwrap()).collect();
    assert_eq!(refused(request(&[&[1]])).0, ErrorCode::QueueFull);
    drop(held);
    assert!(engine.submit(request(&[&[1]])).is_ok());
}

/// Counts what it is told.
#[derive(Default)]
struct Told {
    ended: Mutex<Vec<&'static str>>,
    runs: Mutex<Vec<RunReport>>,
    failed: AtomicUsize,
}

impl EmbedObserver for Told {
    fn finished(&self, ended: &Ended) {
        self.ended.lock().push(ended.label());
    }

    fn run(&self, report: &RunReport) {
        self.runs.lock().push(*report);
    }

    fn run_failed(&self, _: &str) {
        self.failed.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn observers_are_told_of_each_end_and_each_run_once() {
    let told = Arc::new(Told::default());
    let (engine, _) = engine_with(&EmbedConfig::default(), told.clone());
    for text in [1, WRONG, BROKEN] {
        let _ = vectors(engine.submit(request(&[&[text]])).unwrap()).await;
    }
    engine.drain();
    assert_eq!(engine.ended().await, EngineEnd::Stopped);
    let invalid = ErrorCode::InvalidRequest.row().label;
    assert_eq!(*told.ended.lock(), ["ok", invalid, ErrorCode::EngineFailed.row().label]);
    let runs: Vec<RunReport> = told.runs.lock().iter().map(|run| RunReport { took: Duration::ZERO, ..*run }).collect();
    let only = RunReport { calls: 1, texts: 1, tokens: 1, computed: 1, took: Duration::ZERO };
    assert_eq!((runs, told.failed.load(Ordering::SeqCst)), (vec![only], 2));
}
