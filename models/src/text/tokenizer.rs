//! Texts to tokens, and tokens to bytes.

use std::borrow::Cow;

use super::byte_level::ByteLevel;
use super::bytes::ByteCharacters;
use super::detokenizer::Detokenizer;
use super::merge::Merger;
use super::sentence_piece::{self, SentencePiece};
use super::special::{Part, Special, unseal};
use super::vocabulary::{TokenKind, Vocabulary};
use crate::gguf::{Metadata, missing};

/// The tokenizer of a model, read from its file.
///
/// It gives the tokens that the model was trained with: a network answers worse for others, and shows no sign of it. So what
/// isn't known of a file (a model, a way to split) is refused, never guessed.
#[derive(Debug)]
pub struct Tokenizer {
    model: Model,
    special: Special,
    pieces: Pieces,
    kinds: Vec<TokenKind>,
    bos: Option<u32>,
    eos: Option<u32>,
    bos_text: String,
    eos_text: String,
    adds_bos: bool,
    ends: Vec<u32>,
}

#[derive(Debug)]
enum Model {
    ByteLevel(Box<ByteLevel>),
    SentencePiece(Box<SentencePiece>),
}

impl Tokenizer {
    pub fn of(metadata: &Metadata) -> Result<Tokenizer, String> {
        let key = "tokenizer.ggml.model";
        let name = metadata.str(key)?.ok_or_else(|| missing(key))?;
        let vocabulary = Vocabulary::of(metadata)?;
        let model = match name {
            "gpt2" => Model::ByteLevel(Box::new(ByteLevel::of(metadata, &vocabulary)?)),
            "llama" => Model::SentencePiece(Box::new(SentencePiece::of(metadata, &vocabulary)?)),
            other => {
                let short: String = other.chars().take(40).collect();
                return Err(format!("{key} is '{short}', and supported are gpt2 and llama"));
            }
        };
        let text = |id: Option<u32>| id.map_or("", |id| &vocabulary.tokens[id as usize]).to_owned();
        let says = metadata.bool("tokenizer.ggml.add_bos_token")?;
        let adds_bos = says.unwrap_or(match &model {
            Model::ByteLevel(model) => model.pre_tokenizer.adds_bos,
            Model::SentencePiece(_) => true,
        });
        Ok(Tokenizer {
            special: Special::of(&vocabulary)?,
            pieces: Pieces::of(&vocabulary, &model),
            bos: vocabulary.bos,
            eos: vocabulary.eos,
            bos_text: text(vocabulary.bos),
            eos_text: text(vocabulary.eos),
            adds_bos,
            ends: vocabulary.ends,
            kinds: vocabulary.kinds,
            model,
        })
    }

    /// How many tokens there are. Ids at and above it have no text, though a network may have rows for them.
    pub fn size(&self) -> usize {
        self.kinds.len()
    }

    /// The token that begins a text.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends a text.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// The text of [`Tokenizer::bos`], as templates write it; empty where there is none.
    pub fn bos_text(&self) -> &str {
        &self.bos_text
    }

    /// The text of [`Tokenizer::eos`], as templates write it; empty where there is none.
    pub fn eos_text(&self) -> &str {
        &self.eos_text
    }

    /// Tokens that end an answer, in their order.
    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// What a token is for; none for an id that no token has.
    pub fn kind(&self, id: u32) -> Option<TokenKind> {
        self.kinds.get(id as usize).copied()
    }

    /// The tokens of a text, and no others. Control tokens are found in it where `special` says so; elsewhere their text is
    /// text as any other.
    pub fn encode(&self, text: &str, special: bool) -> Vec<u32> {
        let mut out = Vec::with_capacity(text.len() / 3);
        let mut merger = Merger::default();
        self.special.split(text, special, |part| match part {
            Part::Token(id) => out.push(id),
            Part::Text(text) => {
                let text = if special { unseal(text) } else { Cow::Borrowed(text) };
                match &self.model {
                    Model::ByteLevel(model) => model.encode(&text, &mut merger, &mut out),
                    Model::SentencePiece(model) => model.encode(&text, &mut merger, &mut out),
                }
            }
        });
        out
    }

    /// The tokens of a prompt: of a text that a template wrote, in which control tokens are found, or else of a text as it
    /// was given. The token that begins a text goes before it where the file says so and the text has none itself.
    pub fn encode_prompt(&self, text: &str, special: bool) -> Vec<u32> {
        let mut ids = self.encode(text, special);
        if let Some(bos) = self.bos.filter(|bos| self.adds_bos && ids.first() != Some(bos)) {
            ids.insert(0, bos);
        }
        ids
    }

    /// A text that somebody else wrote, so that [`Tokenizer::encode`] finds no control token in it even where it looks for
    /// them. A template may be given it; [`unsealed`] gives it back as it was.
    pub fn seal<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.special.seal(text)
    }

    /// The text of the tokens, without control tokens. Bytes that are no UTF-8 become U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut text = String::new();
        let mut detokenizer = Detokenizer::new(self, true);
        for &id in ids {
            detokenizer.push(self, id, &mut text);
        }
        detokenizer.finish(&mut text);
        text
    }

    /// The bytes of a token. None has a control token, nor an id that no token has.
    pub(super) fn bytes(&self, id: u32) -> &[u8] {
        match self.kind(id) {
            Some(TokenKind::Normal | TokenKind::UserDefined | TokenKind::Byte | TokenKind::Unused) => {
                self.pieces.get(id as usize)
            }
            Some(TokenKind::Control | TokenKind::Unknown) | None => &[],
        }
    }

    /// Whether a text begins with a space that no one wrote.
    pub(super) fn adds_space(&self) -> bool {
        matches!(&self.model, Model::SentencePiece(model) if model.adds_space)
    }
}

/// A text as it was before [`Tokenizer::seal`].
pub fn unsealed(text: &str) -> Cow<'_, str> {
    unseal(text)
}

/// The bytes of all tokens, one behind the other.
#[derive(Debug)]
struct Pieces {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Pieces {
    fn of(vocabulary: &Vocabulary<'_>, model: &Model) -> Pieces {
        let characters = ByteCharacters::new();
        let mut pieces = Pieces { bytes: Vec::new(), ends: Vec::with_capacity(vocabulary.tokens.len()) };
        for (text, kind) in vocabulary.tokens.iter().zip(&vocabulary.kinds) {
            match (model, kind) {
                (Model::ByteLevel(_), TokenKind::Normal) => match characters.read(text) {
                    Some(bytes) => pieces.bytes.extend(bytes),
                    None => pieces.bytes.extend(text.bytes()),
                },
                (Model::SentencePiece(_), TokenKind::Byte) => pieces.bytes.extend(sentence_piece::byte(text)),
                (Model::SentencePiece(_), TokenKind::Normal | TokenKind::UserDefined) => {
                    pieces.bytes.extend(text.replace(sentence_piece::SPACE, " ").bytes());
                }
                _ => pieces.bytes.extend(text.bytes()),
            }
            pieces.ends.push(pieces.bytes.len());
        }
        pieces
    }

    fn get(&self, at: usize) -> &[u8] {
        let begin = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[begin..self.ends[at]]
    }
}
