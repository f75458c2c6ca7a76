//! The text engine with a real network: SmolLM2-135M-Instruct in Q4_1.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use weirgate_models::Stop;
use weirgate_models::text::StopStrings;
use weirgate_models::text::chat::{Message, RenderOptions};
use weirgate_protocol::ErrorCode;
use weirgate_replicas::text::{
    FinishReason, Finished, Generate, Generation, LengthCause, Part, StopCause, TextConfig, TextEngine, Unobserved,
};
use weirgate_replicas_core::sampling::SamplingParameters;

/// With a question mark behind it and the template's own system message, the weights of 4 bits answer with something else.
const CAPITAL: &str = "What is the capital of France";

fn load(config: TextConfig) -> TextEngine {
    let models = std::env::var_os("WEIRGATE_MODELS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../build/models"), PathBuf::from);
    let path = models.join("smollm2/SmolLM2-135M-Instruct.Q4_1.gguf");
    assert!(path.exists(), "{} is missing: run `make setup-models`", path.display());
    TextEngine::load(&path, &config, Arc::new(Unobserved), &Stop::default()).unwrap()
}

fn config() -> TextConfig {
    TextConfig {
        threads: 2,
        kv_bytes: 64 << 20,
        step_tokens: 128,
        prefill_tokens: 64,
        running: 16,
        ..TextConfig::default()
    }
}

/// A question, as the model's template puts it.
fn chat(engine: &TextEngine, question: &str) -> Vec<u32> {
    let options = RenderOptions {
        add_generation_prompt: true,
        continue_final_message: false,
        now: SystemTime::UNIX_EPOCH,
        variables: &[],
    };
    let template = engine.template().expect("the model has a template");
    template.tokens(engine.tokenizer(), &[Message::new("user", question)], options).unwrap()
}

fn greedy(prompt: Vec<u32>, new: usize) -> Generate {
    let sampling = SamplingParameters::greedy();
    Generate { max_new_tokens: Some(new), sampling, ..Generate::new(prompt, Instant::now()) }
}

fn sampled(prompt: Vec<u32>, new: usize, seed: u64) -> Generate {
    let sampling = SamplingParameters {
        temperature: 1.2,
        top_p: 0.95,
        top_k: Some(50),
        repetition_penalty: 1.1,
        presence_penalty: 0.2,
        seed,
        ..SamplingParameters::default()
    };
    Generate { sampling, ..greedy(prompt, new) }
}

async fn read(mut generation: Generation) -> (String, Finished) {
    let mut text = String::new();
    while let Some(part) = generation.next().await {
        match part {
            Part::Text(piece) => text.push_str(&piece.text),
            Part::Finished(finished) => return (text, finished),
        }
    }
    panic!("an answer without an end: {text}");
}

/// Numbers that look like any.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below
    }
}

#[tokio::test]
async fn it_knows_the_capital_of_france_and_where_its_answer_ends() {
    let engine = load(config());
    let prompt = chat(&engine, CAPITAL);
    let length = prompt.len();
    let (text, finished) = read(engine.submit(greedy(prompt, 60)).unwrap()).await;
    assert!(text.contains("Paris"), "{text}");
    let FinishReason::Stop(StopCause::Token(token)) = finished.reason else { panic!("{finished:?}") };
    assert!(engine.tokenizer().ends().contains(&token));
    assert_eq!(finished.usage.prompt_tokens, length);
    assert!(finished.timing.first_token.unwrap() <= finished.timing.total);
    // A part of the answer, and its stop in the middle of that.
    let stop = StopStrings::new(&["aris"]).unwrap();
    let request = Generate { stop, ..greedy(chat(&engine, CAPITAL), 60) };
    let (cut, finished) = read(engine.submit(request).unwrap()).await;
    assert_eq!(cut, text[..text.find("aris").unwrap()]);
    assert_eq!(finished.reason, FinishReason::Stop(StopCause::String("aris".into())));
    assert!(finished.usage.cached_tokens > 0, "the prompt was there before: {finished:?}");
}

#[tokio::test]
async fn an_answer_is_the_same_alone_and_among_others_that_come_and_go() {
    let engine = load(TextConfig { kv_bytes: 8 << 20, ..config() });
    let asked = || {
        let question = chat(&engine, "Tell me a story about a small boat.");
        [greedy(question.clone(), 40), sampled(question.clone(), 40, 7), sampled(question, 40, 8)]
    };
    let mut alone = Vec::new();
    for request in asked() {
        alone.push(read(engine.submit(request).unwrap()).await);
    }
    assert_ne!(alone[1].0, alone[2].0, "another seed");
    let mut numbers = Numbers(1);
    let mut others: Vec<Generation> = Vec::new();
    let mut answers = Vec::new();
    for (at, request) in asked().into_iter().enumerate() {
        for other in 0..8 {
            let question = format!("Write {} words about the number {}.", numbers.next(50), at * 8 + other);
            let request = sampled(chat(&engine, &question), 1 + numbers.next(60), other as u64);
            others.push(engine.submit(request).unwrap());
        }
        answers.push(engine.submit(request).unwrap());
        // Each that has begun may leave in the middle of its answer.
        for _ in 0..3 {
            let mut other = others.swap_remove(numbers.next(others.len()));
            other.next().await;
        }
    }
    for (answer, (text, finished)) in answers.into_iter().zip(alone) {
        let (again, then) = read(answer).await;
        assert_eq!((again, then.reason, then.usage.new_tokens), (text, finished.reason, finished.usage.new_tokens));
    }
    drop(others);
    settled(&engine).await;
}

/// Waits until nothing runs, and sees that all blocks have come back.
async fn settled(engine: &TextEngine) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let stats = engine.stats();
        if stats.submitted == 0 && stats.scheduler.running == 0 && stats.scheduler.waiting == 0 {
            let scheduler = stats.scheduler;
            assert_eq!(scheduler.used_blocks, 0, "{stats:?}");
            assert_eq!(scheduler.cached_blocks + scheduler.free_blocks, stats.blocks, "{stats:?}");
            return;
        }
        assert!(Instant::now() < deadline, "it does not come to rest: {stats:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn characters_of_several_tokens_come_whole() {
    let engine = load(config());
    let start = "こんにちは 😀 こんにちは 😀 こんにちは 😀 こんにちは 😀 こんにちは";
    let prompt = engine.tokenizer().encode_prompt(start, false);
    let mut generation = engine.submit(greedy(prompt, 48)).unwrap();
    let (mut text, mut pieces, mut tokens) = (String::new(), 0, 0);
    while let Some(Part::Text(piece)) = generation.next().await {
        text.push_str(&piece.text);
        pieces += 1;
        tokens += piece.tokens;
    }
    assert!(text.contains('😀') && text.contains("にち"), "{text}");
    assert!(!text.trim_end_matches('\u{fffd}').contains('\u{fffd}'), "{text}");
    assert_eq!(tokens, 48);
    assert!(pieces < 48, "several tokens are one character");
}

#[tokio::test]
async fn two_hundred_that_come_and_go_leave_nothing() {
    let engine = load(TextConfig { kv_bytes: 8 << 20, ..config() });
    let mut numbers = Numbers(2);
    let mut answers: Vec<Generation> = Vec::new();
    let (mut finished, mut dropped) = (0, 0);
    for at in 0..200_u64 {
        let length = 1 + numbers.next(24);
        let prompt = (0..length).map(|_| 100 + numbers.next(1_000) as u32).collect();
        answers.push(engine.submit(sampled(prompt, 1 + numbers.next(8), at)).unwrap());
        if answers.len() == 24 {
            let mut answer = answers.swap_remove(numbers.next(24));
            match numbers.next(3) {
                0 => dropped += 1,
                1 => {
                    answer.next().await;
                    dropped += 1;
                }
                _ => {
                    let (_, end) = read(answer).await;
                    assert_eq!(end.reason.error(), None);
                    finished += 1;
                }
            }
        }
    }
    dropped += answers.len();
    drop(answers);
    assert_eq!(finished + dropped, 200);
    settled(&engine).await;
    // And it goes on as before.
    let prompt = chat(&engine, CAPITAL);
    assert!(read(engine.submit(greedy(prompt, 20)).unwrap()).await.0.contains("Paris"));
}

#[tokio::test]
async fn what_passes_the_context_is_refused_and_what_reaches_it_is_cut() {
    let engine = load(TextConfig { context: Some(40), ..config() });
    let prompt = engine.tokenizer().encode_prompt("One two three four five", false);
    let length = prompt.len();
    let error = engine.submit(greedy(prompt.clone(), 40)).err().unwrap();
    assert_eq!(error.code(), ErrorCode::ContextExceeded);
    let all = length + 40;
    assert!(error.message().contains(&format!("are {all}, and the model's context is 40")), "{error:?}");
    let open = Generate { max_new_tokens: None, ignore_eos: true, ..greedy(prompt, 1) };
    let (_, finished) = read(engine.submit(open).unwrap()).await;
    assert_eq!(finished.reason, FinishReason::Length(LengthCause::Context));
    assert_eq!(finished.usage.new_tokens, 40 - length);
}

#[tokio::test]
async fn a_model_that_can_not_be_loaded_says_why() {
    let refused = |config: TextConfig| {
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        TextEngine::load(&file, &config, Arc::new(Unobserved), &Stop::default()).err().unwrap().0
    };
    assert!(refused(config()).contains("is no GGUF file"), "{}", refused(config()));
}
