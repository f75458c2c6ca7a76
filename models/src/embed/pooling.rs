//! From the vectors of a text's tokens to the one of the text.

use serde::Deserialize;

use super::files::Files;
use crate::model::LoadError;

/// How the vectors of tokens become one. Only tokens of the text count, never padding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean.
    #[default]
    Mean,
    /// Their sum over the square root of how many they are.
    MeanSqrtLength,
    /// The first token's.
    Cls,
    /// The greatest of each dimension.
    Max,
    /// The last token's.
    LastToken,
}

/// `1_Pooling/config.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    word_embedding_dimension: Option<usize>,
    pooling_mode_cls_token: bool,
    pooling_mode_mean_tokens: bool,
    pooling_mode_max_tokens: bool,
    pooling_mode_mean_sqrt_len_tokens: bool,
    pooling_mode_weightedmean_tokens: bool,
    pooling_mode_lasttoken: bool,
    /// What newer files have in place of the flags.
    pooling_mode: Option<Mode>,
    include_prompt: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Mode {
    One(String),
    Several(Vec<String>),
}

/// What a folder says of pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PoolingFile {
    pub pooling: Pooling,
    /// Values of a token's vector, where it is said.
    pub width: Option<usize>,
    /// Whether tokens of a prompt count.
    pub counts_prompt: bool,
}

impl Pooling {
    pub const fn label(self) -> &'static str {
        match self {
            Pooling::Mean => "mean",
            Pooling::MeanSqrtLength => "mean_sqrt_len_tokens",
            Pooling::Cls => "cls",
            Pooling::Max => "max",
            Pooling::LastToken => "lasttoken",
        }
    }

    fn of(name: &str) -> Option<Pooling> {
        [Pooling::Mean, Pooling::MeanSqrtLength, Pooling::Cls, Pooling::Max, Pooling::LastToken]
            .into_iter()
            .find(|pooling| pooling.label() == name)
    }

    /// Writes the vector of a text with these tokens: `tokens` holds a vector of `out.len()` values for each, and at least one.
    /// The values are added up in the tokens' order, whatever else is computed beside.
    pub fn pool(self, tokens: &[f32], out: &mut [f32]) {
        let width = out.len();
        let mut rows = tokens.chunks_exact(width);
        match self {
            Pooling::Cls => copy(rows.next(), out),
            Pooling::LastToken => copy(rows.next_back(), out),
            Pooling::Max => {
                copy(rows.next(), out);
                for row in rows {
                    out.iter_mut().zip(row).for_each(|(out, value)| *out = out.max(*value));
                }
            }
            Pooling::Mean | Pooling::MeanSqrtLength => {
                let count = (tokens.len() / width).max(1) as f32;
                let over = if self == Pooling::Mean { count } else { count.sqrt() };
                out.fill(0.0);
                for row in rows {
                    out.iter_mut().zip(row).for_each(|(out, value)| *out += value);
                }
                out.iter_mut().for_each(|out| *out /= over);
            }
        }
    }
}

fn copy(row: Option<&[f32]>, out: &mut [f32]) {
    match row {
        Some(row) => out.copy_from_slice(row),
        None => out.fill(0.0),
    }
}

/// Brings a vector to length 1. One that is all nought stays as it is.
pub fn normalise(vector: &mut [f32]) {
    let squares: f64 = vector.iter().map(|value| f64::from(*value) * f64::from(*value)).sum();
    let length = squares.sqrt().max(1e-12);
    vector.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
}

/// Reads the file of a pooling module.
pub(super) fn read(files: &Files<'_>, name: &str) -> Result<PoolingFile, LoadError> {
    let config: Config = files.needed(name)?;
    let mut chosen: Vec<&str> = [
        ("cls", config.pooling_mode_cls_token),
        ("mean", config.pooling_mode_mean_tokens),
        ("max", config.pooling_mode_max_tokens),
        ("mean_sqrt_len_tokens", config.pooling_mode_mean_sqrt_len_tokens),
        ("weightedmean", config.pooling_mode_weightedmean_tokens),
        ("lasttoken", config.pooling_mode_lasttoken),
    ]
    .into_iter()
    .filter_map(|(name, chosen)| chosen.then_some(name))
    .collect();
    match &config.pooling_mode {
        Some(Mode::One(name)) => chosen = vec![name],
        Some(Mode::Several(names)) => chosen = names.iter().map(String::as_str).collect(),
        None => {}
    }
    let supported = "supported are cls, mean, max, mean_sqrt_len_tokens and lasttoken";
    let pooling = match chosen[..] {
        [] => return Err(files.refuse(name, format!("chooses no pooling: {supported}"))),
        [one] => Pooling::of(one).ok_or_else(|| {
            let short: String = one.chars().take(40).collect();
            files.refuse(name, format!("chooses pooling '{short}': {supported}"))
        })?,
        _ => {
            let several = format!("joins {} poolings to one vector, which is not supported: choose one", chosen.len());
            return Err(files.refuse(name, several));
        }
    };
    let counts_prompt = config.include_prompt.unwrap_or(true);
    Ok(PoolingFile { pooling, width: config.word_embedding_dimension, counts_prompt })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pooling_is_what_it_says() {
        let tokens = [1.0, -4.0, 3.0, 2.0, 2.0, 2.0, 0.0, 4.0];
        let pool = |pooling: Pooling| {
            let mut out = [9.0; 2];
            pooling.pool(&tokens, &mut out);
            out
        };
        assert_eq!(pool(Pooling::Mean), [1.5, 1.0]);
        assert_eq!(pool(Pooling::MeanSqrtLength), [3.0, 2.0]);
        assert_eq!(pool(Pooling::Cls), [1.0, -4.0]);
        assert_eq!(pool(Pooling::Max), [3.0, 4.0]);
        assert_eq!(pool(Pooling::LastToken), [0.0, 4.0]);
    }

    #[test]
    fn a_vector_gets_length_one_unless_it_is_nought() {
        let mut vector = [3.0, -4.0];
        normalise(&mut vector);
        assert_eq!(vector, [0.6, -0.8]);
        let mut nought = [0.0; 3];
        normalise(&mut nought);
        assert_eq!(nought, [0.0; 3]);
        let mut tiny = [3e-30, 4e-30];
        normalise(&mut tiny);
        assert!(tiny.iter().all(|value| value.is_finite()));
    }
}
