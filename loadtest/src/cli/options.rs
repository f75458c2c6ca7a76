//! The flags of `weirgate loadtest`. Each has an environment variable, `WEIRGATE_LOADTEST_` and its name.

use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde::{Serialize, Serializer};

use crate::request::Protocol;
use crate::slo::Slo;
use crate::target::Target;

/// `weirgate loadtest` and what it can do besides.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Loadtest {
    #[command(subcommand)]
    pub other: Option<Other>,

    #[command(flatten)]
    pub options: Options,
}

#[derive(Debug, Subcommand)]
pub enum Other {
    /// Put two results side by side, with ratio and spread
    Compare(Compare),
    /// Show a result again, as a table or a page
    Show(Show),
}

/// Two result files.
#[derive(Args, Debug)]
pub struct Compare {
    /// Result that `--out` wrote: the baseline
    pub a: PathBuf,
    /// Result to compare with it
    pub b: PathBuf,
    /// Exit with 1 if a figure of B is surely worse than this many times A's, as 1.1
    #[arg(long, value_name = "RATIO", env = "WEIRGATE_LOADTEST_FAIL_ABOVE")]
    pub fail_above: Option<f64>,
    /// Write the comparison as JSON
    #[arg(short, long, value_name = "FILE", env = "WEIRGATE_LOADTEST_OUT")]
    pub out: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct Show {
    /// Result that `--out` wrote
    pub result: PathBuf,
    /// Write the page here instead of printing the table
    #[arg(long, value_name = "FILE", env = "WEIRGATE_LOADTEST_HTML")]
    pub html: Option<PathBuf>,
}

/// A load, and what to find out by it.
#[derive(Args, Clone, Debug, Serialize)]
pub struct Options {
    /// Server to load, as http://127.0.0.1:8080; a path in it comes before every endpoint's.
    #[arg(value_name = "URL", env = "WEIRGATE_LOADTEST_URL", required = true)]
    #[serde(serialize_with = "shown_if_any")]
    pub target: Option<Target>,

    /// Model to ask
    #[arg(short, long, value_name = "NAME", env = "WEIRGATE_LOADTEST_MODEL")]
    pub model: Option<String>,

    /// Protocol to speak
    #[arg(short, long, env = "WEIRGATE_LOADTEST_PROTOCOL", default_value = "v2")]
    pub protocol: Protocol,

    /// Version of the model, of V2 protocols
    #[arg(long, value_name = "VERSION", env = "WEIRGATE_LOADTEST_MODEL_VERSION")]
    pub model_version: Option<String>,

    #[command(flatten)]
    #[serde(flatten)]
    pub payload: PayloadOptions,

    #[command(flatten)]
    #[serde(flatten)]
    pub load: LoadOptions,

    #[command(flatten)]
    #[serde(flatten)]
    pub connection: ConnectionOptions,

    #[command(flatten)]
    #[serde(flatten)]
    pub judge: JudgeOptions,

    #[command(flatten)]
    #[serde(skip)]
    pub output: OutputOptions,
}

/// What is asked. By default V1 and V2 are asked random tensors of the shapes in the server's metadata, and OpenAI's
/// endpoints synthetic prompts.
#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Payload")]
pub struct PayloadOptions {
    /// File with a request's body, or a folder of them, sent in turn as they are; may be given several times
    #[arg(long = "body", value_name = "PATH", env = "WEIRGATE_LOADTEST_BODY", value_delimiter = ':')]
    pub bodies: Vec<PathBuf>,

    /// Path to ask instead of the protocol's own
    #[arg(long, value_name = "PATH", env = "WEIRGATE_LOADTEST_PATH")]
    pub path: Option<String>,

    /// Rows of random tensors, for the first dimension where the model leaves it open
    #[arg(long, value_name = "N", env = "WEIRGATE_LOADTEST_ROWS", default_value_t = 1)]
    pub rows: usize,

    /// Shape of a random input where the model leaves it open, as input_ids=1,128; may be given several times
    #[arg(long = "shape", value_name = "NAME=DIMS", env = "WEIRGATE_LOADTEST_SHAPE", value_delimiter = ';')]
    pub shapes: Vec<String>,

    /// Bounds of random values of an input, as input_ids=0..30000; may be given several times
    #[arg(long = "values", value_name = "NAME=FROM..TO", env = "WEIRGATE_LOADTEST_VALUES", value_delimiter = ';')]
    pub values: Vec<String>,

    /// Distinct random requests or prompts to make, sent in turn
    #[arg(long, value_name = "N", env = "WEIRGATE_LOADTEST_DISTINCT", default_value_t = 64)]
    pub distinct: usize,

    /// JSONL file of prompts, a request or a conversation each line; sent in turn
    #[arg(long, value_name = "FILE", env = "WEIRGATE_LOADTEST_PROMPTS")]
    pub prompts: Option<PathBuf>,

    /// Words of a synthetic prompt, about a token each, as 128 or 64..256
    #[arg(long, value_name = "N", env = "WEIRGATE_LOADTEST_PROMPT_WORDS", default_value = "128")]
    pub prompt_words: String,

    /// Words that begin every synthetic prompt, the same for all
    #[arg(long, value_name = "N", env = "WEIRGATE_LOADTEST_SHARED_PREFIX", default_value_t = 0)]
    pub shared_prefix: usize,

    /// Different shared beginnings, for as many groups of callers
    #[arg(long, value_name = "N", env = "WEIRGATE_LOADTEST_PREFIXES", default_value_t = 1)]
    pub prefixes: usize,

    /// Turns of a synthetic conversation; each builds on the answers before and is due when its caller has thought
    #[arg(long, value_name = "N", env = "WEIRGATE_LOADTEST_TURNS", default_value_t = 1)]
    pub turns: usize,

    /// Tokens to ask for at most (max_tokens)
    #[arg(long, value_name = "N", env = "WEIRGATE_LOADTEST_MAX_TOKENS", default_value_t = 128)]
    pub max_tokens: u32,

    /// Ask for all of max-tokens, where the server knows ignore_eos
    #[arg(long, env = "WEIRGATE_LOADTEST_IGNORE_EOS")]
    pub ignore_eos: bool,

    /// Ask for streamed answers, and measure them part by part
    #[arg(long, env = "WEIRGATE_LOADTEST_STREAM")]
    pub stream: bool,

    /// Header to send, as 'name: value'; may be given several times
    #[arg(short = 'H', long = "header", value_name = "HEADER", env = "WEIRGATE_LOADTEST_HEADER", value_delimiter = '\n', value_parser = parse_header)]
    #[serde(serialize_with = "names")]
    pub headers: Vec<(http::HeaderName, http::HeaderValue)>,

    /// File with a key that is sent as 'authorization: Bearer KEY'
    #[arg(long, value_name = "FILE", env = "WEIRGATE_LOADTEST_API_KEY_FILE")]
    pub api_key_file: Option<PathBuf>,

    /// Seed of everything random: values, prompts, arrivals, order of A and B
    #[arg(long, value_name = "N", env = "WEIRGATE_LOADTEST_SEED", default_value_t = 1)]
    pub seed: u64,
}

/// When it is asked. Without a rate or trace it is a closed loop.
#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Load")]
pub struct LoadOptions {
    /// Requests a second, whatever becomes of them (open loop): 200, a ramp as 100..500, or steps as 100:10s,200:10s
    #[arg(short, long, value_name = "RATE", env = "WEIRGATE_LOADTEST_RATE")]
    pub rate: Option<String>,

    /// How arrivals are spaced at a rate: constant, poisson, or gamma:CV with a coefficient of variation
    #[arg(long, value_name = "KIND", env = "WEIRGATE_LOADTEST_ARRIVALS", default_value = "poisson")]
    pub arrivals: String,

    /// Trace to replay: JSONL with timestamp (ms), or CSV with TIMESTAMP; sizes of prompts and answers where it has them
    #[arg(long, value_name = "FILE", env = "WEIRGATE_LOADTEST_TRACE", conflicts_with = "rate")]
    pub trace: Option<PathBuf>,

    /// How many times as fast as recorded a trace is replayed
    #[arg(long, value_name = "FACTOR", env = "WEIRGATE_LOADTEST_SPEED", default_value_t = 1.0)]
    pub speed: f64,

    /// Callers of a closed loop, each waiting for its answer before it asks again
    #[arg(short, long, value_name = "N", env = "WEIRGATE_LOADTEST_CALLERS", default_value_t = 1)]
    pub callers: usize,

    /// Time between an answer and the same caller's next request
    #[arg(long, value_name = "TIME", env = "WEIRGATE_LOADTEST_THINK_TIME", default_value = "0s", value_parser = humantime::parse_duration)]
    #[serde(serialize_with = "time")]
    pub think_time: Duration,

    /// Time to measure
    #[arg(short, long, value_name = "TIME", env = "WEIRGATE_LOADTEST_DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    #[serde(serialize_with = "time")]
    pub duration: Duration,

    /// Requests to measure, instead of a time
    #[arg(short = 'n', long, value_name = "N", env = "WEIRGATE_LOADTEST_REQUESTS", conflicts_with = "duration")]
    pub requests: Option<u64>,

    /// Time at the start that is not measured, or auto: until rate and latency are steady
    #[arg(long, value_name = "TIME", env = "WEIRGATE_LOADTEST_WARMUP", default_value = "auto")]
    pub warmup: String,

    /// Time from when a request is due to when it is given up
    #[arg(long, value_name = "TIME", env = "WEIRGATE_LOADTEST_TIMEOUT", default_value = "30s", value_parser = humantime::parse_duration)]
    #[serde(serialize_with = "time")]
    pub timeout: Duration,
}

/// How it gets there.
#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Connections")]
pub struct ConnectionOptions {
    /// Threads that send; by default half of the cores
    #[arg(long, value_name = "N", env = "WEIRGATE_LOADTEST_THREADS")]
    pub threads: Option<usize>,

    /// Requests in flight at most, in an open loop; those beyond wait, and their wait counts
    #[arg(long, value_name = "N", env = "WEIRGATE_LOADTEST_MAX_IN_FLIGHT", default_value_t = 1024)]
    pub max_in_flight: usize,

    /// Connections that gRPC calls share; by default one for each thread
    #[arg(long, value_name = "N", env = "WEIRGATE_LOADTEST_CONNECTIONS")]
    pub connections: Option<usize>,

    /// Certificates (PEM) to trust instead of the system's
    #[arg(long, value_name = "FILE", env = "WEIRGATE_LOADTEST_CA_FILE", conflicts_with = "insecure")]
    pub ca_file: Option<PathBuf>,

    /// Take any certificate
    #[arg(long, env = "WEIRGATE_LOADTEST_INSECURE")]
    pub insecure: bool,
}

/// What is to be found out.
#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Objective")]
pub struct JudgeOptions {
    /// What a right answer has: same, file:PATH, contains:TEXT, json:/POINTER=VALUE; may be given several times
    #[arg(long, value_name = "WHAT", env = "WEIRGATE_LOADTEST_EXPECT")]
    pub expect: Vec<String>,

    /// Objective, as 'p99<50ms,errors<0.1%'; a run that misses it exits with 1
    #[arg(long, value_name = "TERMS", env = "WEIRGATE_LOADTEST_SLO")]
    #[serde(serialize_with = "shown_if_any", skip_serializing_if = "Option::is_none")]
    pub slo: Option<Slo>,

    /// Find the knee, and the highest rate that meets the objective; a rate given is where it begins
    #[arg(long, env = "WEIRGATE_LOADTEST_SWEEP", conflicts_with_all = ["trace", "ab"])]
    pub sweep: bool,

    /// Second server, loaded in turn with the first
    #[arg(long, value_name = "URL", env = "WEIRGATE_LOADTEST_AB")]
    #[serde(serialize_with = "shown_if_any", skip_serializing_if = "Option::is_none")]
    pub ab: Option<Target>,

    /// Rounds of an A/B run, each of the duration on both
    #[arg(long, value_name = "N", env = "WEIRGATE_LOADTEST_ROUNDS", default_value_t = 5)]
    pub rounds: usize,
}

/// What is told, and where.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub struct OutputOptions {
    /// Write the result as JSON
    #[arg(short, long, value_name = "FILE", env = "WEIRGATE_LOADTEST_OUT")]
    pub out: Option<PathBuf>,

    /// Write the result as one self-contained page
    #[arg(long, value_name = "FILE", env = "WEIRGATE_LOADTEST_HTML")]
    pub html: Option<PathBuf>,

    /// Progress on standard error: a line that renews itself, a line each window, or nothing
    #[arg(long, value_name = "HOW", env = "WEIRGATE_LOADTEST_PROGRESS", default_value = "auto")]
    pub progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    /// A renewed line on a terminal, else lines
    Auto,
    Line,
    Lines,
    None,
}

fn parse_header(text: &str) -> Result<(http::HeaderName, http::HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or_else(|| format!("'{text}' is not of the form 'name: value'"))?;
    let name: http::HeaderName = name.trim().parse().map_err(|_| format!("'{name}' is not a header's name"))?;
    if [http::header::CONTENT_LENGTH, http::header::TRANSFER_ENCODING, http::header::CONNECTION].contains(&name) {
        return Err(format!("'{name}' is written by the load tester itself: leave it out"));
    }
    let value = value.trim().parse().map_err(|_| format!("the value of '{name}' is not a header's value"))?;
    Ok((name, value))
}

fn time<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*time))
}

/// Values of headers may be secrets.
fn names<S: Serializer>(headers: &[(http::HeaderName, http::HeaderValue)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(headers.iter().map(|(name, _)| name.as_str()))
}

fn shown_if_any<T: Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        loadtest: Loadtest,
    }

    /// The options of a command line that names a server and these flags.
    pub(in super::super) fn parse(flags: &[&str]) -> Options {
        let words = ["loadtest", "127.0.0.1:1"].iter().chain(flags);
        Command::try_parse_from(words).unwrap().loadtest.options
    }

    #[test]
    fn a_result_says_how_to_run_it_again_but_no_secret() {
        let options = parse(&["-m", "m", "-r", "5", "-d", "1500ms", "-H", "x-key: secret", "--slo", "p99<50ms"]);
        let value = serde_json::to_value(&options).unwrap();
        assert_eq!(value["model"], "m");
        assert_eq!(value["duration"], "1s 500ms");
        assert_eq!(value["headers"], serde_json::json!(["x-key"]));
        assert_eq!(value["slo"], "p99<50ms");
        assert!(!value.to_string().contains("secret"), "{value}");
    }

    #[test]
    fn subcommands_need_no_server() {
        let command = Command::try_parse_from(["loadtest", "compare", "a.json", "b.json"]).unwrap();
        assert!(command.loadtest.options.target.is_none());
        assert!(matches!(command.loadtest.other, Some(Other::Compare(_))));
        assert!(Command::try_parse_from(["loadtest"]).is_err());
        for header in ["nothing", "content-length: 5", "a b: c", "a: b\u{1}c"] {
            assert!(Command::try_parse_from(["loadtest", "127.0.0.1:1", "-H", header]).is_err(), "{header}");
        }
    }
}
