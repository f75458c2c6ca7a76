//! What a network is like, before any of its numbers is read.

use super::architecture::Architecture;
use super::metadata::{Metadata, missing};
use super::tensor::TensorInfo;
use super::value::Value;

/// How a head's numbers are turned by their position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopeStyle {
    /// Each number with its neighbour. The converter brings the rows of Llama's weights into the order that this needs.
    Neighbours,
    /// Each number of the first half with that of the second half.
    Halves,
}

/// How the turning is stretched for contexts longer than the network was first trained with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RopeScaling {
    None,
    /// Positions are divided by this.
    Linear(f32),
    /// Frequencies are divided by the numbers of the tensor `rope_freqs.weight`, as Llama 3.1 and later have it.
    Frequencies,
}

/// What a network is like. All counts are above nought.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HyperParameters {
    pub architecture: Architecture,
    pub layers: usize,
    /// Numbers of a token between layers.
    pub width: usize,
    pub heads: usize,
    /// Heads of keys and values; a divisor of `heads`.
    pub kv_heads: usize,
    /// Numbers of a head, of queries, keys and values alike.
    pub head_dim: usize,
    /// Numbers between a layer's two feed-forward products.
    pub feed_forward: usize,
    /// Tokens, which are rows of the embedding.
    pub vocabulary: usize,
    /// The most tokens of a sequence that the network answers rightly for.
    pub context: usize,
    pub rope_style: RopeStyle,
    /// Numbers of a head that are turned: an even count, of `head_dim` at most.
    pub rope_dim: usize,
    pub rope_base: f32,
    pub rope_scaling: RopeScaling,
    /// What the norms add below the root.
    pub norm_epsilon: f32,
    /// Queries and keys are normed, head by head, before they are turned.
    pub qk_norms: bool,
    /// The products that make queries, keys and values add a bias.
    pub qkv_biases: bool,
    /// The output's product takes the embedding's numbers: there is no `output.weight`.
    pub tied_output: bool,
}

/// The largest of each that a network may have: far above the largest that there is.
const MOST_LAYERS: u64 = 1 << 10;
const MOST_HEADS: u64 = 1 << 12;
const WIDEST: u64 = 1 << 17;
const WIDEST_HEAD: u64 = 1 << 10;
const WIDEST_FEED_FORWARD: u64 = 1 << 20;
const LONGEST_CONTEXT: u64 = 1 << 26;
const LARGEST_VOCABULARY: usize = 1 << 21;

/// What a file may ask for, and no network here does: running it without would give wrong answers.
const UNSUPPORTED: [(&str, &str); 10] = [
    ("expert_count", "a mixture of experts"),
    ("attention.logit_softcapping", "soft caps of attention"),
    ("attn_logit_softcapping", "soft caps of attention"),
    ("final_logit_softcapping", "soft caps of logits"),
    ("attention.max_alibi_bias", "attention by distance"),
    ("attention.clamp_kqv", "a bound of queries, keys and values"),
    ("attention.scale", "a scale of attention"),
    ("logit_scale", "a scale of logits"),
    ("embedding_scale", "a scale of the embedding"),
    ("residual_scale", "a scale of what layers add"),
];

impl HyperParameters {
    /// Out of the metadata, and of which tensors there are.
    pub fn of<'a>(
        metadata: &Metadata,
        tensor: impl Fn(&str) -> Option<&'a TensorInfo>,
    ) -> Result<HyperParameters, String> {
        let name = metadata.str("general.architecture")?.ok_or_else(|| missing("general.architecture"))?;
        let architecture = Architecture::of(name)?;
        let keys = Keys { metadata, architecture };
        for (key, what) in UNSUPPORTED {
            if keys.number(key)?.is_some_and(|number| number != 0.0) {
                return Err(format!("{} is set, and {what} is not supported", keys.key(key)));
            }
        }
        if keys.metadata.bool(&keys.key("attention.causal"))? == Some(false) {
            let key = keys.key("attention.causal");
            return Err(format!("{key} is false: this network makes no text, which is not supported"));
        }
        let layers = keys.count("block_count", MOST_LAYERS)?;
        let width = keys.count("embedding_length", WIDEST)?;
        let heads = keys.count("attention.head_count", MOST_HEADS)?;
        let kv_heads = keys.optional("attention.head_count_kv", MOST_HEADS)?.unwrap_or(heads);
        if !heads.is_multiple_of(kv_heads) {
            return Err(format!("{heads} heads can't share {kv_heads} heads of keys and values"));
        }
        let head_dim = head_dim(&keys, width, heads)?;
        let rope_dim = keys.optional("rope.dimension_count", WIDEST_HEAD)?.unwrap_or(head_dim);
        if !rope_dim.is_multiple_of(2) || rope_dim > head_dim {
            let key = keys.key("rope.dimension_count");
            return Err(format!("{key} is {rope_dim}, and has to be even, and {head_dim} at most, as a head is"));
        }
        let vocabulary = vocabulary(metadata, &keys, width, tensor("token_embd.weight"))?;
        let first = |name: &str| tensor(&format!("blk.0.{name}")).is_some();
        let parameters = HyperParameters {
            architecture,
            layers,
            width,
            heads,
            kv_heads,
            head_dim,
            feed_forward: keys.count("feed_forward_length", WIDEST_FEED_FORWARD)?,
            vocabulary,
            context: context(&keys)?,
            rope_style: match architecture {
                Architecture::Llama => RopeStyle::Neighbours,
                Architecture::Qwen2 | Architecture::Qwen3 => RopeStyle::Halves,
            },
            rope_dim,
            rope_base: keys.positive("rope.freq_base")?.unwrap_or(10_000.0),
            rope_scaling: rope_scaling(&keys, tensor("rope_freqs.weight").is_some())?,
            norm_epsilon: match keys.positive("attention.layer_norm_rms_epsilon")? {
                Some(epsilon) => epsilon,
                None => return Err(missing(&keys.key("attention.layer_norm_rms_epsilon"))),
            },
            qk_norms: architecture == Architecture::Qwen3,
            qkv_biases: architecture == Architecture::Qwen2 || first("attn_q.bias"),
            tied_output: tensor("output.weight").is_none(),
        };
        Ok(parameters)
    }

    /// Numbers of a token's queries, those of all heads.
    pub fn queries(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Numbers of a token's keys, and as many of its values.
    pub fn keys(&self) -> usize {
        self.kv_heads * self.head_dim
    }
}

/// The parameters of one architecture, whose keys begin with its name.
struct Keys<'a> {
    metadata: &'a Metadata,
    architecture: Architecture,
}

impl Keys<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    fn number(&self, name: &str) -> Result<Option<f64>, String> {
        self.metadata.f64(&self.key(name))
    }

    fn optional(&self, name: &str, limit: u64) -> Result<Option<usize>, String> {
        let key = self.key(name);
        let count = match self.metadata.get(&key) {
            // One for each layer: the same for all, in the networks that can be run.
            Some(Value::Integers(counts)) => match counts.split_first() {
                Some((first, others)) if others.iter().all(|other| other == first) => {
                    Some(u64::try_from(*first).unwrap_or(0))
                }
                _ => return Err(format!("{key} differs from layer to layer, which is not supported")),
            },
            _ => self.metadata.u64(&key)?,
        };
        match count {
            None => Ok(None),
            Some(count) if (1..=limit).contains(&count) => Ok(Some(count as usize)),
            Some(count) => Err(format!("{key} is {count}, and has to be between 1 and {limit}")),
        }
    }

    fn count(&self, name: &str, limit: u64) -> Result<usize, String> {
        self.optional(name, limit)?.ok_or_else(|| missing(&self.key(name)))
    }

    fn positive(&self, name: &str) -> Result<Option<f32>, String> {
        match self.number(name)?.map(|number| number as f32) {
            Some(number) if number <= 0.0 || !number.is_finite() => {
                Err(format!("{} is {number}, and has to be above 0", self.key(name)))
            }
            number => Ok(number),
        }
    }
}

fn head_dim(keys: &Keys<'_>, width: usize, heads: usize) -> Result<usize, String> {
    let key = keys.optional("attention.key_length", WIDEST_HEAD)?;
    let value = keys.optional("attention.value_length", WIDEST_HEAD)?;
    let dim = match key.or(value) {
        Some(dim) => dim,
        None if width.is_multiple_of(heads) && width / heads <= WIDEST_HEAD as usize => width / heads,
        None => return Err(format!("a width of {width} can't be shared by {heads} heads")),
    };
    match value {
        Some(value) if value != dim => {
            Err(format!("heads have {dim} numbers of a key and {value} of a value, which is not supported"))
        }
        _ if dim.is_multiple_of(2) => Ok(dim),
        _ => Err(format!("heads have {dim} numbers, and it has to be an even count")),
    }
}

/// Within its window a network with one sees all there is, so its answers are right up to there.
fn context(keys: &Keys<'_>) -> Result<usize, String> {
    let context = keys.count("context_length", LONGEST_CONTEXT)?;
    match keys.metadata.u64(&keys.key("attention.sliding_window"))? {
        Some(window) if window > 0 => Ok(context.min(usize::try_from(window).unwrap_or(usize::MAX))),
        _ => Ok(context),
    }
}

fn rope_scaling(keys: &Keys<'_>, frequencies: bool) -> Result<RopeScaling, String> {
    let key = keys.key("rope.scaling.type");
    // Files made before there was a type have the factor alone, and under this name.
    let old = keys.positive("rope.scale_linear")?;
    let factor = keys.positive("rope.scaling.factor")?;
    let scaling = match (keys.metadata.str(&key)?, old) {
        (Some("linear"), _) => match factor {
            Some(factor) => RopeScaling::Linear(factor),
            None => return Err(missing(&keys.key("rope.scaling.factor"))),
        },
        (None, Some(factor)) => RopeScaling::Linear(factor),
        (None | Some("none"), _) => RopeScaling::None,
        (Some(other), _) => {
            let short: String = other.chars().take(40).collect();
            return Err(format!("{key} is '{short}', and supported are none and linear"));
        }
    };
    match scaling {
        RopeScaling::None | RopeScaling::Linear(1.0) if frequencies => Ok(RopeScaling::Frequencies),
        RopeScaling::Linear(1.0) => Ok(RopeScaling::None),
        RopeScaling::Linear(factor) if frequencies => {
            Err(format!("{key} is linear by {factor}, and there are rope_freqs.weight too, which is not supported"))
        }
        scaling => Ok(scaling),
    }
}

/// Rows of the embedding. What the file says of its vocabulary besides has to agree with it.
fn vocabulary(
    metadata: &Metadata,
    keys: &Keys<'_>,
    width: usize,
    embedding: Option<&TensorInfo>,
) -> Result<usize, String> {
    let embedding = embedding.ok_or("the tensor 'token_embd.weight' is missing")?;
    let &[columns, rows] = embedding.shape.as_slice() else {
        return Err(format!(
            "the tensor 'token_embd.weight' has the shape {:?}, expected two dimensions",
            embedding.shape
        ));
    };
    if columns != width {
        let key = keys.key("embedding_length");
        return Err(format!(
            "the tensor 'token_embd.weight' has the shape {:?}, and {key} is {width}",
            embedding.shape
        ));
    }
    if rows > LARGEST_VOCABULARY {
        return Err(format!("there are {rows} tokens, the limit is {LARGEST_VOCABULARY}"));
    }
    let tokens = metadata.strings("tokenizer.ggml.tokens")?.map_or(0, <[_]>::len);
    if tokens > rows {
        return Err(format!("there are {tokens} tokens, and the embedding has {rows} rows"));
    }
    Ok(rows)
}
