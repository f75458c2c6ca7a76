//! The answer of a V1 server whose model nobody knows: what its tensors are is seen from how they are written.
//!
//! As numpy has it: whole numbers are `INT64`, numbers of which one has a point or an exponent are `FP64`, then there are
//! `BOOL` and `BYTES`; how arrays nest is the shape. A list of objects, or one object, has a tensor for each field; what has
//! no name is [`UNNAMED`].

use std::ops::Range;
use std::sync::Arc;

use super::column::is_base64;
use crate::json::{Cursor, Fault, Parsed};
use crate::model::{Dim, TensorSpec};
use crate::tensor::{Datatype, MAX_DIMENSIONS};

/// What the one tensor of an answer is called that has no name, by KServe's convention.
pub const UNNAMED: &str = "output-0";

/// The most fields of an object that are tensors.
const MOST_TENSORS: usize = 1_024;

/// What `predictions` are, and how they are written.
pub(super) struct Guess {
    pub specs: Vec<TensorSpec>,
    /// They are a list of objects, each a row of every tensor.
    pub by_rows: bool,
}

/// A tensor, as far as its text has been looked through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    datatype: Datatype,
    /// How deep arrays nest.
    depth: usize,
}

impl Guess {
    /// Looks through the value that comes next, and leaves the cursor where it is.
    pub fn of(cursor: &Cursor<'_>) -> Parsed<Guess> {
        let mut cursor = cursor.clone();
        let mut first = cursor.clone();
        if first.eat(b'[') && first.peek() == Some(b'{') && !is_base64(&first) {
            return rows(&mut cursor);
        }
        if cursor.peek() == Some(b'{') && !is_base64(&cursor) {
            let (mut fields, at) = (Fields::default(), cursor.at());
            cursor.object(|cursor, key| fields.see(cursor, key, 0))?;
            return Ok(Guess { specs: fields.specs(0, at)?, by_rows: false });
        }
        let seen = see(&mut cursor)?;
        Ok(Guess { specs: vec![seen.spec(UNNAMED.into(), 0)], by_rows: false })
    }
}

fn rows(cursor: &mut Cursor<'_>) -> Parsed<Guess> {
    let (mut fields, at) = (Fields::default(), cursor.at());
    cursor.array(|cursor, _| cursor.object(|cursor, key| fields.see(cursor, key, 1)))?;
    Ok(Guess { specs: fields.specs(1, at)?, by_rows: true })
}

/// The tensors of objects, in the order in which they came.
#[derive(Default)]
struct Fields(Vec<(Arc<str>, Seen)>);

impl Fields {
    /// Looks through a field; `rows` is how many dimensions its tensor has besides.
    fn see(&mut self, cursor: &mut Cursor<'_>, key: &str, rows: usize) -> Parsed<()> {
        let at = cursor.at();
        let seen = see(cursor)?;
        if seen.depth + rows > MAX_DIMENSIONS {
            return Err(cursor.too_deep());
        }
        if let Some((_, known)) = self.0.iter_mut().find(|(name, _)| **name == *key) {
            known.and(seen);
        } else if self.0.len() == MOST_TENSORS {
            return Err(Fault::new(at, format!("is one field more than the {MOST_TENSORS} that are taken")));
        } else {
            self.0.push((key.into(), seen));
        }
        Ok(())
    }

    fn specs(self, rows: usize, at: usize) -> Parsed<Vec<TensorSpec>> {
        match self.0.is_empty() {
            true => Err(Fault::new(at, "has no fields: nobody says what it holds")),
            false => Ok(self.0.into_iter().map(|(name, seen)| seen.spec(name, rows)).collect()),
        }
    }
}

impl Seen {
    /// What both are; where they don't agree, reading them says so.
    fn and(&mut self, other: Seen) {
        if self.datatype == Datatype::Int64 && other.datatype == Datatype::Fp64 {
            self.datatype = Datatype::Fp64;
        }
    }

    fn spec(self, name: Arc<str>, rows: usize) -> TensorSpec {
        let shape = vec![Dim::Dynamic("".into()); self.depth + rows];
        TensorSpec { name, datatype: self.datatype, shape }
    }
}

/// Looks through one value: its first element says what all are, but for numbers, of which one point makes all `FP64`.
fn see(cursor: &mut Cursor<'_>) -> Parsed<Seen> {
    let mut first = cursor.clone();
    let mut depth = 0;
    while first.eat(b'[') {
        depth += 1;
        if depth > MAX_DIMENSIONS {
            return Err(first.too_deep());
        }
    }
    let (at, begins) = (first.at(), first.peek());
    let text = cursor.skip()?;
    let datatype = match begins {
        Some(b'"' | b'{') => Datatype::Bytes,
        Some(b't' | b'f') => Datatype::Bool,
        Some(b'-' | b'0'..=b'9') => numbers(cursor, text),
        Some(b'n') => return Err(Fault::new(at, "is null, which no tensor holds")),
        // The text is JSON, so that it is the end of an array.
        _ => return Err(Fault::new(at, "is empty: nobody says what its elements would be")),
    };
    Ok(Seen { datatype, depth })
}

/// Whole numbers that an `INT64` holds, or others. The text holds nothing else that is read later.
fn numbers(cursor: &Cursor<'_>, text: Range<usize>) -> Datatype {
    let text = cursor.text(text);
    let whole = |number: &[u8]| std::str::from_utf8(number).is_ok_and(|number| number.parse::<i64>().is_ok());
    let between = |byte: &u8| matches!(byte, b'[' | b']' | b',' | b' ' | b'\n' | b'\r' | b'\t');
    let mut numbers = text.split(between).filter(|number| !number.is_empty());
    if numbers.all(whole) { Datatype::Int64 } else { Datatype::Fp64 }
}
