//! Text: tokens of it, chat templates that write it, and where an answer stops.

mod byte_level;
mod bytes;
mod character;
pub mod chat;
mod detokenizer;
mod merge;
mod pre_tokenizer;
mod sentence_piece;
mod special;
mod stop_strings;
mod tokenizer;
mod utf8;
mod vocabulary;

pub use detokenizer::Detokenizer;
pub use pre_tokenizer::PreTokenizer;
pub use stop_strings::{StopMatcher, StopStrings};
pub use tokenizer::{Tokenizer, unsealed};
pub use vocabulary::TokenKind;
