//! Answers of the generate extension, read: what [`generate_response`](super::generate_response) and
//! [`GenerateEvents`](super::GenerateEvents) write, and Triton.

use crate::error::{Error, Result};
use crate::json::{Cursor, Parsed, owned_string, unless_null};

/// A whole answer, or the data of one event of an answer that is streamed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Generated {
    Text {
        /// All of it, or the next piece. It may be empty.
        text: String,
        /// Why the text has ended; none where it goes on.
        finish_reason: Option<String>,
    },
    /// Why there is none, or no more.
    Error(String),
}

#[derive(Default)]
struct Draft {
    text: Option<String>,
    finish_reason: Option<String>,
    error: Option<String>,
}

impl Generated {
    /// Reads one. What is wrong with it is its server's fault, never the caller's.
    pub fn decode(json: &[u8]) -> Result<Generated> {
        let unreadable = |why: &dyn std::fmt::Display| Error::engine(format!("the answer can't be read: {why}"));
        let draft = read(&mut Cursor::without_tensors(json)).map_err(|fault| unreadable(&Error::from(fault)))?;
        match draft {
            Draft { error: Some(text), .. } => Ok(Generated::Error(text)),
            Draft { text: Some(text), finish_reason, .. } => Ok(Generated::Text { text, finish_reason }),
            Draft { .. } => Err(unreadable(&"it has neither text_output nor error")),
        }
    }
}

fn read(cursor: &mut Cursor<'_>) -> Parsed<Draft> {
    let mut draft = Draft::default();
    cursor.object(|cursor, key| {
        match key {
            "text_output" => draft.text = Some(owned_string(cursor)?),
            "error" => draft.error = Some(owned_string(cursor)?),
            "details" => {
                unless_null(cursor, |cursor| {
                    cursor.object(|cursor, key| {
                        if key == "finish_reason" {
                            draft.finish_reason = unless_null(cursor, owned_string)?;
                            return Ok(());
                        }
                        cursor.skip().map(drop)
                    })
                })?;
            }
            _ => cursor.skip().map(drop)?,
        }
        Ok(())
    })?;
    cursor.end()?;
    Ok(draft)
}
