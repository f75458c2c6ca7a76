//! Files of models, and the template that comes in one.

use std::time::UNIX_EPOCH;

use weirgate_models::embed::{EmbedTokenizer, TokenizerOptions, Truncation};
use weirgate_models::gguf::{Header, HyperParameters};
use weirgate_models::safetensors::Table;
use weirgate_models::text::Tokenizer;
use weirgate_models::text::chat::{ChatTemplate, Message, RenderOptions};

/// The header of a GGUF file. Accepted is one that tells of a network and of its tokens.
pub fn gguf(bytes: &[u8]) -> bool {
    let Ok(header) = Header::read(bytes, bytes.len() as u64) else { return false };
    for tensor in &header.tensors {
        let end = tensor.offset.checked_add(tensor.bytes).expect("places are checked");
        assert!(end <= bytes.len() as u64, "{tensor:?} lies past the end");
    }
    let tensor = |name: &str| header.tensors.iter().find(|tensor| tensor.name == name);
    let network = HyperParameters::of(&header.metadata, tensor);
    let Ok(tokenizer) = Tokenizer::of(&header.metadata) else { return false };
    for text in ["", "a", " ab\n\nba", "<s>ab</s>é日\u{301}"] {
        for special in [false, true] {
            let ids = tokenizer.encode(text, special);
            assert!(ids.iter().all(|&id| (id as usize) < tokenizer.size()), "{text:?} became {ids:?}");
            tokenizer.decode(&ids);
        }
        let sealed = tokenizer.seal(text);
        assert_eq!(weirgate_models::text::unsealed(&sealed), text);
    }
    network.is_ok()
}

/// The source of a chat template. Accepted is one that writes a prompt.
pub fn chat_template(bytes: &[u8]) -> bool {
    let Ok(source) = std::str::from_utf8(bytes) else { return false };
    let template = match ChatTemplate::new(source, "<s>", "</s>") {
        Ok(template) => template,
        Err(error) => {
            assert!(!error.contains('\n'), "an error has one line: {error:?}");
            return false;
        }
    };
    let messages =
        [Message::new("system", "Be brief."), Message::new("user", "Hi"), Message::new("assistant", "Hello")];
    let options =
        RenderOptions { add_generation_prompt: true, continue_final_message: false, now: UNIX_EPOCH, variables: &[] };
    template.render(&messages, options).is_ok()
}

/// The table of a safetensors file. Accepted is one with tensors.
pub fn safetensors(bytes: &[u8]) -> bool {
    let size = bytes.len() as u64;
    let Ok(table) = Table::read(bytes, size) else { return false };
    for (name, begin, end) in table.places() {
        assert!(begin <= end && end <= size, "{name} lies at {begin} to {end} of {size} bytes");
    }
    table.places().next().is_some()
}

/// A `tokenizer.json`. Accepted is one that makes tokens of texts.
pub fn tokenizer_json(bytes: &[u8]) -> bool {
    let options = TokenizerOptions { max_tokens: 8, lowercases: false, prompt: String::new() };
    let Ok(tokenizer) = EmbedTokenizer::parse(bytes, options) else { return false };
    for text in
        ["", "a", "[X] ab\n\nba", "Ab é日\u{301} aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa b a b a b a b"]
    {
        let cut = tokenizer.encode(text, Truncation::CutEnd).expect("it is cut");
        assert!(cut.len() <= 8, "{text:?} became {cut:?}");
        match tokenizer.encode(text, Truncation::Refuse) {
            Ok(whole) => assert_eq!(whole, cut),
            Err(error) => assert!(error.tokens > 8, "{error}"),
        }
    }
    true
}
