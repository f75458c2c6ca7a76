//! How fast is a network, beside llama.cpp on the same file? SmolLM2-135M-Instruct in Q4_1: prompts, and decodes of several
//! sequences at once, on one thread and on two.
//!
//! Ours and llama.cpp take turns in this process and in a child's (`llama_cpp.py`, with the Python of
//! `WEIRGATE_FOREIGN_PYTHON`, whose package xllamacpp has the library). Read the ratios of the processors' time, which are those
//! of one round each: other work on the machine spoils wall times first. Arguments pick cases, by parts of their names; with
//! `alone` llama.cpp is left out.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use serde::Deserialize;
use weirgate_models::network::{Network, NetworkConfig, Row};

/// What is measured.
#[derive(Clone, Copy, Debug)]
enum Case {
    /// One prompt of so many tokens.
    Prompt(usize),
    /// Steps of so many sequences, each with so many tokens before.
    Decode { streams: usize, past: usize },
}

const CASES: [Case; 8] = [
    Case::Prompt(128),
    Case::Prompt(512),
    Case::Prompt(2048),
    Case::Decode { streams: 1, past: 64 },
    Case::Decode { streams: 4, past: 64 },
    Case::Decode { streams: 8, past: 64 },
    Case::Decode { streams: 16, past: 64 },
    Case::Decode { streams: 1, past: 2048 },
];
const STEPS: usize = 16;
/// Tokens of a sequence at most, and blocks for these.
const CONTEXT: usize = 4096;
const BLOCKS: usize = CONTEXT / 16;

/// Seconds by the clock, and of the processor.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Time {
    wall: f64,
    processor: f64,
}

fn main() {
    let rounds = std::env::var("WEIRGATE_BENCH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(5);
    let models = variable("WEIRGATE_MODELS", "build/models");
    let model = models.join("smollm2/SmolLM2-135M-Instruct.Q4_1.gguf");
    assert!(model.exists(), "{} is missing: run `make setup-models`", model.display());
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let (alone, wanted): (Vec<_>, Vec<_>) = arguments.iter().partition(|argument| *argument == "alone");
    let mut rival = if alone.is_empty() { Rival::start(&model) } else { None };
    if rival.is_none() && alone.is_empty() {
        println!("llama.cpp is left out: no Python with xllamacpp at WEIRGATE_FOREIGN_PYTHON");
    }
    println!(
        "| case | threads | tokens/s | times llama.cpp's | processor ms a token | llama.cpp's to ours |\n|---|---|---|---|---|---|"
    );
    for threads in [1, 2] {
        let config = NetworkConfig { threads, kv_bytes: 2 << 30, ..NetworkConfig::default() };
        let mut network = Network::load(&model, &config).expect("the model is whole");
        for case in CASES {
            let name = format!("{case:?}, {threads} threads");
            if !wanted.is_empty() && !wanted.iter().any(|part| name.contains(part.as_str())) {
                continue;
            }
            let (mut speeds, mut used, mut walls, mut processors) = (vec![], vec![], vec![], vec![]);
            for round in 0..=rounds {
                let first = (round % 2 == 0).then(|| ours(&mut network, case));
                let theirs = rival.as_mut().map(|rival| rival.run(threads, case));
                let ours = first.unwrap_or_else(|| ours(&mut network, case));
                // The first round warms up.
                if round > 0 {
                    speeds.push(case.tokens() / ours.wall);
                    used.push(1e3 * ours.processor / case.tokens());
                    if let Some(theirs) = theirs {
                        walls.push(theirs.wall / ours.wall);
                        processors.push(theirs.processor / ours.processor);
                    }
                }
            }
            let ratio = |ratios: Vec<f64>| if ratios.is_empty() { "-".to_owned() } else { spread(ratios) };
            let (walls, processors) = (ratio(walls), ratio(processors));
            println!("| {case:?} | {threads} | {:.0} | {walls} | {:.2} | {processors} |", median(speeds), median(used));
        }
    }
}

impl Case {
    fn tokens(self) -> f64 {
        match self {
            Case::Prompt(tokens) => tokens as f64,
            Case::Decode { streams, .. } => (streams * STEPS) as f64,
        }
    }
}

fn token_at(sequence: usize, position: usize) -> u32 {
    (1000 + (sequence * 7919 + position * 104_729) % 40_000) as u32
}

fn ours(network: &mut Network, case: Case) -> Time {
    let tables: Vec<Vec<u32>> =
        (0..16).map(|sequence| (sequence * BLOCKS as u32..(sequence + 1) * BLOCKS as u32).collect()).collect();
    let start = match case {
        Case::Prompt(tokens) => {
            let start = Start::now();
            prompt(network, 0, tokens, &tables[0]);
            start
        }
        Case::Decode { streams, past } => {
            for (sequence, table) in tables[..streams].iter().enumerate() {
                prompt(network, sequence, past, table);
            }
            let start = Start::now();
            for position in past..past + STEPS {
                let tokens: Vec<u32> = (0..streams).map(|sequence| token_at(sequence, position)).collect();
                let row = |(tokens, blocks)| Row { tokens, start: position, blocks, logits: true };
                let rows: Vec<Row> = tokens.chunks(1).zip(tables.iter().map(Vec::as_slice)).map(row).collect();
                network.step(&rows).expect("the step is within the limits");
            }
            start
        }
    };
    start.passed()
}

fn prompt(network: &mut Network, sequence: usize, length: usize, blocks: &[u32]) {
    let tokens: Vec<u32> = (0..length).map(|position| token_at(sequence, position)).collect();
    let most = network.limits().tokens;
    for (index, tokens) in tokens.chunks(most).enumerate() {
        let logits = (index + 1) * most >= length;
        network.step(&[Row { tokens, start: index * most, blocks, logits }]).expect("the step is within the limits");
    }
}

struct Start {
    clock: Instant,
    used: f64,
}

impl Start {
    fn now() -> Start {
        Start { used: processor(), clock: Instant::now() }
    }

    fn passed(&self) -> Time {
        Time { wall: self.clock.elapsed().as_secs_f64(), processor: processor() - self.used }
    }
}

/// Seconds that all threads of this process had a processor.
fn processor() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc is there");
    let nanoseconds = |task: std::fs::DirEntry| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|first| first.parse::<f64>().ok()).unwrap_or(0.0)
    };
    tasks.flatten().map(nanoseconds).sum::<f64>() / 1e9
}

/// llama.cpp in a process of its own.
struct Rival {
    child: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Rival {
    fn start(model: &std::path::Path) -> Option<Rival> {
        let python = variable("WEIRGATE_FOREIGN_PYTHON", "build/venv-foreign/bin/python");
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/llama_cpp.py");
        let known = Command::new(&python).args(["-c", "import xllamacpp"]).stderr(Stdio::null()).status();
        if !known.is_ok_and(|status| status.success()) {
            return None;
        }
        let mut child = Command::new(python)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("llama_cpp.py starts");
        let ask = child.stdin.take().expect("it is piped");
        let answers = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut rival = Rival { child, ask, answers };
        rival.ask(&serde_json::json!({ "model": model }));
        Some(rival)
    }

    fn run(&mut self, threads: usize, case: Case) -> Time {
        self.ask(&match case {
            Case::Prompt(prompt) => serde_json::json!({ "threads": threads, "prompt": prompt }),
            Case::Decode { streams, past } => {
                serde_json::json!({ "threads": threads, "streams": streams, "past": past, "steps": STEPS })
            }
        })
    }

    fn ask(&mut self, what: &serde_json::Value) -> Time {
        writeln!(self.ask, "{what}").expect("llama_cpp.py runs");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("llama_cpp.py answers");
        serde_json::from_str(&line).expect("llama_cpp.py answers, and says above why it does not")
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A path out of the environment, or of this repository.
fn variable(name: &str, default: &str) -> PathBuf {
    let value = std::env::var_os(name).filter(|value| !value.is_empty());
    value.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(default), PathBuf::from)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn spread(values: Vec<f64>) -> String {
    let (least, most) = values.iter().fold((f64::MAX, 0.0f64), |(least, most), one| (least.min(*one), most.max(*one)));
    format!("{:.2} [{least:.2} .. {most:.2}]", median(values))
}
