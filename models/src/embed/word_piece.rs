//! Words to the longest pieces that a vocabulary has, from left to right.

use std::collections::HashMap;
use std::ops::ControlFlow;

use serde_json::Value;

use super::tokenizer::{kind, short};

/// The most tokens of a vocabulary.
const MOST_TOKENS: usize = 1 << 22;

#[derive(Debug)]
pub(super) struct WordPiece {
    /// Pieces that begin a word.
    first: HashMap<Box<str>, u32>,
    /// Pieces within a word, without the mark that says so.
    inner: HashMap<Box<str>, u32>,
    /// Bytes of the longest piece.
    longest: usize,
    unknown: u32,
    /// Longer words are unknown.
    max_characters: usize,
    largest_id: u32,
}

impl WordPiece {
    pub fn parse(model: &Value) -> Result<WordPiece, String> {
        if kind(model) != "WordPiece" {
            return Err(format!("model is {}, and supported is WordPiece", short(kind(model))));
        }
        let text = |key: &str, otherwise| model.get(key).and_then(Value::as_str).unwrap_or(otherwise);
        let (unknown, mark) = (text("unk_token", "[UNK]"), text("continuing_subword_prefix", "##"));
        let max_characters = model.get("max_input_chars_per_word").and_then(Value::as_u64).unwrap_or(100);
        let vocabulary = model.get("vocab").and_then(Value::as_object).ok_or("model has no vocab")?;
        if vocabulary.is_empty() || vocabulary.len() > MOST_TOKENS {
            return Err(format!("vocab has {} tokens, and has to have 1 to {MOST_TOKENS}", vocabulary.len()));
        }
        let mut words = WordPiece {
            first: HashMap::with_capacity(vocabulary.len()),
            inner: HashMap::new(),
            longest: 0,
            unknown: 0,
            max_characters: usize::try_from(max_characters).unwrap_or(usize::MAX),
            largest_id: 0,
        };
        for (token, id) in vocabulary {
            let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
            let id = id.ok_or_else(|| format!("vocab has no id for '{}' that is a number of 32 bits", short(token)))?;
            words.longest = words.longest.max(token.len());
            words.largest_id = words.largest_id.max(id);
            if let Some(rest) = token.strip_prefix(mark).filter(|rest| !rest.is_empty()) {
                words.inner.insert(rest.into(), id);
            }
            words.first.insert(token.as_str().into(), id);
        }
        words.unknown =
            *words.first.get(unknown).ok_or_else(|| format!("vocab has no '{}', the unknown token", short(unknown)))?;
        Ok(words)
    }

    pub fn largest_id(&self) -> u32 {
        self.largest_id
    }

    /// Calls `each` with the pieces of a word, or with the unknown token where it can't be made of pieces.
    pub fn pieces(&self, word: &str, each: &mut impl FnMut(u32) -> ControlFlow<()>) -> ControlFlow<()> {
        if let Some(&id) = self.first.get(word).filter(|_| word.len() <= self.max_characters) {
            return each(id);
        }
        // Bytes are as many as characters at least, and are known at once.
        if word.len() > self.max_characters && word.chars().nth(self.max_characters).is_some() {
            return each(self.unknown);
        }
        let mut found = smallvec::SmallVec::<[u32; 16]>::new();
        let mut rest = word;
        while !rest.is_empty() {
            let pieces = if found.is_empty() { &self.first } else { &self.inner };
            let Some((id, length)) = self.longest_of(pieces, rest) else { return each(self.unknown) };
            found.push(id);
            rest = &rest[length..];
        }
        found.into_iter().try_for_each(each)
    }

    fn longest_of(&self, pieces: &HashMap<Box<str>, u32>, text: &str) -> Option<(u32, usize)> {
        let ends = text.char_indices().map(|(at, character)| at + character.len_utf8());
        let ends: smallvec::SmallVec<[usize; 64]> = ends.take_while(|&end| end <= self.longest).collect();
        ends.into_iter().rev().find_map(|end| pieces.get(&text[..end]).map(|&id| (id, end)))
    }
}
