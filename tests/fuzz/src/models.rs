//! A model's file, and the template that comes in it.

use std::time::UNIX_EPOCH;

use weirgate_models::gguf::{Header, HyperParameters};
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
