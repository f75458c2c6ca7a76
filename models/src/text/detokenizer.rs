//! Tokens to text as they come.

use super::tokenizer::Tokenizer;
use super::utf8::Utf8;

/// The text of a stream of tokens, each piece as soon as it is certain. The pieces joined are the text of all tokens; a
/// character that comes in several tokens is never cut.
#[derive(Debug)]
pub struct Detokenizer {
    utf8: Utf8,
    /// The next bytes are the first of a text, whose first space no one wrote.
    drops_space: bool,
}

impl Detokenizer {
    /// `whole`: the tokens are a text from its begin on, and not what follows a prompt. It matters to SentencePiece alone,
    /// whose texts begin with a space that no one wrote.
    pub fn new(tokenizer: &Tokenizer, whole: bool) -> Detokenizer {
        Detokenizer { utf8: Utf8::default(), drops_space: whole && tokenizer.adds_space() }
    }

    /// Adds to `text` what this token makes certain. Control tokens have no text, nor have ids that no token has.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32, text: &mut String) {
        let mut bytes = tokenizer.bytes(id);
        if self.drops_space && !bytes.is_empty() {
            self.drops_space = false;
            bytes = bytes.strip_prefix(b" ").unwrap_or(bytes);
        }
        self.utf8.push(bytes, text);
    }

    /// Adds what was held back: a character of which not all has come, as U+FFFD.
    pub fn finish(&mut self, text: &mut String) {
        self.utf8.finish(text);
    }
}
