//! What a text is to go on from, or to be embedded: texts, or tokens in their place.

use crate::json::{Cursor, Fault, Parsed, owned_string};

use super::values::{MOST_TOKENS, list, token};

/// A text, or its tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    Text(String),
    /// Ids in the model's vocabulary, as they are: nothing is put before them.
    Tokens(Vec<u32>),
}

/// A string, a list of strings, a list of tokens, or a list of lists of tokens: at least one prompt, and at most `most`.
pub(crate) fn prompts(cursor: &mut Cursor<'_>, most: usize) -> Parsed<Vec<Prompt>> {
    const WANTED: &str = "a string, a list of strings, a list of tokens or a list of lists of tokens";
    let at = cursor.at();
    if cursor.peek() == Some(b'"') {
        return Ok(vec![Prompt::Text(owned_string(cursor)?)]);
    }
    // The first item says what all are.
    let mut inner = cursor.clone();
    if !inner.eat(b'[') {
        return Err(cursor.expected(WANTED));
    }
    let prompts = match inner.peek() {
        Some(b'"') => list(cursor, most, |cursor| owned_string(cursor).map(Prompt::Text))?,
        Some(b'[') => {
            let mut left = MOST_TOKENS;
            let mut lists = Vec::new();
            let mut over = false;
            cursor.array(|cursor, index| {
                if index >= most {
                    over = true;
                    return cursor.skip().map(drop);
                }
                let at = cursor.at();
                let tokens = list(cursor, left, token)?;
                if tokens.is_empty() {
                    return Err(Fault::value(at, "is empty; give at least one token"));
                }
                left -= tokens.len();
                lists.push(Prompt::Tokens(tokens));
                Ok(())
            })?;
            if over {
                return Err(Fault::value(at, format!("has more than {most} items, which is the limit")));
            }
            lists
        }
        Some(b']') => {
            cursor.skip()?;
            Vec::new()
        }
        Some(b'-' | b'0'..=b'9') => vec![Prompt::Tokens(list(cursor, MOST_TOKENS, token)?)],
        _ => return Err(inner.expected("a string, a token or a list of tokens")),
    };
    if prompts.is_empty() {
        return Err(Fault::value(at, "is empty; give at least one text or token"));
    }
    Ok(prompts)
}
