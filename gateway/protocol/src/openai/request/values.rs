//! Single values of requests, each within its bounds.

use std::fmt::Display;
use std::ops::RangeInclusive;

use crate::error::Shown;
use crate::json::{Cursor, Fault, Parsed, owned_string};

/// The most token ids of one request, prompts and all.
pub(crate) const MOST_TOKENS: usize = 1 << 20;

/// Stores what was read.
pub(crate) fn put<T>(place: &mut T, value: T) -> Parsed<()> {
    *place = value;
    Ok(())
}

pub(crate) fn boolean(cursor: &mut Cursor<'_>) -> Parsed<bool> {
    cursor.bool("true or false")
}

/// A number for which `holds` is true; `must` says which these are.
pub(crate) fn number(cursor: &mut Cursor<'_>, holds: impl Fn(f32) -> bool, must: &str) -> Parsed<f32> {
    let at = cursor.at();
    let value = cursor.number(|| "a number".to_owned(), |number| number.to_f32())?;
    if holds(value) { Ok(value) } else { Err(out_of_range(at, value, must)) }
}

/// A whole number within bounds.
pub(crate) fn whole<T>(cursor: &mut Cursor<'_>, bounds: RangeInclusive<T>) -> Parsed<T>
where
    T: Copy + Display + PartialOrd + TryFrom<i128>,
{
    let at = cursor.at();
    let value = cursor.number(|| "a whole number".to_owned(), |number| number.to_integer())?;
    match T::try_from(value).ok().filter(|value| bounds.contains(value)) {
        Some(value) => Ok(value),
        None => Err(out_of_range(at, value, &format!("from {} to {}", bounds.start(), bounds.end()))),
    }
}

fn out_of_range(at: usize, value: impl Display, must: &str) -> Fault {
    Fault::value(at, format!("is {value}; it must be {must}"))
}

/// A number of things. More than a `u32` holds is more than there can be of anything here.
pub(crate) fn count(cursor: &mut Cursor<'_>, least: u32) -> Parsed<usize> {
    whole(cursor, least..=u32::MAX).map(|count| count as usize)
}

/// One of several words.
pub(crate) fn word<T: Copy>(cursor: &mut Cursor<'_>, words: &[(&str, T)]) -> Parsed<T> {
    let at = cursor.at();
    let given = cursor.string()?;
    match words.iter().find(|(word, _)| *word == given) {
        Some((_, value)) => Ok(*value),
        None => {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            Err(Fault::value(at, format!("is '{}'; it must be {}", Shown(&given), known.join(", "))))
        }
    }
}

/// A list of at most `most` things.
pub(crate) fn list<T>(
    cursor: &mut Cursor<'_>,
    most: usize,
    read: impl Fn(&mut Cursor<'_>) -> Parsed<T>,
) -> Parsed<Vec<T>> {
    let mut items = Vec::new();
    let at = cursor.at();
    // The limit is the list's own affair, and not that of the item beyond it.
    let mut over = false;
    cursor.array(|cursor, index| {
        if index >= most {
            over = true;
            return cursor.skip().map(drop);
        }
        items.push(read(cursor)?);
        Ok(())
    })?;
    if over { Err(Fault::value(at, format!("has more than {most} items, which is the limit"))) } else { Ok(items) }
}

pub(crate) fn token(cursor: &mut Cursor<'_>) -> Parsed<u32> {
    whole(cursor, 0..=u32::MAX)
}

/// A string, or a list of at most `most`.
pub(crate) fn strings(cursor: &mut Cursor<'_>, most: usize) -> Parsed<Vec<String>> {
    match cursor.peek() {
        Some(b'"') => Ok(vec![owned_string(cursor)?]),
        Some(b'[') => list(cursor, most, owned_string),
        _ => Err(cursor.expected("a string or a list of strings")),
    }
}
