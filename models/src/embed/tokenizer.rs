//! Texts to the tokens of a BERT network, as `tokenizer.json` says.
//!
//! Such a file can ask for many kinds of tokens. Built in is BERT's own: texts are cleaned and split into words and punctuation,
//! and words into the longest pieces that the vocabulary has, from left to right. Embedders for English and Chinese mostly have
//! it; those for many languages (XLM-RoBERTa) don't. Anything else is refused by its name, as a network answers worse for
//! wrong tokens, and shows no sign of it.
//!
//! A special token's text in a caller's text (`[SEP]`) is that token, as it is for Hugging Face's tokenizers.

use std::borrow::Cow;
use std::ops::ControlFlow;

use aho_corasick::{AhoCorasick, MatchKind};
use serde::Deserialize;
use serde_json::Value;

use super::bert_text::BertText;
use super::word_piece::WordPiece;

/// The most bytes of a `tokenizer.json`. Those of the largest vocabularies have a third of it.
pub const LARGEST: u64 = 64 << 20;

/// What becomes of a text with more tokens than the model takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Truncation {
    /// It is an error.
    #[default]
    Refuse,
    /// Its end is cut off.
    CutEnd,
}

/// A text has more tokens than the model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text has {tokens} tokens, and the model takes {limit}; shorten it, or ask for it to be truncated")]
pub struct TooLong {
    pub tokens: usize,
    pub limit: usize,
}

/// Makes tokens of texts. It is used by any thread.
#[derive(Debug)]
pub struct EmbedTokenizer {
    /// Special tokens, looked for in texts; none where there are none.
    special: Option<AhoCorasick>,
    special_ids: Vec<u32>,
    text: BertText,
    words: WordPiece,
    /// What a text's tokens begin with, and end with.
    before: Vec<u32>,
    after: Vec<u32>,
    max_tokens: usize,
    lowercases: bool,
    prompt: String,
}

/// What belongs to the model, and is not in its `tokenizer.json`.
#[derive(Clone, Debug)]
pub struct TokenizerOptions {
    /// Most tokens of a text, with those that begin and end it.
    pub max_tokens: usize,
    /// Texts are brought to lower case before all else.
    pub lowercases: bool,
    /// Goes before each text.
    pub prompt: String,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    post_processor: Option<Value>,
    model: Value,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    normalized: bool,
}

#[derive(Deserialize)]
struct Template {
    single: Vec<TemplatePart>,
    special_tokens: serde_json::Map<String, Value>,
}

#[derive(Deserialize)]
enum TemplatePart {
    SpecialToken { id: String, type_id: u32 },
    Sequence { id: String, type_id: u32 },
}

#[derive(Deserialize)]
struct BertProcessing {
    sep: (String, u32),
    cls: (String, u32),
}

impl EmbedTokenizer {
    /// Reads a `tokenizer.json`. The error says what of it is not supported.
    pub fn parse(json: &[u8], options: TokenizerOptions) -> Result<EmbedTokenizer, String> {
        let file: File = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        let words = WordPiece::parse(&file.model)?;
        let text = BertText::parse(file.normalizer.as_ref(), file.pre_tokenizer.as_ref())?;
        let (before, after) = frame(file.post_processor)?;
        if let Some(odd) = file.added_tokens.iter().find(|token| token.single_word || token.normalized) {
            let how = if odd.single_word { "single_word" } else { "normalized" };
            return Err(format!("added token '{}' is {how}, which is not supported", short(&odd.content)));
        }
        let added: Vec<&AddedToken> = file.added_tokens.iter().filter(|token| !token.content.is_empty()).collect();
        let texts = added.iter().map(|token| &token.content);
        let special = match added.is_empty() {
            true => None,
            false => Some(
                AhoCorasick::builder()
                    .match_kind(MatchKind::LeftmostLongest)
                    .build(texts)
                    .map_err(|error| format!("the added tokens can't be looked for: {error}"))?,
            ),
        };
        let special_ids = added.iter().map(|token| token.id).collect();
        let TokenizerOptions { max_tokens, lowercases, prompt } = options;
        let frame = before.len() + after.len();
        if max_tokens <= frame {
            return Err(format!("{frame} tokens begin and end each text, and the model takes {max_tokens}"));
        }
        Ok(EmbedTokenizer { special, special_ids, text, words, before, after, max_tokens, lowercases, prompt })
    }

    /// Most tokens of a text, with those that begin and end it.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// The largest id that a text can get.
    pub(super) fn largest_id(&self) -> u32 {
        let ids = self.special_ids.iter().chain(&self.before).chain(&self.after);
        ids.copied().fold(self.words.largest_id(), u32::max)
    }

    /// The tokens of a text, with those that begin and end it.
    pub fn encode(&self, text: &str, truncation: Truncation) -> Result<Vec<u32>, TooLong> {
        let room = self.max_tokens - self.before.len() - self.after.len();
        let mut ids = self.before.clone();
        let mut count = 0;
        self.pieces(text, |id| {
            count += 1;
            if count <= room {
                ids.push(id);
            }
            match truncation {
                Truncation::CutEnd if count >= room => ControlFlow::Break(()),
                // Goes on to the end, to say how many there are.
                Truncation::CutEnd | Truncation::Refuse => ControlFlow::Continue(()),
            }
        });
        if count > room {
            let tokens = count + self.before.len() + self.after.len();
            return Err(TooLong { tokens, limit: self.max_tokens });
        }
        ids.extend(&self.after);
        Ok(ids)
    }

    /// Tokens that a caller made, as many as the model takes. They are taken as they are: none is put before or behind them.
    pub fn fit(&self, mut ids: Vec<u32>, truncation: Truncation) -> Result<Vec<u32>, TooLong> {
        match truncation {
            Truncation::Refuse if ids.len() > self.max_tokens => {
                Err(TooLong { tokens: ids.len(), limit: self.max_tokens })
            }
            Truncation::Refuse | Truncation::CutEnd => {
                ids.truncate(self.max_tokens);
                Ok(ids)
            }
        }
    }

    /// Calls `each` with the tokens of a text, until it has enough.
    fn pieces(&self, text: &str, mut each: impl FnMut(u32) -> ControlFlow<()>) {
        let mut text = match self.prompt.is_empty() {
            true => Cow::Borrowed(text),
            false => Cow::Owned(format!("{}{text}", self.prompt)),
        };
        if self.lowercases {
            text = Cow::Owned(text.to_lowercase());
        }
        let mut done = 0;
        for found in self.special.iter().flat_map(|special| special.find_iter(&*text)) {
            let id = self.special_ids[found.pattern().as_usize()];
            if self.words(&text[done..found.start()], &mut each).is_break() || each(id).is_break() {
                return;
            }
            done = found.end();
        }
        // That it was broken off changes nothing here.
        let _ = self.words(&text[done..], &mut each);
    }

    fn words(&self, text: &str, each: &mut impl FnMut(u32) -> ControlFlow<()>) -> ControlFlow<()> {
        self.text.words(text, |word| self.words.pieces(word, each))
    }
}

/// What a text's tokens begin with, and end with.
fn frame(processor: Option<Value>) -> Result<(Vec<u32>, Vec<u32>), String> {
    let Some(processor) = processor.filter(|processor| !processor.is_null()) else {
        return Ok((Vec::new(), Vec::new()));
    };
    let wrong = |error: serde_json::Error| format!("post_processor: {error}");
    match kind(&processor) {
        "TemplateProcessing" => template(serde_json::from_value(processor).map_err(wrong)?),
        // For a single text the two put the same before and behind it.
        "BertProcessing" | "RobertaProcessing" => {
            let BertProcessing { sep, cls } = serde_json::from_value(processor).map_err(wrong)?;
            Ok((vec![cls.1], vec![sep.1]))
        }
        other => Err(format!(
            "post_processor is {}, and supported are TemplateProcessing, BertProcessing and RobertaProcessing",
            short(other)
        )),
    }
}

fn template(template: Template) -> Result<(Vec<u32>, Vec<u32>), String> {
    let (mut before, mut after, mut seen) = (Vec::new(), Vec::new(), false);
    let ids = |name: &str| -> Result<Vec<u32>, String> {
        let ids = template.special_tokens.get(name).and_then(|token| token.get("ids"));
        let ids = ids.ok_or_else(|| format!("post_processor names '{}', and has no ids of it", short(name)))?;
        serde_json::from_value(ids.clone()).map_err(|error| format!("post_processor: {}: {error}", short(name)))
    };
    for part in &template.single {
        match part {
            TemplatePart::SpecialToken { type_id: 0, id } if seen => after.extend(ids(id)?),
            TemplatePart::SpecialToken { type_id: 0, id } => before.extend(ids(id)?),
            TemplatePart::Sequence { type_id: 0, id } if id == "A" && !seen => seen = true,
            _ => {
                return Err(
                    "post_processor has a template that is not supported: it has to hold the text once, all of type 0"
                        .to_owned(),
                );
            }
        }
    }
    if seen { Ok((before, after)) } else { Err("post_processor has a template without the text".to_owned()) }
}

/// The type of a part of the file.
pub(super) fn kind(part: &Value) -> &str {
    part.get("type").and_then(Value::as_str).unwrap_or("of no type")
}

/// A name out of the file, short enough for a log.
pub(super) fn short(name: &str) -> String {
    name.chars().take(60).collect()
}
