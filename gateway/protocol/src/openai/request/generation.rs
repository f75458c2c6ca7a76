//! What a request says of the text that it asks for, whichever route it takes.

use crate::error::{Error, Result, Shown};
use crate::json::{Cursor, Fault, Parsed, owned_string};

use super::fields::Neutral::{Bool, Empty, Null, Number};
use super::fields::{self, Field, honoured, ignored, refused};
use super::values::{boolean, count, list, number, put, strings, token, whole};

/// The most stop strings, the most bytes of one, and the most stop tokens.
pub const MOST_STOPS: usize = 32;
pub const LONGEST_STOP: usize = 1_024;
pub const MOST_STOP_TOKENS: usize = 64;
/// The most entries of `logit_bias`.
pub const MOST_BIASES: usize = 1_024;
/// The most bytes of `cache_salt`.
const LONGEST_SALT: usize = 1_024;

/// How a text is to be generated. What is not given has its default, which asks for the model's own distribution.
#[derive(Clone, Debug, PartialEq)]
pub struct Generation {
    /// Most tokens of the answer; `None` for as many as there is room for. It is 0 only where the prompt alone is wanted back.
    pub max_tokens: Option<usize>,
    pub min_tokens: usize,
    /// From 0, which is greedy, to 2.
    pub temperature: f32,
    /// At least 1; `None` for all.
    pub top_k: Option<usize>,
    /// Above 0 and up to 1.
    pub top_p: f32,
    /// From 0 to 1.
    pub min_p: f32,
    /// From 0.01 to 100; 1 is none.
    pub repetition_penalty: f32,
    /// From -2 to 2.
    pub presence_penalty: f32,
    /// From -2 to 2.
    pub frequency_penalty: f32,
    /// From -100 to 100, by token.
    pub logit_bias: Vec<(u32, f32)>,
    /// `None` for any. Negative ones are the number of the same bits.
    pub seed: Option<u64>,
    /// None of them is empty.
    pub stop: Vec<String>,
    pub stop_token_ids: Vec<u32>,
    pub ignore_eos: bool,
    pub stream: bool,
    pub stream_options: StreamOptions,
    /// Only calls with equal salts share what is cached of their prompts. Never empty.
    pub cache_salt: Option<String>,
}

impl Default for Generation {
    fn default() -> Self {
        Generation {
            max_tokens: None,
            min_tokens: 0,
            temperature: 1.0,
            top_k: None,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
            seed: None,
            stop: Vec::new(),
            stop_token_ids: Vec::new(),
            ignore_eos: false,
            stream: false,
            stream_options: StreamOptions::default(),
            cache_salt: None,
        }
    }
}

/// What a stream tells besides the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamOptions {
    /// A chunk without choices tells the usage at the end; the others have `usage: null`.
    pub include_usage: bool,
    /// Each chunk tells the usage so far. Without `include_usage` none does.
    pub continuous_usage: bool,
}

/// A request's part of this, while it is read.
#[derive(Default)]
pub(crate) struct Draft {
    pub generation: Generation,
    /// Whether `stream` is given at all.
    pub stream: Option<bool>,
    max_completion_tokens: Option<usize>,
    stream_options: bool,
}

impl Draft {
    /// What is read, if its parts agree. `alone` says whether a prompt may be wanted back without an answer.
    pub fn finish(self, alone: bool) -> Result<Generation> {
        let mut generation = self.generation;
        if let Some(most) = self.max_completion_tokens {
            match generation.max_tokens.replace(most) {
                Some(other) if other != most => {
                    return Err(Error::invalid(format!(
                        "max_tokens is {other} and max_completion_tokens is {most}; give one of them"
                    ))
                    .with_param("max_tokens"));
                }
                _ => {}
            }
        }
        if generation.max_tokens == Some(0) && !alone {
            return Err(Error::invalid("max_tokens is 0; it must be at least 1").with_param("max_tokens"));
        }
        if let Some(most) = generation.max_tokens
            && generation.min_tokens > most
        {
            let least = generation.min_tokens;
            let text = format!("min_tokens is {least}; it must be at most max_tokens, which is {most}");
            return Err(Error::invalid(text).with_param("min_tokens"));
        }
        generation.stream = self.stream.unwrap_or(false);
        if self.stream_options && !generation.stream {
            let text = "stream_options is given, and stream is not true: give both or neither";
            return Err(Error::invalid(text).with_param("stream_options"));
        }
        Ok(generation)
    }
}

/// Shared by all routes that generate text.
pub(crate) static FIELDS: &[Field<Draft>] = &[
    honoured("max_tokens", "most tokens of the answer", |cursor, draft| {
        put(&mut draft.generation.max_tokens, Some(count(cursor, 0)?))
    }),
    honoured("max_completion_tokens", "the same; where both are given they must agree", |cursor, draft| {
        put(&mut draft.max_completion_tokens, Some(count(cursor, 0)?))
    }),
    honoured("min_tokens", "the answer ends at no token and no stop string before it has so many", |cursor, draft| {
        put(&mut draft.generation.min_tokens, count(cursor, 0)?)
    }),
    honoured("temperature", "from 0, which always takes the likeliest token, to 2; default 1", |cursor, draft| {
        put(&mut draft.generation.temperature, number(cursor, |value| (0.0..=2.0).contains(&value), "from 0 to 2")?)
    }),
    honoured("top_p", "above 0 and up to 1; default 1", |cursor, draft| {
        put(&mut draft.generation.top_p, number(cursor, |value| value > 0.0 && value <= 1.0, "above 0 and at most 1")?)
    }),
    honoured("top_k", "how many of the likeliest tokens are drawn from; 0 and -1 are all", |cursor, draft| {
        let given = whole(cursor, -1..=i64::from(u32::MAX))?;
        draft.generation.top_k = usize::try_from(given).ok().filter(|most| *most > 0);
        Ok(())
    }),
    honoured("min_p", "from 0 to 1, of the likeliest token's probability; default 0", |cursor, draft| {
        put(&mut draft.generation.min_p, number(cursor, |value| (0.0..=1.0).contains(&value), "from 0 to 1")?)
    }),
    honoured("repetition_penalty", "from 0.01 to 100; default 1, which is none", |cursor, draft| {
        put(
            &mut draft.generation.repetition_penalty,
            number(cursor, |value| (0.01..=100.0).contains(&value), "from 0.01 to 100")?,
        )
    }),
    honoured("presence_penalty", "from -2 to 2; default 0", |cursor, draft| {
        put(
            &mut draft.generation.presence_penalty,
            number(cursor, |value| (-2.0..=2.0).contains(&value), "from -2 to 2")?,
        )
    }),
    honoured("frequency_penalty", "from -2 to 2; default 0", |cursor, draft| {
        put(
            &mut draft.generation.frequency_penalty,
            number(cursor, |value| (-2.0..=2.0).contains(&value), "from -2 to 2")?,
        )
    }),
    honoured(
        "logit_bias",
        "`{\"token id\": bias}`, each from -100, which takes the token out, to 100; up to 1,024",
        |cursor, draft| put(&mut draft.generation.logit_bias, biases(cursor)?),
    ),
    honoured(
        "seed",
        "any whole number of 64 bits: the same request with the same seed has the same answer",
        |cursor, draft| {
            let given = whole(cursor, i128::from(i64::MIN)..=i128::from(u64::MAX))?;
            // Of a negative one, the bits.
            put(&mut draft.generation.seed, Some(given as u64))
        },
    ),
    honoured(
        "stop",
        "a string or a list of up to 32, of up to 1,024 bytes each; the answer ends before it",
        |cursor, draft| put(&mut draft.generation.stop, stops(cursor)?),
    ),
    honoured("stop_token_ids", "up to 64 tokens that end the answer, besides the model's own", |cursor, draft| {
        put(&mut draft.generation.stop_token_ids, list(cursor, MOST_STOP_TOKENS, token)?)
    }),
    honoured("ignore_eos", "the model's own end tokens don't end the answer", |cursor, draft| {
        put(&mut draft.generation.ignore_eos, boolean(cursor)?)
    }),
    honoured("stream", "the answer comes in events, as it is made", |cursor, draft| {
        put(&mut draft.stream, Some(boolean(cursor)?))
    }),
    honoured(
        "stream_options",
        "with `stream` alone; `include_usage`: a last chunk tells the usage; `continuous_usage_stats`: each does",
        |cursor, draft| {
            draft.stream_options = true;
            fields::object(cursor, STREAM_OPTIONS, &mut draft.generation.stream_options)
        },
    ),
    honoured("cache_salt", "only requests with equal salts share what is cached of their prompts", |cursor, draft| {
        put(&mut draft.generation.cache_salt, Some(salt(cursor)?))
    }),
    ignored("user", "nothing is kept of it"),
    ignored("safety_identifier", "nothing is kept of it"),
    ignored("metadata", "nothing is kept of it"),
    ignored("store", "answers are not kept"),
    ignored("service_tier", "there is one; see `x-weirgate-priority`"),
    ignored("prompt_cache_key", "prompts are cached by their content"),
    ignored("prompt_cache_retention", "prompts are cached as long as there is room"),
    ignored("prompt_cache_options", "prompts are cached as long as there is room"),
    ignored("request_id", "ids come from `x-request-id`"),
    ignored("session_id", "see `x-weirgate-session`"),
    ignored("stream_interval", "text is sent as it is made"),
    ignored("spaces_between_special_tokens", "control tokens have no text"),
    ignored("return_tokens_as_token_ids", "it is about log probabilities"),
    ignored("truncation_side", "nothing is truncated"),
    refused("n", Number(1.0), "one answer is made for each prompt"),
    refused("use_beam_search", Bool(false), "beams are not searched"),
    refused("length_penalty", Number(1.0), "beams are not searched"),
    refused("prompt_logprobs", Null, "log probabilities are not told"),
    refused("logprob_token_ids", Empty, "log probabilities are not told"),
    refused("response_format", fields::Neutral::TextFormat, FREE),
    refused("structured_outputs", Null, FREE),
    refused("guided_json", Null, FREE),
    refused("guided_regex", Null, FREE),
    refused("guided_choice", Empty, FREE),
    refused("guided_grammar", Null, FREE),
    refused("structural_tag", Null, FREE),
    refused("json_schema", Null, FREE),
    refused("grammar", Empty, FREE),
    refused("regex", Null, FREE),
    refused("ebnf", Null, FREE),
    refused("allowed_token_ids", Null, "tokens are taken out by `logit_bias` alone"),
    refused("bad_words", Empty, "tokens are taken out by `logit_bias` alone"),
    refused("typical_p", Number(1.0), "tokens are not drawn so"),
    refused("mirostat", Number(0.0), "tokens are not drawn so"),
    refused("watermarking", Bool(false), "answers are not marked"),
    refused("repetition_detection", Null, "repetitions don't end an answer"),
    refused("thinking_token_budget", Number(-1.0), "thoughts are not told apart"),
    refused("include_stop_str_in_output", Bool(false), "answers end before a stop string"),
    refused("skip_special_tokens", Bool(true), "control tokens have no text"),
    refused("truncate_prompt_tokens", Null, "prompts are not truncated"),
    refused("return_token_ids", Bool(false), "answers are text alone"),
    refused("return_token_offsets", Bool(false), "answers are text alone"),
    refused("priority", Number(0.0), "the header `x-weirgate-priority` says it"),
    refused("kv_transfer_params", Null, "keys and values are not transferred"),
    refused("ec_transfer_params", Null, "keys and values are not transferred"),
    refused("vllm_xargs", Empty, "there are no extensions that it could be for"),
];

const FREE: &str = "answers are not held to a form";

static STREAM_OPTIONS: &[Field<StreamOptions>] = &[
    honoured("include_usage", "a last chunk tells the usage", |cursor, options| {
        put(&mut options.include_usage, boolean(cursor)?)
    }),
    honoured("continuous_usage_stats", "each chunk tells the usage so far", |cursor, options| {
        put(&mut options.continuous_usage, boolean(cursor)?)
    }),
    ignored("include_obfuscation", "chunks are not padded"),
];

fn biases(cursor: &mut Cursor<'_>) -> Parsed<Vec<(u32, f32)>> {
    let start = cursor.at();
    let mut biases = Vec::new();
    let mut over = false;
    cursor.object(|cursor, key| {
        let at = cursor.at();
        if biases.len() == MOST_BIASES {
            over = true;
            return cursor.skip().map(drop);
        }
        let plain = key.bytes().all(|byte| byte.is_ascii_digit());
        let Some(token) = key.parse().ok().filter(|_| plain) else {
            return Err(Fault::value(at, "is no token; keys are token ids, as \"42\""));
        };
        biases.push((token, number(cursor, |value| (-100.0..=100.0).contains(&value), "from -100 to 100")?));
        Ok(())
    })?;
    if over {
        return Err(Fault::value(start, format!("has more than {MOST_BIASES} entries, which is the limit")));
    }
    Ok(biases)
}

fn stops(cursor: &mut Cursor<'_>) -> Parsed<Vec<String>> {
    let at = cursor.at();
    let stops = strings(cursor, MOST_STOPS)?;
    for stop in &stops {
        if stop.is_empty() {
            return Err(Fault::value(at, "has an empty string: the answer would end before it begins; leave it out"));
        }
        if stop.len() > LONGEST_STOP {
            let (length, shown) = (stop.len(), Shown(stop));
            let text = format!("has a string of {length} bytes, '{shown}'; the limit is {LONGEST_STOP}");
            return Err(Fault::value(at, text));
        }
    }
    Ok(stops)
}

fn salt(cursor: &mut Cursor<'_>) -> Parsed<String> {
    let at = cursor.at();
    let salt = owned_string(cursor)?;
    match salt.len() {
        1..=LONGEST_SALT => Ok(salt),
        length => Err(Fault::value(at, format!("has {length} bytes; it must have 1 to {LONGEST_SALT}"))),
    }
}
