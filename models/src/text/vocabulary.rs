//! The tokens of a file, and what the file says of them.

use crate::gguf::{Metadata, missing};

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    Normal,
    /// Stands for what no other token can say.
    Unknown,
    /// Steers the network, and is no text: the begin of a message, say.
    Control,
    /// Text that is one token wherever it stands.
    UserDefined,
    Unused,
    /// One byte.
    Byte,
}

impl TokenKind {
    fn of(number: i64) -> Option<TokenKind> {
        use TokenKind::*;
        let kinds = [Normal, Unknown, Control, UserDefined, Unused, Byte];
        kinds.get(usize::try_from(number.checked_sub(1)?).ok()?).copied()
    }
}

/// Tokens that end an answer, whatever a file says is its end: chat models end a message with one of these, and many files
/// name but the one that ends a document.
const ENDS: [&str; 9] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|eom_id|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "</s>",
    "<|EOT|>",
];

/// The most tokens that are looked for in a text before it is split.
const MOST_SPECIAL: usize = 1 << 14;

/// The tokens of a file, read and checked.
#[derive(Debug)]
pub(super) struct Vocabulary<'a> {
    pub tokens: &'a [Box<str>],
    pub kinds: Vec<TokenKind>,
    pub unknown: Option<u32>,
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    /// Tokens that end an answer, in their order.
    pub ends: Vec<u32>,
}

impl<'a> Vocabulary<'a> {
    pub fn of(metadata: &'a Metadata) -> Result<Vocabulary<'a>, String> {
        let key = "tokenizer.ggml.tokens";
        let tokens = metadata.strings(key)?.ok_or_else(|| missing(key))?;
        if tokens.is_empty() {
            return Err(format!("{key} is empty"));
        }
        let kinds = kinds(metadata, tokens.len())?;
        let special = kinds.iter().filter(|kind| matches!(kind, TokenKind::Control | TokenKind::UserDefined)).count();
        if special > MOST_SPECIAL {
            return Err(format!("{special} tokens are special, the limit is {MOST_SPECIAL}"));
        }
        let id = |name: &str| {
            let key = format!("tokenizer.ggml.{name}_token_id");
            match metadata.u32(&key)? {
                Some(id) if id as usize >= tokens.len() => {
                    Err(format!("{key} is {id}, and there are {} tokens", tokens.len()))
                }
                id => Ok(id),
            }
        };
        let eos = id("eos")?;
        let mut ends: Vec<u32> = [eos, id("eot")?, id("eom")?].into_iter().flatten().collect();
        let named = tokens.iter().zip(&kinds).enumerate();
        let named = named.filter(|(_, (text, kind))| **kind == TokenKind::Control && ENDS.contains(&&***text));
        ends.extend(named.map(|(at, _)| at as u32));
        ends.sort_unstable();
        ends.dedup();
        Ok(Vocabulary { tokens, kinds, unknown: id("unknown")?, bos: id("bos")?, eos, ends })
    }

    /// The tokens of a kind, with their ids.
    pub fn of_kind(&self, kind: TokenKind) -> impl Iterator<Item = (u32, &'a str)> {
        let tokens = self.tokens.iter().zip(&self.kinds).enumerate();
        tokens.filter(move |(_, (_, found))| **found == kind).map(|(at, (text, _))| (at as u32, &**text))
    }
}

fn kinds(metadata: &Metadata, count: usize) -> Result<Vec<TokenKind>, String> {
    let key = "tokenizer.ggml.token_type";
    let Some(numbers) = metadata.integers(key)? else { return Ok(vec![TokenKind::Normal; count]) };
    if numbers.len() != count {
        return Err(format!("{key} has {} elements, and there are {count} tokens", numbers.len()));
    }
    let kind = |(at, &number): (usize, &i64)| {
        // Converters that did not know wrote 0.
        let kind = if number == 0 { Some(TokenKind::Normal) } else { TokenKind::of(number) };
        kind.ok_or_else(|| format!("{key} has {number} for token {at}, and there are the types 0 to 6"))
    };
    numbers.iter().enumerate().map(kind).collect()
}
