//! SentencePiece vocabularies, `tokenizer.ggml.model` `llama`: characters, merged to the piece of the highest score, and
//! bytes where no piece will do.

use std::collections::HashMap;

use super::merge::{Joined, Merger};
use super::vocabulary::{TokenKind, Vocabulary};
use crate::gguf::{Metadata, missing};

/// What pieces have for a space.
pub(super) const SPACE: char = '▁';

#[derive(Debug)]
pub(super) struct SentencePiece {
    /// Pieces by their text. Those of equal scores have the same order.
    pieces: HashMap<Box<str>, Joined>,
    /// The token of each byte.
    bytes: [Option<u32>; 256],
    unknown: Option<u32>,
    /// A space goes before a text, so that its first word is like others.
    pub adds_space: bool,
}

impl SentencePiece {
    pub fn of(metadata: &Metadata, vocabulary: &Vocabulary<'_>) -> Result<SentencePiece, String> {
        let key = "tokenizer.ggml.scores";
        let scores = metadata.floats(key)?.ok_or_else(|| missing(key))?;
        if scores.len() != vocabulary.tokens.len() {
            let count = vocabulary.tokens.len();
            return Err(format!("{key} has {} elements, and there are {count} tokens", scores.len()));
        }
        if metadata.bool("tokenizer.ggml.remove_extra_whitespaces")? == Some(true) {
            return Err("tokenizer.ggml.remove_extra_whitespaces is true, which is not supported".to_owned());
        }
        let order = orders(scores);
        let mut pieces = HashMap::with_capacity(vocabulary.tokens.len());
        for (id, piece) in vocabulary.of_kind(TokenKind::Normal) {
            pieces.entry(piece.into()).or_insert(Joined { order: order[id as usize], id });
        }
        let mut bytes = [None; 256];
        for (id, piece) in vocabulary.of_kind(TokenKind::Byte) {
            bytes
                [usize::from(byte(piece).ok_or_else(|| format!("token {id} is a byte, and its text is {piece:?}"))?)] =
                Some(id);
        }
        if vocabulary.unknown.is_none() && bytes.contains(&None) {
            return Err("not every byte has a token, and there is none for what is unknown".to_owned());
        }
        let adds_space = metadata.bool("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
        Ok(SentencePiece { pieces, bytes, unknown: vocabulary.unknown, adds_space })
    }

    /// Adds the tokens of a text in which no special token is looked for.
    pub fn encode(&self, text: &str, merger: &mut Merger, out: &mut Vec<u32>) {
        if text.is_empty() {
            return;
        }
        let mut escaped = String::with_capacity(text.len() + text.len() / 4 + SPACE.len_utf8());
        if self.adds_space {
            escaped.push(SPACE);
        }
        escaped.extend(text.chars().map(|one| if one == ' ' { SPACE } else { one }));
        for (at, one) in escaped.char_indices() {
            let end = at + one.len_utf8();
            merger.push(at, end, self.pieces.get(&escaped[at..end]).map(|piece| piece.id));
        }
        merger.run(
            |left, right| self.pieces.get(&escaped[left.begin..right.end]).copied(),
            |symbol| match symbol.id {
                Some(id) => out.push(id),
                None => self.encode_bytes(&escaped[symbol.begin..symbol.end], out),
            },
        );
    }

    /// A character that is no piece: its bytes, or the unknown token once where one of them has none.
    fn encode_bytes(&self, character: &str, out: &mut Vec<u32>) {
        let begun = out.len();
        for byte in character.bytes() {
            match self.bytes[usize::from(byte)] {
                Some(id) => out.push(id),
                None => {
                    out.truncate(begun);
                    return out.extend(self.unknown);
                }
            }
        }
    }
}

/// The byte of a token such as `<0x0A>`.
pub(super) fn byte(piece: &str) -> Option<u8> {
    let digits = piece.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

/// For each score, how many distinct ones are higher.
fn orders(scores: &[f64]) -> Vec<u32> {
    let mut sorted = scores.to_vec();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    sorted.dedup();
    let place = |score: &f64| sorted.partition_point(|higher| higher.total_cmp(score).is_gt()) as u32;
    scores.iter().map(place).collect()
}
