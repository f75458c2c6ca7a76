//! A text's words, as BERT splits it: cleaned, Chinese characters by themselves, without accents and in lower case where the file
//! says so, then split at spaces and around punctuation.

use std::ops::ControlFlow;

use icu_normalizer::DecomposingNormalizerBorrowed;
use icu_properties::CodePointMapData;
use icu_properties::props::{GeneralCategory, GeneralCategoryGroup};
use serde::Deserialize;
use serde_json::Value;

use super::tokenizer::{kind, short};

#[derive(Clone, Debug, Deserialize)]
pub(super) struct BertText {
    #[serde(default = "yes")]
    clean_text: bool,
    #[serde(default = "yes")]
    handle_chinese_chars: bool,
    /// As `lowercase` where it is not said.
    strip_accents: Option<bool>,
    #[serde(default = "yes")]
    lowercase: bool,
}

fn yes() -> bool {
    true
}

impl BertText {
    pub fn parse(normalizer: Option<&Value>, pre_tokenizer: Option<&Value>) -> Result<BertText, String> {
        let there = |part: Option<&Value>| part.filter(|part| !part.is_null()).map_or("null", kind).to_owned();
        let (normal, split) = (there(normalizer), there(pre_tokenizer));
        if split != "BertPreTokenizer" {
            return Err(format!("pre_tokenizer is {}, and supported is BertPreTokenizer", short(&split)));
        }
        match (normal.as_str(), normalizer) {
            ("BertNormalizer", Some(normalizer)) => {
                BertText::deserialize(normalizer).map_err(|error| format!("normalizer: {error}"))
            }
            _ => Err(format!("normalizer is {}, and supported is BertNormalizer", short(&normal))),
        }
    }

    /// Calls `each` with the words of a text, until it has enough.
    pub fn words(&self, text: &str, mut each: impl FnMut(&str) -> ControlFlow<()>) -> ControlFlow<()> {
        let mut word = String::new();
        self.characters(text, |character| {
            let (space, punctuation) = (character.is_whitespace(), is_punctuation(character));
            if !space && !punctuation {
                word.push(character);
                return ControlFlow::Continue(());
            }
            if !word.is_empty() {
                each(&word)?;
                word.clear();
            }
            if punctuation { each(character.encode_utf8(&mut [0; 4])) } else { ControlFlow::Continue(()) }
        })?;
        if word.is_empty() { ControlFlow::Continue(()) } else { each(&word) }
    }

    /// Calls `each` with the characters of the cleaned text.
    fn characters(&self, text: &str, mut each: impl FnMut(char) -> ControlFlow<()>) -> ControlFlow<()> {
        let cleaned = text.chars().filter(|&character| !self.clean_text || !is_dropped(character));
        let spaced = cleaned.flat_map(|character| {
            let alone = self.handle_chinese_chars && is_chinese(character);
            let space = alone.then_some(' ');
            space.into_iter().chain([character]).chain(space)
        });
        let mut lower = |character: char| -> ControlFlow<()> {
            if !self.lowercase || (character.is_ascii() && !character.is_ascii_uppercase()) {
                return each(character);
            }
            character.to_lowercase().try_for_each(&mut each)
        };
        if self.strip_accents.unwrap_or(self.lowercase) {
            let decomposed = DecomposingNormalizerBorrowed::new_nfd().normalize_iter(spaced);
            let mut bare = decomposed.filter(|&character| !is_accent(character));
            bare.try_for_each(&mut lower)
        } else {
            let mut spaced = spaced;
            spaced.try_for_each(&mut lower)
        }
    }
}

fn category(character: char) -> GeneralCategory {
    CodePointMapData::<GeneralCategory>::new().get(character)
}

/// A character that says nothing: control and format characters, and those of private use. Spaces that are control characters
/// stay.
fn is_dropped(character: char) -> bool {
    match character {
        '\t' | '\n' | '\r' | ' '..='~' => false,
        '\0' | '\u{fffd}' => true,
        _ => matches!(
            category(character),
            GeneralCategory::Control | GeneralCategory::Format | GeneralCategory::PrivateUse
        ),
    }
}

fn is_accent(character: char) -> bool {
    !character.is_ascii() && category(character) == GeneralCategory::NonspacingMark
}

fn is_punctuation(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_punctuation();
    }
    GeneralCategoryGroup::Punctuation.contains(category(character))
}

/// The blocks of Chinese characters that BERT knows of. Kana and Hangul are not among them.
fn is_chinese(character: char) -> bool {
    matches!(
        character,
        '\u{4e00}'..='\u{9fff}'
            | '\u{3400}'..='\u{4dbf}'
            | '\u{20000}'..='\u{2a6df}'
            | '\u{2a700}'..='\u{2b73f}'
            | '\u{2b740}'..='\u{2b81f}'
            | '\u{2b920}'..='\u{2ceaf}'
            | '\u{f900}'..='\u{faff}'
            | '\u{2f800}'..='\u{2fa1f}'
    )
}
