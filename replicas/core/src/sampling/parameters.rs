//! What a caller asks of sampling, and the limits of it.

use weirgate_protocol::Error;

/// The most entries of `logit_bias`.
pub const MOST_BIASES: usize = 1_024;
/// The greatest bias, up and down, as OpenAI has it. The lowest takes a token out.
pub(super) const GREATEST_BIAS: f32 = 100.0;

/// How tokens are drawn. [What each does, and in which order](super).
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingParameters {
    /// 0 and above. At 0 the greatest logit wins, and what is below matters no more, but for penalties and biases.
    pub temperature: f32,
    /// At least 1, or `None` for all.
    pub top_k: Option<usize>,
    /// Above 0 and up to 1, which is all.
    pub top_p: f32,
    /// From 0, which is all, to 1.
    pub min_p: f32,
    /// From 0.01 to 100; 1 is none.
    pub repetition_penalty: f32,
    /// From -2 to 2.
    pub presence_penalty: f32,
    /// From -2 to 2.
    pub frequency_penalty: f32,
    /// What is added to tokens' logits, from -100 to 100; where a token comes twice the last one counts.
    pub logit_bias: Vec<(u32, f32)>,
    pub seed: u64,
}

impl Default for SamplingParameters {
    /// The network's own distribution, with the seed 0.
    fn default() -> SamplingParameters {
        SamplingParameters {
            temperature: 1.0,
            top_k: None,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
            seed: 0,
        }
    }
}

impl SamplingParameters {
    /// Always the likeliest token.
    pub fn greedy() -> SamplingParameters {
        SamplingParameters { temperature: 0.0, ..SamplingParameters::default() }
    }

    /// Whether a network of `vocabulary` tokens can be sampled so; else what is wrong, and the limit. The error is the caller's.
    pub fn check(&self, vocabulary: usize) -> Result<(), Error> {
        // Each comparison is false for what is no number.
        let ranges = [
            ("temperature", self.temperature, self.temperature >= 0.0 && self.temperature.is_finite(), "0 or above"),
            ("top_p", self.top_p, self.top_p > 0.0 && self.top_p <= 1.0, "above 0 and at most 1"),
            ("min_p", self.min_p, (0.0..=1.0).contains(&self.min_p), "from 0 to 1"),
            (
                "repetition_penalty",
                self.repetition_penalty,
                (0.01..=100.0).contains(&self.repetition_penalty),
                "from 0.01 to 100",
            ),
            ("presence_penalty", self.presence_penalty, (-2.0..=2.0).contains(&self.presence_penalty), "from -2 to 2"),
            (
                "frequency_penalty",
                self.frequency_penalty,
                (-2.0..=2.0).contains(&self.frequency_penalty),
                "from -2 to 2",
            ),
        ];
        if let Some((name, value, _, range)) = ranges.into_iter().find(|(_, _, holds, _)| !holds) {
            return Err(Error::invalid(format!("{name} is {value}; it must be {range}")));
        }
        if self.top_k == Some(0) {
            return Err(Error::invalid("top_k is 0; it must be at least 1, or left out for all tokens"));
        }
        if self.logit_bias.len() > MOST_BIASES {
            let count = self.logit_bias.len();
            return Err(Error::invalid(format!("logit_bias has {count} entries; the limit is {MOST_BIASES}")));
        }
        for &(token, bias) in &self.logit_bias {
            if token as usize >= vocabulary {
                let text =
                    format!("logit_bias has token {token}, and the vocabulary has {vocabulary}; ids start from 0");
                return Err(Error::invalid(text));
            }
            if !(-GREATEST_BIAS..=GREATEST_BIAS).contains(&bias) {
                let text = format!("logit_bias of token {token} is {bias}; it must be from -100 to 100");
                return Err(Error::invalid(text));
            }
        }
        Ok(())
    }
}
