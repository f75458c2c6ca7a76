//! The engine around a network whose next token is a matter of all tokens before it, as it finds them in its blocks: what is
//! planned, stored, cached, taken away and computed again wrongly gives another answer.

use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use weirgate_models::gguf::GgufFile;
use weirgate_models::network::{Row, StepLimits};
use weirgate_protocol::{Error, ErrorCode, RetryClass};
use weirgate_replicas_core::sampling::SamplingParameters;

use super::engine::ModelText;
use super::forward::Forward;
use super::*;

/// The tokens that the network knows. The first are control tokens, which it says only where it is made to.
const VOCABULARY: u32 = 300;
const FIRST_TEXT: u32 = 20;
/// What the network panics at, what it returns an error at, and what its logits are no numbers after.
const PANICS: u32 = 290;
const FAILS: u32 = 291;
const NANS: u32 = 292;
/// `<|im_end|>`.
const END: u32 = 2;

struct Fake {
    block_tokens: usize,
    /// The token at each place of each block.
    store: Vec<u32>,
    /// Each step waits for leave, as long as there is someone to give it.
    gate: Option<Receiver<()>>,
}

impl Forward for Fake {
    fn step(&mut self, rows: &[Row<'_>], each: &mut dyn FnMut(&[f32])) -> Result<(), String> {
        if let Some(gate) = &self.gate {
            let _ = gate.recv();
        }
        let any = |token: u32| rows.iter().any(|row| row.tokens.contains(&token));
        assert!(!any(PANICS), "a token that no network likes");
        if any(FAILS) {
            return Err("a token that can't be computed".to_owned());
        }
        let size = self.block_tokens;
        for row in rows {
            for (position, &token) in (row.start..).zip(row.tokens) {
                self.store[row.blocks[position / size] as usize * size + position % size] = token;
            }
        }
        for row in rows.iter().filter(|row| row.logits) {
            let end = row.start + row.tokens.len();
            let history = (0..end).map(|at| self.store[row.blocks[at / size] as usize * size + at % size]);
            let history: Vec<u32> = history.collect();
            each(&logits(&history));
        }
        Ok(())
    }
}

fn logits(history: &[u32]) -> Vec<f32> {
    if history.contains(&NANS) {
        return vec![f32::NAN; VOCABULARY as usize];
    }
    let mix = |hash: u64, token: u32| (hash ^ u64::from(token)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    let hash = history.iter().fold(1, |hash, &token| mix(hash, token));
    let logit = |token| match token {
        // Not what it would do something at.
        0..FIRST_TEXT | PANICS..=NANS => -20.0,
        _ => (mix(hash, token) >> 40) as f32 / (1u64 << 24) as f32 * 4.0,
    };
    (0..VOCABULARY).map(logit).collect()
}

fn model_text() -> ModelText {
    static TEXT: OnceLock<ModelText> = OnceLock::new();
    let read = || {
        let models = std::env::var_os("WEIRGATE_MODELS")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../build/models"), PathBuf::from);
        let path = models.join("smollm2/SmolLM2-135M-Instruct.Q4_1.gguf");
        assert!(path.exists(), "{} is missing: run `make setup-models`", path.display());
        ModelText::read(&GgufFile::open(&path).unwrap()).unwrap()
    };
    TEXT.get_or_init(read).clone()
}

/// The labels of the ends that were told, in their order.
#[derive(Default)]
struct Ends(Mutex<Vec<&'static str>>);

impl TextObserver for Ends {
    fn finished(&self, finished: &Finished) {
        self.0.lock().push(finished.reason.label());
    }
}

struct Engine {
    engine: TextEngine,
    ends: Arc<Ends>,
}

const BLOCKS: usize = 24;

fn config() -> TextConfig {
    TextConfig { step_tokens: 64, prefill_tokens: 16, running: 8, ..TextConfig::default() }
}

fn start(config: &TextConfig, gate: Option<Receiver<()>>) -> Engine {
    let limits = StepLimits {
        tokens: config.step_tokens,
        logits: config.running,
        context: 256,
        vocabulary: VOCABULARY as usize,
        blocks: BLOCKS,
        block_tokens: config.block_tokens,
    };
    let store = vec![0; BLOCKS * config.block_tokens];
    let network = Fake { block_tokens: config.block_tokens, store, gate };
    let ends = Arc::new(Ends::default());
    let policy = config.policy(&limits).unwrap();
    let vocabulary = (VOCABULARY as usize, 1);
    let engine = TextEngine::start(network, model_text(), policy, vocabulary, config, ends.clone()).unwrap();
    Engine { engine, ends }
}

/// An engine each of whose steps waits for leave.
fn gated(config: &TextConfig) -> (Engine, Sender<()>) {
    let (sender, receiver) = mpsc::channel();
    (start(config, Some(receiver)), sender)
}

fn prompt(first: u32, length: u32) -> Vec<u32> {
    (0..length).map(|at| FIRST_TEXT + (first + at * 7) % 200).collect()
}

fn generate(prompt: Vec<u32>, new: usize) -> Generate {
    let sampling = SamplingParameters::greedy();
    Generate { max_new_tokens: Some(new), sampling, ..Generate::new(prompt, Instant::now()) }
}

/// All of an answer.
async fn read(mut generation: Generation) -> (String, usize, Finished) {
    let (mut text, mut tokens) = (String::new(), 0);
    while let Some(part) = generation.next().await {
        match part {
            Part::Text(piece) => {
                text.push_str(&piece.text);
                tokens += piece.tokens;
            }
            Part::Finished(finished) => {
                assert_eq!(generation.next().await, None);
                return (text, tokens, finished);
            }
        }
    }
    panic!("an answer without an end: {text}");
}

fn error(finished: &Finished) -> &Error {
    finished.reason.error().unwrap_or_else(|| panic!("no error: {finished:?}"))
}

/// What the network says to a prompt, computed at once.
fn right(prompt: &[u32], new: usize) -> String {
    let mut tokens = prompt.to_vec();
    for _ in 0..new {
        let logits = logits(&tokens);
        let best = (0..VOCABULARY).max_by(|&a, &b| logits[a as usize].total_cmp(&logits[b as usize]));
        tokens.push(best.unwrap());
    }
    model_text().tokenizer.decode(&tokens[prompt.len()..])
}

#[tokio::test]
async fn many_at_once_on_few_blocks_get_what_each_would_alone() {
    let Engine { engine, ends } = start(&config(), None);
    // Together they need several times the blocks there are; some have the same start.
    let requests: Vec<(Vec<u32>, usize)> =
        (0..30).map(|at| (prompt(at / 3, 10 + at * 5), 20 + (at as usize * 13) % 60)).collect();
    let answers: Vec<_> =
        requests.iter().map(|(prompt, new)| engine.submit(generate(prompt.clone(), *new)).unwrap()).collect();
    for (answer, (prompt, new)) in answers.into_iter().zip(&requests) {
        let (text, tokens, finished) = read(answer).await;
        assert_eq!(text, right(prompt, *new));
        assert_eq!(finished.reason, FinishReason::Length(LengthCause::MaxNewTokens));
        assert_eq!((tokens, finished.usage.new_tokens), (*new, *new));
        assert_eq!(finished.usage.prompt_tokens, prompt.len());
    }
    let stats = engine.stats();
    assert!(stats.scheduler.totals.preemptions > 0, "{stats:?}");
    assert!(stats.scheduler.totals.prompt_hit_tokens > 0, "{stats:?}");
    assert_eq!((stats.scheduler.used_blocks, stats.scheduler.running, stats.scheduler.waiting), (0, 0, 0));
    engine.drain();
    assert_eq!(engine.ended().await, EngineEnd::Stopped);
    assert_eq!(*ends.0.lock(), ["length"; 30]);
}

#[tokio::test]
async fn seeds_repeat_and_differ() {
    let Engine { engine, .. } = start(&config(), None);
    let sampled = |seed| {
        let sampling = SamplingParameters { temperature: 1.5, top_p: 0.95, seed, ..SamplingParameters::default() };
        engine.submit(Generate { sampling, ..generate(prompt(1, 20), 30) }).unwrap()
    };
    let answers = [sampled(1), sampled(2), sampled(1)];
    let [one, two, again] = answers.map(|answer| async { read(answer).await.0 });
    let (one, two, again) = tokio::join!(one, two, again);
    assert_eq!(one, again);
    assert_ne!(one, two);
    assert_ne!(random_seed(), random_seed());
}

#[tokio::test]
async fn answers_stop_at_tokens_and_strings_once_they_may() {
    let Engine { engine, .. } = start(&config(), None);
    let asked = generate(prompt(3, 12), 40);
    let whole = right(&asked.prompt, 40);
    // The last token's id ends the answer in the place of its text.
    let biased = SamplingParameters { logit_bias: vec![(END, 100.0)], ..SamplingParameters::greedy() };
    let (text, tokens, finished) =
        read(engine.submit(Generate { sampling: biased.clone(), ..asked.clone() }).unwrap()).await;
    assert_eq!((&*text, tokens, finished.usage.new_tokens), ("", 1, 1));
    assert_eq!(finished.reason, FinishReason::Stop(StopCause::Token(END)));
    let at_least = Generate { sampling: biased.clone(), min_new_tokens: 5, ..asked.clone() };
    let (text, _, finished) = read(engine.submit(at_least).unwrap()).await;
    assert_eq!((text, finished.usage.new_tokens), (right(&asked.prompt, 5), 6));
    // The end that is ignored is a token without text, as often as it comes.
    let ignored = Generate { sampling: biased, ignore_eos: true, ..asked.clone() };
    let (text, tokens, finished) = read(engine.submit(ignored).unwrap()).await;
    assert_eq!((&*text, tokens, finished.reason.label()), ("", 40, "length"));
    // A string across several tokens.
    let middle = whole.char_indices().nth(whole.chars().count() / 2).unwrap().0;
    let string: String = whole[middle..].chars().take(6).collect();
    let stop = weirgate_models::text::StopStrings::new(&[&string]).unwrap();
    let (text, _, finished) = read(engine.submit(Generate { stop, ..asked }).unwrap()).await;
    assert_eq!(text, whole[..whole.find(&string).unwrap()]);
    assert_eq!(finished.reason, FinishReason::Stop(StopCause::String(string.into())));
}

#[tokio::test]
async fn a_reader_that_does_not_read_ends_alone() {
    let Engine { engine, ends } = start(&TextConfig { unread_bytes: 240, ..config() }, None);
    let idle = engine.submit(generate(prompt(1, 20), 200)).unwrap();
    // All of it fits, however late its reader comes.
    let brisk = engine.submit(generate(prompt(2, 20), 40)).unwrap();
    let (text, _, finished) = read(brisk).await;
    assert_eq!((text, finished.reason.label()), (right(&prompt(2, 20), 40), "length"));
    while ends.0.lock().len() < 2 {
        tokio::task::yield_now().await;
    }
    let (text, tokens, finished) = read(idle).await;
    let right = right(&prompt(1, 20), 200);
    // All that came before is there, up to the token that was too much.
    assert!(text.len() > 200 && text.len() < 280 && right.starts_with(&text), "{text}");
    assert_eq!(tokens, finished.usage.new_tokens);
    let error = error(&finished);
    assert_eq!(error.code(), ErrorCode::Cancelled);
    assert!(error.message().contains("the limit is 240"), "{error:?}");
}

#[tokio::test]
async fn what_is_no_number_ends_its_own_sequence() {
    let Engine { engine, .. } = start(&config(), None);
    let wrong = engine.submit(generate([prompt(1, 9), vec![NANS]].concat(), 30)).unwrap();
    let good = engine.submit(generate(prompt(2, 9), 30)).unwrap();
    let (text, _, finished) = read(wrong).await;
    assert_eq!((&*text, error(&finished).code()), ("", ErrorCode::EngineFailed));
    assert!(error(&finished).message().starts_with("the network gave NaN"), "{finished:?}");
    assert_eq!(read(good).await.0, right(&prompt(2, 9), 30));
}

#[tokio::test]
async fn a_step_that_fails_takes_its_own_sequences_and_the_engine_goes_on() {
    let (Engine { engine, .. }, gate) = gated(&config());
    let failing = engine.submit(generate(vec![FAILS], 5)).unwrap();
    gate.send(()).unwrap();
    let (_, _, finished) = read(failing).await;
    assert_eq!(error(&finished).message(), "the engine failed: a token that can't be computed");
    drop(gate);
    assert_eq!(read(engine.submit(generate(prompt(1, 9), 5)).unwrap()).await.0, right(&prompt(1, 9), 5));
    assert_eq!(engine.stats().scheduler.used_blocks, 0);
}

#[tokio::test]
async fn a_panic_ends_the_engine_and_everyone_hears_why() {
    let (Engine { engine, ends }, gate) = gated(&TextConfig { running: 2, ..config() });
    let runs = engine.submit(generate(prompt(1, 4), 50)).unwrap();
    let panics = engine.submit(generate(vec![PANICS], 50)).unwrap();
    let waits = engine.submit(generate(prompt(2, 4), 50)).unwrap();
    drop(gate);
    let [runs, panics, waits] = [read(runs).await.2, read(panics).await.2, read(waits).await.2];
    for finished in [runs, panics] {
        assert_eq!(error(&finished).code(), ErrorCode::EngineFailed);
        assert!(error(&finished).message().contains("a token that no network likes"), "{finished:?}");
    }
    assert_eq!(error(&waits).code(), ErrorCode::Unavailable);
    assert_eq!(error(&waits).retry_class(), RetryClass::NotExecuted);
    let EngineEnd::Failed(reason) = engine.ended().await else { panic!("it has failed") };
    assert_eq!(&*reason, "the engine panicked: a token that no network likes");
    assert_eq!(ends.0.lock().len(), 3);
    let refused = engine.submit(generate(prompt(1, 4), 5)).err().unwrap();
    assert_eq!(refused.code(), ErrorCode::Unavailable);
    assert!(refused.message().contains("a token that no network likes"), "{refused:?}");
}

#[tokio::test]
async fn who_does_not_wait_any_more_leaves_with_the_blocks() {
    let (Engine { engine, ends }, gate) = gated(&TextConfig { prefix_cache: false, running: 3, ..config() });
    let mut answers: Vec<_> = (0..5).map(|at| engine.submit(generate(prompt(at, 40), 100)).unwrap()).collect();
    gate.send(()).unwrap();
    // One that runs has its first token; some run, some wait.
    let first = answers[0].next().await;
    assert!(matches!(first, Some(Part::Text(_))), "{first:?}");
    drop(answers);
    drop(gate);
    while ends.0.lock().len() < 5 || engine.stats().scheduler.used_blocks > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(*ends.0.lock(), ["cancelled"; 5]);
    let stats = engine.stats().scheduler;
    assert_eq!((stats.running, stats.waiting, stats.free_blocks), (0, 0, BLOCKS));
}

#[tokio::test]
async fn a_deadline_for_the_first_token_is_lifted_with_it() {
    let (Engine { engine, .. }, gate) = gated(&config());
    let past = Instant::now();
    let late = engine.submit(Generate { first_token_deadline: Some(past), ..generate(prompt(1, 4), 5) }).unwrap();
    let (_, _, finished) = read(late).await;
    assert_eq!(error(&finished).code(), ErrorCode::DeadlineExceeded);
    assert_eq!(error(&finished).retry_class(), RetryClass::NotExecuted);
    assert_eq!((finished.timing.queue, finished.timing.first_token), (None, None));
    let soon = Instant::now() + Duration::from_secs(1);
    let mut answer =
        engine.submit(Generate { first_token_deadline: Some(soon), ..generate(prompt(1, 4), 20) }).unwrap();
    let mut cut = engine.submit(Generate { deadline: Some(soon), ..generate(prompt(2, 4), 20) }).unwrap();
    for _ in 0..3 {
        gate.send(()).unwrap();
    }
    let Some(Part::Text(first)) = answer.next().await else { panic!("there is time enough") };
    let Some(Part::Text(_)) = cut.next().await else { panic!("there is time enough") };
    tokio::time::sleep_until(soon.into()).await;
    drop(gate);
    let (text, _, finished) = read(answer).await;
    assert_eq!((first.text + &text, finished.reason.label()), (right(&prompt(1, 4), 20), "length"));
    let (_, _, finished) = read(cut).await;
    assert_eq!(error(&finished).code(), ErrorCode::DeadlineExceeded);
    assert!(error(&finished).message().contains("tokens of the answer"), "{finished:?}");
}

#[tokio::test]
async fn what_is_too_much_is_refused_with_both_numbers() {
    let (Engine { engine, .. }, gate) = gated(&TextConfig { running: 1, waiting: 2, context: Some(64), ..config() });
    let refused = |request| engine.submit(request).err().unwrap();
    let error = refused(generate(prompt(1, 50), 20));
    assert_eq!(error.code(), ErrorCode::ContextExceeded);
    assert!(error.message().contains("are 70, and the model's context is 64"), "{error:?}");
    let error = refused(generate(vec![300], 1));
    assert_eq!(error.message(), "the prompt has token 300, and the vocabulary has 300; ids start from 0");
    let error = refused(Generate { min_new_tokens: 6, ..generate(prompt(1, 4), 5) });
    assert_eq!(error.message(), "at least 6 new tokens are asked for, and there may be at most 5");
    let error = refused(Generate { stop_tokens: vec![1; 65], ..generate(prompt(1, 4), 5) });
    assert_eq!(error.message(), "there are 65 stop tokens; the limit is 64");
    assert!(refused(generate(Vec::new(), 5)).message().contains("no tokens"));
    // One runs, and more come than may wait, here or there.
    let answers: Vec<_> = (0..10).map(|at| engine.submit(generate(prompt(at, 4), 5))).collect();
    drop(gate);
    let mut full = 0;
    for answer in answers {
        let error = match answer {
            Err(error) => error,
            Ok(answer) => match read(answer).await.2.reason {
                FinishReason::Failed(error) => error,
                _ => continue,
            },
        };
        assert_eq!(error.code(), ErrorCode::QueueFull, "{error:?}");
        assert!(error.retry_after().is_some());
        full += 1;
    }
    assert!((5..=8).contains(&full), "{full}");
}

#[tokio::test]
async fn draining_finishes_what_came_and_stopping_does_not() {
    let (Engine { engine, .. }, gate) = gated(&config());
    let answer = engine.submit(generate(prompt(1, 4), 5)).unwrap();
    engine.drain();
    let refused = engine.submit(generate(prompt(1, 4), 5)).err().unwrap();
    assert_eq!((refused.code(), refused.retry_class()), (ErrorCode::Unavailable, RetryClass::NotExecuted));
    drop(gate);
    assert_eq!(read(answer).await.0, right(&prompt(1, 4), 5));
    assert_eq!(engine.ended().await, EngineEnd::Stopped);

    let (Engine { engine, .. }, gate) = gated(&config());
    let mut answer = engine.submit(generate(prompt(1, 4), 50)).unwrap();
    // The first tokens may be parts of a character.
    for _ in 0..4 {
        gate.send(()).unwrap();
    }
    let first = answer.next().await;
    assert!(matches!(first, Some(Part::Text(_))), "{first:?}");
    drop(engine);
    drop(gate);
    let (_, _, finished) = read(answer).await;
    assert_eq!(error(&finished).code(), ErrorCode::Unavailable);
    assert_eq!(error(&finished).retry_class(), RetryClass::MayHaveExecuted);
}
