//! Answers of `POST /tokenize` and `POST /detokenize`.

use bytes::Bytes;

use crate::json::write;

/// A text's tokens, with each one's text where that is asked for. `context` is how many tokens the model can read and write
/// together.
pub fn tokenized(tokens: &[u32], texts: Option<&[String]>, context: usize) -> Bytes {
    let mut out = Vec::with_capacity(64 + tokens.len() * 7);
    out.extend_from_slice(br#"{"count":"#);
    write::integer(&mut out, tokens.len());
    out.extend_from_slice(br#","max_model_len":"#);
    write::integer(&mut out, context);
    out.extend_from_slice(br#","tokens":["#);
    for (index, token) in tokens.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write::integer(&mut out, *token);
    }
    out.extend_from_slice(br#"],"token_strs":"#);
    match texts {
        None => out.extend_from_slice(b"null"),
        Some(texts) => {
            out.push(b'[');
            for (index, text) in texts.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write::string(&mut out, text);
            }
            out.push(b']');
        }
    }
    out.push(b'}');
    out.into()
}

/// The text of tokens.
pub fn detokenized(text: &str) -> Bytes {
    let mut out = Vec::with_capacity(16 + text.len());
    out.extend_from_slice(br#"{"prompt":"#);
    write::string(&mut out, text);
    out.push(b'}');
    out.into()
}
