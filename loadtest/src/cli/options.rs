//! The flags of `weirgate loadtest`. Each has an environment variable, `WEIRGATE_LOADTEST_` and its name; those of the
//! commands below it have none.
//!
//! What holds only together with other flags is an [`Option`], so that [`super::rules`] can tell whether it was given.

use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use clap::{Args, Subcommand, ValueEnum};
use serde::{Serialize, Serializer};

use super::given::Given;
use crate::request::Protocol;
use crate::slo::Slo;
use crate::target::Target;

/// Measured where nothing else is asked for.
const DURATION: Duration = Duration::from_secs(10);

const EXAMPLES: &str = "\
Examples:
  weirgate loadtest http://127.0.0.1:8080 -m digits -c 16 -d 30s
  weirgate loadtest http://127.0.0.1:8080 -m digits -r 500 --slo 'p99<50ms,errors<0.1%'
  weirgate loadtest http://127.0.0.1:8080 -m digits --sweep --slo 'p99<50ms' --html sweep.html
  weirgate loadtest http://127.0.0.1:8000 -p chat --stream -r 4 --prompt-words 64..512
  weirgate loadtest http://127.0.0.1:8080 -m digits -c 16 --ab http://127.0.0.1:9090

Each flag has an environment variable; of what may be given several times it has one a line. A variable gives way to flags \
that contradict it, and is left aside where it means nothing. A flag that means nothing is an error.";

/// `weirgate loadtest` and what it can do besides.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true, after_long_help = EXAMPLES)]
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
    #[arg(long, value_name = "RATIO")]
    pub fail_above: Option<f64>,
    /// Write the comparison as JSON
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct Show {
    /// Result that `--out` wrote
    pub result: PathBuf,
    /// Write the page here instead of printing the table
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// A load, and what to find out by it.
#[derive(Args, Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Options {
    #[command(flatten)]
    #[serde(skip)]
    pub given: Given,

    /// Server to load, as http://127.0.0.1:8080; a path in it comes before every endpoint's.
    #[arg(value_name = "URL", env = "WEIRGATE_LOADTEST_URL", required = true)]
    #[serde(rename = "url", serialize_with = "shown_if_any")]
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
#[serde(rename_all = "kebab-case")]
pub struct PayloadOptions {
    /// File with a request's body, or a folder of them, sent in turn as they are; may be given several times
    #[arg(long = "body", value_name = "PATH", env = "WEIRGATE_LOADTEST_BODY", value_delimiter = '\n')]
    #[serde(rename = "body")]
    pub bodies: Vec<PathBuf>,

    /// Path to ask instead of the protocol's own
    #[arg(long, value_name = "PATH", env = "WEIRGATE_LOADTEST_PATH")]
    pub path: Option<String>,

    /// Rows of random tensors, for the first dimension where the model leaves it open; 1 by default
    #[arg(long, value_name = "N", env = "WEIRGATE_LOADTEST_ROWS", value_parser = count(1_000_000_000))]
    pub rows: Option<usize>,

    /// Shape of a random input where the model leaves it open, as input_ids=1,128; may be given several times
    #[arg(long = "shape", value_name = "NAME=DIMS", env = "WEIRGATE_LOADTEST_SHAPE", value_delimiter = '\n')]
    #[serde(rename = "shape")]
    pub shapes: Vec<String>,

    /// Bounds of random values of an input, both included, as input_ids=0..30000; may be given several times
    #[arg(long = "values", value_name = "NAME=FROM..TO", env = "WEIRGATE_LOADTEST_VALUES", value_delimiter = '\n')]
    pub values: Vec<String>,

    /// Distinct random requests to make, sent again and again; by default 64 of tensors, and no synthetic prompt twice
    #[arg(long, value_name = "N", env = "WEIRGATE_LOADTEST_DISTINCT", value_parser = count(1_000_000))]
    pub distinct: Option<usize>,

    /// JSONL file of prompts, a request or a conversation each line; sent in turn
    #[arg(long, value_name = "FILE", env = "WEIRGATE_LOADTEST_PROMPTS")]
    pub prompts: Option<PathBuf>,

    /// Words of a synthetic prompt, about a token each, as 128 or, both included, 64..256; 128 by default
    #[arg(long, value_name = "N", env = "WEIRGATE_LOADTEST_PROMPT_WORDS")]
    pub prompt_words: Option<String>,

    /// Words that begin every synthetic prompt, the same for all
    #[arg(long, value_name = "N", env = "WEIRGATE_LOADTEST_SHARED_PREFIX", value_parser = count(1_000_000))]
    pub shared_prefix: Option<usize>,

    /// Different shared beginnings, which prompts take in turn; 1 by default
    #[arg(long, value_name = "N", env = "WEIRGATE_LOADTEST_PREFIXES", value_parser = count(1_000_000))]
    pub prefixes: Option<usize>,

    /// Turns of a synthetic conversation; each builds on the answers before and is due when its caller has thought
    #[arg(long, value_name = "N", env = "WEIRGATE_LOADTEST_TURNS", value_parser = count(1_000))]
    pub turns: Option<usize>,

    /// Tokens to ask for at most (max_tokens); 128 by default
    #[arg(long, value_name = "N", env = "WEIRGATE_LOADTEST_MAX_TOKENS")]
    pub max_tokens: Option<u32>,

    /// Ask for all of max-tokens, where the server knows ignore_eos
    #[arg(long, env = "WEIRGATE_LOADTEST_IGNORE_EOS")]
    pub ignore_eos: bool,

    /// Ask for streamed answers, and measure them part by part
    #[arg(long, env = "WEIRGATE_LOADTEST_STREAM")]
    pub stream: bool,

    /// Header to send, as 'name: value'; may be given several times
    #[arg(short = 'H', long = "header", value_name = "HEADER", env = "WEIRGATE_LOADTEST_HEADER", value_delimiter = '\n', value_parser = parse_header)]
    #[serde(rename = "header", serialize_with = "names")]
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
#[serde(rename_all = "kebab-case")]
pub struct LoadOptions {
    /// Requests a second, or of --turns conversations, whatever becomes of them (open loop): 200, a ramp as 100..500, or steps as 100:10s,200:10s
    #[arg(short, long, value_name = "RATE", env = "WEIRGATE_LOADTEST_RATE")]
    pub rate: Option<String>,

    /// How arrivals are spaced at a rate: constant, poisson (the default), or gamma:CV with a coefficient of variation
    #[arg(long, value_name = "KIND", env = "WEIRGATE_LOADTEST_ARRIVALS")]
    pub arrivals: Option<String>,

    /// Trace to replay: JSONL with timestamp (ms), or CSV with TIMESTAMP; sizes of prompts and answers where it has them
    #[arg(long, value_name = "FILE", env = "WEIRGATE_LOADTEST_TRACE")]
    pub trace: Option<PathBuf>,

    /// How many times as fast as recorded a trace is replayed; 1 by default
    #[arg(long, value_name = "FACTOR", env = "WEIRGATE_LOADTEST_SPEED")]
    pub speed: Option<f64>,

    /// Callers of a closed loop, each waiting for its answer before it asks again; 1 by default
    #[arg(short, long, value_name = "N", env = "WEIRGATE_LOADTEST_CALLERS", value_parser = count(100_000))]
    pub callers: Option<usize>,

    /// Time between an answer and the same caller's next request, in a closed loop or a conversation
    #[arg(long, value_name = "TIME", env = "WEIRGATE_LOADTEST_THINK_TIME", value_parser = crate::time::parse, allow_hyphen_values = true)]
    #[serde(serialize_with = "time_if_any")]
    pub think_time: Option<Duration>,

    /// Time to measure, as 30s or, in seconds, 30: by default 10s, a trace to its end
    #[arg(short, long, value_name = "TIME", env = "WEIRGATE_LOADTEST_DURATION", value_parser = crate::time::parse, allow_hyphen_values = true)]
    #[serde(serialize_with = "time_if_any")]
    pub duration: Option<Duration>,

    /// Requests to measure, instead of a time
    #[arg(short = 'n', long, value_name = "N", env = "WEIRGATE_LOADTEST_REQUESTS", value_parser = clap::value_parser!(u64).range(1..))]
    pub requests: Option<u64>,

    /// Time at the start that is not measured, or auto (the default): until rate and latency are steady
    #[arg(long, value_name = "TIME", env = "WEIRGATE_LOADTEST_WARMUP", allow_hyphen_values = true)]
    pub warmup: Option<String>,

    /// Time from when a request is due to when it is given up
    #[arg(long, value_name = "TIME", env = "WEIRGATE_LOADTEST_TIMEOUT", default_value = "30s", value_parser = crate::time::parse, allow_hyphen_values = true)]
    #[serde(serialize_with = "time")]
    pub timeout: Duration,
}

/// How it gets there.
#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Connections")]
#[serde(rename_all = "kebab-case")]
pub struct ConnectionOptions {
    /// Threads that send; by default half of the cores
    #[arg(long, value_name = "N", env = "WEIRGATE_LOADTEST_THREADS", value_parser = count(1_024))]
    pub threads: Option<usize>,

    /// Requests in flight at most, in an open loop; those beyond wait, and their wait counts; 1024 by default
    #[arg(long, value_name = "N", env = "WEIRGATE_LOADTEST_MAX_IN_FLIGHT", value_parser = count(1_000_000))]
    pub max_in_flight: Option<usize>,

    /// Connections that gRPC calls share; by default one for each thread
    #[arg(long, value_name = "N", env = "WEIRGATE_LOADTEST_CONNECTIONS", value_parser = count(100_000))]
    pub connections: Option<usize>,

    /// Certificates (PEM) to trust instead of the system's
    #[arg(long, value_name = "FILE", env = "WEIRGATE_LOADTEST_CA_FILE")]
    pub ca_file: Option<PathBuf>,

    /// Take any certificate
    #[arg(long, env = "WEIRGATE_LOADTEST_INSECURE")]
    pub insecure: bool,
}

/// What is to be found out.
#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Objective")]
#[serde(rename_all = "kebab-case")]
pub struct JudgeOptions {
    /// What a right answer is: same, file:PATH, contains:TEXT or json:/POINTER=VALUE; may be given several times
    ///
    /// same: it equals the first answer to the same request. file:PATH: it equals the file, JSON by value. contains:TEXT:
    /// its text, or body, has this in it. json:/POINTER=VALUE: it has this value at a JSON pointer, as
    /// json:/outputs/0/data/0=7. All that are given must hold.
    #[arg(long, value_name = "WHAT", env = "WEIRGATE_LOADTEST_EXPECT", value_delimiter = '\n')]
    pub expect: Vec<String>,

    /// Objective, as 'p99<50ms,errors<0.1%'; a run that misses it exits with 1
    #[arg(long, value_name = "TERMS", env = "WEIRGATE_LOADTEST_SLO")]
    #[serde(serialize_with = "shown_if_any")]
    pub slo: Option<Slo>,

    /// Find the knee, and the highest rate that meets the objective; a rate given is where it begins
    #[arg(long, env = "WEIRGATE_LOADTEST_SWEEP")]
    pub sweep: bool,

    /// Second server, loaded in turn with the first
    #[arg(long, value_name = "URL", env = "WEIRGATE_LOADTEST_AB")]
    #[serde(serialize_with = "shown_if_any")]
    pub ab: Option<Target>,

    /// Rounds of an A/B run, each of the duration on both; 5 by default
    #[arg(long, value_name = "N", env = "WEIRGATE_LOADTEST_ROUNDS", value_parser = count(1_000))]
    pub rounds: Option<usize>,
}

/// What is told, and where.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub struct OutputOptions {
    /// Write the result as JSON; - is standard output, and the table goes to standard error then
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

impl PayloadOptions {
    pub fn max_tokens(&self) -> u32 {
        self.max_tokens.unwrap_or(128)
    }
}

impl LoadOptions {
    pub fn duration(&self) -> Duration {
        self.duration.unwrap_or(DURATION)
    }

    pub fn think_time(&self) -> Duration {
        self.think_time.unwrap_or_default()
    }

    /// Whether requests are due whatever becomes of those before. A sweep's are, but for its lone caller's.
    pub fn is_open(&self) -> bool {
        self.rate.is_some() || self.trace.is_some()
    }
}

/// Reads a number from 1 to `most`.
fn count(most: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=most)
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

fn time_if_any<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    shown_if_any(&time.map(humantime::format_duration), serializer)
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
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
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
        assert_eq!(value["header"], serde_json::json!(["x-key"]));
        assert_eq!(value["slo"], "p99<50ms");
        assert!(!value.to_string().contains("secret"), "{value}");
    }

    #[test]
    fn a_result_names_options_as_flags_do() {
        let value = serde_json::to_value(parse(&[])).unwrap();
        let mut command = Command::command();
        command.build();
        let flags: Vec<_> = command.get_arguments().filter_map(|flag| flag.get_long()).collect();
        let names: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
        for name in &names {
            assert!(*name == "url" || flags.contains(name), "{name} is no flag: {flags:?}");
        }
        let told = ["out", "html", "progress", "help"];
        for flag in flags {
            assert!(names.contains(&flag) || told.contains(&flag), "--{flag} is left out: {names:?}");
        }
    }

    #[test]
    fn times_are_of_seconds_where_they_have_no_unit_and_never_below_0() {
        let load = parse(&["-d", "10", "--timeout", "1.5", "--think-time", "20ms"]).load;
        assert_eq!((load.duration, load.timeout), (Some(Duration::from_secs(10)), Duration::from_millis(1500)));
        assert_eq!(load.think_time, Some(Duration::from_millis(20)));
        for flag in ["-d", "--timeout", "--think-time"] {
            let error = Command::try_parse_from(["loadtest", "127.0.0.1:1", flag, "-5s"]).unwrap_err().to_string();
            assert!(error.contains("'-5s' is below 0"), "{error}");
        }
    }

    #[test]
    fn paths_are_taken_as_they_are() {
        let options = parse(&["--body", "req:1.json", "--body", "b;c.json"]);
        assert_eq!(options.payload.bodies, [PathBuf::from("req:1.json"), PathBuf::from("b;c.json")]);
    }

    #[test]
    fn numbers_out_of_bounds_are_told_with_the_bounds() {
        for (flag, value, bounds) in [
            ("--callers", "0", "1..=100000"),
            ("--callers", "100001", "1..=100000"),
            ("--threads", "4000000000", "1..=1024"),
            ("--max-in-flight", "1000001", "1..=1000000"),
            ("--connections", "0", "1..=100000"),
            ("--rounds", "1001", "1..=1000"),
            ("--distinct", "0", "1..=1000000"),
            ("--turns", "99999999999", "1..=1000"),
            ("--prefixes", "1000001", "1..=1000000"),
            ("--shared-prefix", "99999999999", "1..=1000000"),
            ("--rows", "0", "1..=1000000000"),
            ("--requests", "0", "1.."),
        ] {
            let error = Command::try_parse_from(["loadtest", "127.0.0.1:1", flag, value]).unwrap_err().to_string();
            assert!(error.contains(flag) && error.contains(value) && error.contains(bounds), "{error}");
        }
    }

    #[test]
    fn results_are_put_side_by_side_whatever_the_environment_says_of_runs() {
        let mut command = Command::command();
        command.build();
        for name in ["compare", "show"] {
            let command = command.find_subcommand(name).unwrap();
            assert!(command.get_arguments().all(|argument| argument.get_env().is_none()), "{name}");
        }
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
