//! Special tokens in a text: those that are one token wherever they stand.
//!
//! A chat template writes control tokens as text, between what people wrote. What they wrote could hold the same text, and
//! would then steer the network. So it is sealed before it is put into the template: a mark that is no character is put into
//! each control token's text there, so that it isn't found, and is taken out again when the rest becomes tokens.

use std::borrow::Cow;

use aho_corasick::{AhoCorasick, MatchKind};

use super::vocabulary::{TokenKind, Vocabulary};

/// The mark: a code point that Unicode keeps from being a character, for uses like this one.
const SEAL: char = '\u{fdd0}';

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    Text(&'a str),
    Token(u32),
}

/// The special tokens of a vocabulary, ready to be looked for. The leftmost is taken, and the longest of those.
#[derive(Debug)]
pub(super) struct Special {
    /// Control tokens, and those that users defined.
    all: Finder,
    user_defined: Finder,
    /// Control tokens, and the unknown one: it has no text of its own either.
    control: Finder,
}

#[derive(Debug)]
struct Finder {
    texts: AhoCorasick,
    ids: Vec<u32>,
}

impl Special {
    pub fn of(vocabulary: &Vocabulary<'_>) -> Result<Special, String> {
        let finder = |kinds: &[TokenKind]| -> Result<Finder, String> {
            let tokens = kinds.iter().flat_map(|&kind| vocabulary.of_kind(kind)).filter(|(_, text)| !text.is_empty());
            let (ids, texts): (Vec<u32>, Vec<&str>) = tokens.unzip();
            let texts = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(texts);
            Ok(Finder {
                ids,
                texts: texts.map_err(|error| format!("the special tokens can't be looked for: {error}"))?,
            })
        };
        Ok(Special {
            all: finder(&[TokenKind::Control, TokenKind::Unknown, TokenKind::UserDefined])?,
            user_defined: finder(&[TokenKind::UserDefined])?,
            control: finder(&[TokenKind::Control, TokenKind::Unknown])?,
        })
    }

    /// Calls `each` with the parts of a text, in their order. Control tokens are looked for where `control` says so.
    pub fn split<'a>(&self, text: &'a str, control: bool, mut each: impl FnMut(Part<'a>)) {
        let finder = if control { &self.all } else { &self.user_defined };
        let mut done = 0;
        for found in finder.texts.find_iter(text) {
            if found.start() > done {
                each(Part::Text(&text[done..found.start()]));
            }
            each(Part::Token(finder.ids[found.pattern().as_usize()]));
            done = found.end();
        }
        if done < text.len() {
            each(Part::Text(&text[done..]));
        }
    }

    /// The text with no control token in it. A mark that was there before is taken out.
    pub fn seal<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let text = unseal(text);
        let mut sealed = String::new();
        let (mut done, mut from) = (0, 0);
        // After each, the search goes on within it: another may begin there, and would be left whole.
        while let Some(found) = self.control.texts.find(&text[from..]) {
            let begin = from + found.start();
            from = begin + text[begin..].chars().next().map_or(1, char::len_utf8);
            sealed.push_str(&text[done..from]);
            sealed.push(SEAL);
            done = from;
        }
        if done == 0 {
            return text;
        }
        sealed.push_str(&text[done..]);
        Cow::Owned(sealed)
    }
}

/// The text without marks.
pub(super) fn unseal(text: &str) -> Cow<'_, str> {
    if text.contains(SEAL) { Cow::Owned(text.replace(SEAL, "")) } else { Cow::Borrowed(text) }
}
