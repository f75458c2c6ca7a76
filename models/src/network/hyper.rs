//! The hyper-parameters of a network, from a file's metadata.

use candle_core::quantized::gguf_file::Value;

use super::cpu::attend::MAX_HEAD;
use super::error::NetworkError;
use super::file::Gguf;

/// Families of networks: all are decoders with norms by the root of the mean square, rotary positions, grouped queries and a
/// gated feed-forward part. They differ in how pairs of dimensions are rotated, and in tensors that only some have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Llama 2 and 3, SmolLM2, Mistral.
    Llama,
    /// Qwen 2 and 2.5: queries, keys and values have biases.
    Qwen2,
    /// Qwen 3: queries and keys are normalised head by head.
    Qwen3,
}

/// Which dimensions of a head are rotated together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairs {
    /// 0 and 1, 2 and 3, and so on.
    Neighbours,
    /// Each of the first half with its like in the second half.
    Halves,
}

#[derive(Clone, Debug, PartialEq)]
pub struct HyperParameters {
    pub architecture: Architecture,
    /// Most tokens of a sequence.
    pub context: usize,
    /// Values of a token between layers.
    pub width: usize,
    pub layers: usize,
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values; as many queries share one as `heads` has it.
    pub kv_heads: usize,
    /// Values of a head.
    pub head: usize,
    pub feed_forward: usize,
    /// What is added to mean squares.
    pub epsilon: f32,
    /// Values of a head that are rotated, the first ones.
    pub rotated: usize,
    pub rope_base: f32,
    /// What positions are divided by.
    pub rope_factor: f32,
}

/// No network comes near this, and products of two such numbers can't overflow.
const MOST: u64 = 1 << 24;

impl Architecture {
    const ALL: [Architecture; 3] = [Architecture::Llama, Architecture::Qwen2, Architecture::Qwen3];

    /// As `general.architecture` has it.
    pub const fn name(self) -> &'static str {
        match self {
            Architecture::Llama => "llama",
            Architecture::Qwen2 => "qwen2",
            Architecture::Qwen3 => "qwen3",
        }
    }

    /// Files of llama networks have their weights in an order that makes neighbours of pairs.
    pub const fn pairs(self) -> Pairs {
        match self {
            Architecture::Llama => Pairs::Neighbours,
            Architecture::Qwen2 | Architecture::Qwen3 => Pairs::Halves,
        }
    }
}

impl HyperParameters {
    pub fn read(file: &Gguf) -> Result<HyperParameters, NetworkError> {
        let keys = Keys { file, architecture: architecture(file)? };
        keys.refuse()?;
        let width = keys.number("embedding_length")?;
        let heads = keys.number("attention.head_count")?;
        let kv_heads = keys.number_or("attention.head_count_kv", heads)?;
        let head = keys.number_or("attention.key_length", width / heads.max(1))?;
        let rotated = keys.number_or("rope.dimension_count", head)?;
        keys.hold("embedding_length", width, width > 0 && width.is_multiple_of(32), "a multiple of 32 is needed")?;
        keys.hold("attention.head_count", heads, heads > 0, "there has to be a head")?;
        let groups = kv_heads > 0 && heads.is_multiple_of(kv_heads);
        keys.hold("attention.head_count_kv", kv_heads, groups, &format!("it has to divide the {heads} heads"))?;
        let fits = head > 0 && head.is_multiple_of(16) && head <= MAX_HEAD;
        keys.hold("attention.key_length", head, fits, &format!("a multiple of 16 up to {MAX_HEAD} is needed"))?;
        let value_head = keys.number_or("attention.value_length", head)?;
        keys.hold("attention.value_length", value_head, value_head == head, &format!("keys are {head} wide"))?;
        let even = rotated.is_multiple_of(2) && rotated <= head;
        keys.hold("rope.dimension_count", rotated, even, &format!("an even number up to {head} is needed"))?;
        // Within a window of the context's size nothing is out of sight.
        let window = keys.number_or("attention.sliding_window", usize::MAX)?;
        let context = keys.number("context_length")?.min(if window == 0 { usize::MAX } else { window });
        keys.hold("context_length", context, context > 0, "there has to be room for a token")?;
        let layers = keys.number("block_count")?;
        keys.hold("block_count", layers, layers > 0, "there has to be a layer")?;
        let feed_forward = keys.number("feed_forward_length")?;
        let blocks = feed_forward > 0 && feed_forward.is_multiple_of(32);
        keys.hold("feed_forward_length", feed_forward, blocks, "a multiple of 32 is needed")?;
        let (q, kv) = (heads.checked_mul(head), kv_heads.checked_mul(head));
        let whole = q.is_some_and(|q| q.is_multiple_of(32)) && kv.is_some();
        keys.hold("attention.head_count", heads, whole, "heads times their width has to be a multiple of 32")?;
        Ok(HyperParameters {
            architecture: keys.architecture,
            context,
            width,
            layers,
            heads,
            kv_heads,
            head,
            feed_forward,
            epsilon: keys.float("attention.layer_norm_rms_epsilon", None)?,
            rotated,
            rope_base: keys.float("rope.freq_base", Some(10_000.0))?,
            rope_factor: keys.rope_factor()?,
        })
    }

    /// Values of a token's queries.
    pub fn queries(&self) -> usize {
        self.heads * self.head
    }

    /// Values of a token's keys, and as many of its values.
    pub fn keys(&self) -> usize {
        self.kv_heads * self.head
    }
}

fn architecture(file: &Gguf) -> Result<Architecture, NetworkError> {
    let found = match file.value("general.architecture") {
        Some(Value::String(name)) => name.as_str(),
        _ => "",
    };
    Architecture::ALL.into_iter().find(|architecture| architecture.name() == found).ok_or_else(|| {
        let known = Architecture::ALL.map(Architecture::name).join(", ");
        NetworkError::Architecture { found: found.to_owned(), known }
    })
}

/// The metadata of an architecture.
struct Keys<'a> {
    file: &'a Gguf,
    architecture: Architecture,
}

impl Keys<'_> {
    fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture.name())
    }

    fn value(&self, key: &str) -> Option<&Value> {
        self.file.value(&self.name(key))
    }

    fn error(&self, key: &str, found: impl std::fmt::Display, expected: &str) -> NetworkError {
        NetworkError::Key { key: self.name(key), found: found.to_string(), expected: expected.to_owned() }
    }

    fn hold(&self, key: &str, found: usize, holds: bool, expected: &str) -> Result<(), NetworkError> {
        if holds { Ok(()) } else { Err(self.error(key, found, expected)) }
    }

    fn missing(&self, key: &str) -> NetworkError {
        NetworkError::MissingKey { key: self.name(key), architecture: self.architecture.name() }
    }

    fn number(&self, key: &str) -> Result<usize, NetworkError> {
        let value = self.value(key).ok_or_else(|| self.missing(key))?;
        let number = match *value {
            Value::U8(number) => Some(u64::from(number)),
            Value::U16(number) => Some(u64::from(number)),
            Value::U32(number) => Some(u64::from(number)),
            Value::U64(number) => Some(number),
            Value::I32(number) => u64::try_from(number).ok(),
            Value::I64(number) => u64::try_from(number).ok(),
            _ => None,
        };
        match number {
            Some(number) if number <= MOST => Ok(number as usize),
            _ => Err(self.error(key, short(value), &format!("a number up to {MOST} is needed"))),
        }
    }

    fn number_or(&self, key: &str, default: usize) -> Result<usize, NetworkError> {
        if self.value(key).is_some() { self.number(key) } else { Ok(default) }
    }

    /// A float above 0.
    fn float(&self, key: &str, default: Option<f32>) -> Result<f32, NetworkError> {
        match (self.value(key), default) {
            (Some(&Value::F32(float)), _) if float.is_finite() && float > 0.0 => Ok(float),
            (Some(value), _) => Err(self.error(key, short(value), "a float above 0 is needed")),
            (None, Some(default)) => Ok(default),
            (None, None) => Err(self.missing(key)),
        }
    }

    fn rope_factor(&self) -> Result<f32, NetworkError> {
        let kind = match self.value("rope.scaling.type") {
            Some(Value::String(kind)) => kind.as_str(),
            Some(other) => return Err(self.error("rope.scaling.type", short(other), "a string is needed")),
            // The older way to say linear.
            None if self.value("rope.scale_linear").is_some() => return self.float("rope.scale_linear", None),
            None => "none",
        };
        match kind {
            "none" => Ok(1.0),
            "linear" => self.float("rope.scaling.factor", None),
            other => Err(self.error("rope.scaling.type", format!("{other:?}"), "none and linear are built in")),
        }
    }

    /// What would change answers and is not built in.
    fn refuse(&self) -> Result<(), NetworkError> {
        let experts = self.number_or("expert_count", 0)?;
        self.hold("expert_count", experts, experts == 0, "mixtures of experts are not built in")
    }
}

/// A value for a message, which may be a long array.
fn short(value: &Value) -> String {
    match value {
        Value::Array(values) => format!("an array of {}", values.len()),
        Value::String(text) => format!("{:?}", text.chars().take(80).collect::<String>()),
        other => format!("{other:?}"),
    }
}
