//! Byte-level vocabularies, `tokenizer.ggml.model` `gpt2`: pieces of text, their bytes, and a list of pairs to merge.

use std::borrow::Cow;
use std::collections::HashMap;

use icu_normalizer::ComposingNormalizerBorrowed;

use super::bytes::ByteCharacters;
use super::merge::{Joined, Merger};
use super::pre_tokenizer::PreTokenizer;
use super::vocabulary::{TokenKind, Vocabulary};
use crate::gguf::{Metadata, missing};

#[derive(Debug)]
pub(super) struct ByteLevel {
    pub pre_tokenizer: PreTokenizer,
    /// The token of each byte. Some vocabularies lack bytes of control characters and of rare scripts: texts lose these, as
    /// they do in the models' own tokenizers.
    bytes: [Option<u32>; 256],
    merges: HashMap<(u32, u32), Joined>,
    /// Tokens by their bytes, where whole words are looked up.
    words: HashMap<Box<[u8]>, u32>,
}

impl ByteLevel {
    pub fn of(metadata: &Metadata, vocabulary: &Vocabulary<'_>) -> Result<ByteLevel, String> {
        let pre_tokenizer = match metadata.str("tokenizer.ggml.pre")? {
            Some(name) => PreTokenizer::of(name)?,
            None => return Err(missing("tokenizer.ggml.pre")),
        };
        let characters = ByteCharacters::new();
        let mut ids: HashMap<&str, u32> = HashMap::with_capacity(vocabulary.tokens.len());
        let mut bytes = [None; 256];
        let mut words = HashMap::new();
        for (id, token) in vocabulary.of_kind(TokenKind::Normal) {
            ids.entry(token).or_insert(id);
            let Some(read) = characters.read(token) else { continue };
            if let [byte] = *read {
                bytes[usize::from(byte)].get_or_insert(id);
            }
            if pre_tokenizer.whole_words {
                words.entry(read.into()).or_insert(id);
            }
        }
        let merges = merges(metadata, &ids)?;
        Ok(ByteLevel { pre_tokenizer, bytes, merges, words })
    }

    /// Adds the tokens of a text in which no special token is looked for.
    pub fn encode(&self, text: &str, merger: &mut Merger, out: &mut Vec<u32>) {
        let text = match self.pre_tokenizer.composes {
            true => ComposingNormalizerBorrowed::new_nfc().normalize(text),
            false => Cow::Borrowed(text),
        };
        self.pre_tokenizer.split(&text, |piece| self.encode_piece(piece.as_bytes(), merger, out));
    }

    fn encode_piece(&self, piece: &[u8], merger: &mut Merger, out: &mut Vec<u32>) {
        if let Some(&id) = self.words.get(piece) {
            return out.push(id);
        }
        for (at, &byte) in piece.iter().enumerate() {
            merger.push(at, at + 1, self.bytes[usize::from(byte)]);
        }
        merger.run(|left, right| self.merges.get(&(left.id?, right.id?)).copied(), |symbol| out.extend(symbol.id));
    }
}

fn merges(metadata: &Metadata, ids: &HashMap<&str, u32>) -> Result<HashMap<(u32, u32), Joined>, String> {
    let key = "tokenizer.ggml.merges";
    let list = metadata.strings(key)?.ok_or_else(|| missing(key))?;
    let mut merges = HashMap::with_capacity(list.len());
    let mut joined = String::new();
    for (order, pair) in list.iter().enumerate() {
        let refuse = |why: &str| format!("{key} has {pair:?} in place {order}, {why}");
        let (left, right) = pair.split_once(' ').ok_or_else(|| refuse("which is no pair"))?;
        joined.clear();
        joined.push_str(left);
        joined.push_str(right);
        let id = |token: &str| ids.get(token).copied().ok_or_else(|| refuse("whose parts and whole aren't all tokens"));
        let joined = Joined { order: order as u32, id: id(&joined)? };
        merges.entry((id(left)?, id(right)?)).or_insert(joined);
    }
    Ok(merges)
}
