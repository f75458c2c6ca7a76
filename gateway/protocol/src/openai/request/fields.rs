//! The fields of a request: one list for each, from which both its reader and its documentation are made.

use crate::error::Shown;
use crate::json::{Cursor, Fault, Parsed};

/// A field that is known. What is in no list is skipped.
pub(crate) struct Field<T: 'static> {
    pub name: &'static str,
    pub handling: Handling<T>,
    /// Of a refused field why it is, else what it means: a clause, in Markdown.
    pub says: &'static str,
}

pub(crate) const fn honoured<T>(
    name: &'static str,
    says: &'static str,
    read: fn(&mut Cursor<'_>, &mut T) -> Parsed<()>,
) -> Field<T> {
    Field { name, handling: Handling::Honoured(read), says }
}

pub(crate) const fn ignored<T>(name: &'static str, says: &'static str) -> Field<T> {
    Field { name, handling: Handling::Ignored, says }
}

pub(crate) const fn refused<T>(name: &'static str, neutral: Neutral, says: &'static str) -> Field<T> {
    Field { name, handling: Handling::Refused(neutral), says }
}

/// What becomes of a field. Null is the same as leaving it out.
pub(crate) enum Handling<T: 'static> {
    /// It is read, and acted on.
    Honoured(fn(&mut Cursor<'_>, &mut T) -> Parsed<()>),
    /// It changes no answer: whatever it is, it is stepped over.
    Ignored,
    /// It would change the answer, and is not built: only its neutral value is taken.
    Refused(Neutral),
}

/// The value of a field that asks for nothing, besides null.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Neutral {
    /// No other.
    Null,
    /// An empty list, object or string.
    Empty,
    Bool(bool),
    Number(f64),
    OneOf(&'static [&'static str]),
    /// `{"type": "text"}`.
    TextFormat,
    /// `["text"]`.
    TextAlone,
}

impl Neutral {
    /// The values, as documentation and refusals name them.
    pub fn names(self) -> Option<String> {
        match self {
            Neutral::Null => None,
            Neutral::Empty => Some("an empty one".to_owned()),
            Neutral::Bool(value) => Some(value.to_string()),
            Neutral::Number(value) => Some(value.to_string()),
            Neutral::OneOf(texts) => {
                Some(texts.iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(" or "))
            }
            Neutral::TextFormat => Some(r#"{"type": "text"}"#.to_owned()),
            Neutral::TextAlone => Some(r#"["text"]"#.to_owned()),
        }
    }

    /// Whether the value at `cursor`, whose text is `text`, is this one.
    fn holds(self, cursor: &mut Cursor<'_>, text: &[u8]) -> bool {
        match self {
            Neutral::Null => false,
            Neutral::Empty => match text {
                [b'[', inner @ .., b']'] | [b'{', inner @ .., b'}'] => inner.iter().all(u8::is_ascii_whitespace),
                text => text == br#""""#,
            },
            Neutral::Bool(value) => cursor.bool("").is_ok_and(|given| given == value),
            Neutral::Number(value) => {
                cursor.number(String::new, |number| number.to_f64()).is_ok_and(|given| given == value)
            }
            Neutral::OneOf(texts) => cursor.string().is_ok_and(|given| texts.contains(&&*given)),
            Neutral::TextFormat => {
                matches!(cursor.seek("type"), Ok(true)) && cursor.string().is_ok_and(|given| given == "text")
            }
            Neutral::TextAlone => {
                let mut all = true;
                let read = cursor.array(|cursor, _| {
                    all &= cursor.string()? == "text";
                    Ok(())
                });
                read.is_ok() && all
            }
        }
    }
}

/// Which fields of an object have been read.
#[derive(Default)]
pub(crate) struct Seen(Vec<&'static str>);

/// Reads the value of `key` into `target`, if it is in the list; `false` where it is not, and nothing is read.
pub(crate) fn read<T>(
    fields: &'static [Field<T>],
    seen: &mut Seen,
    cursor: &mut Cursor<'_>,
    key: &str,
    target: &mut T,
) -> Parsed<bool> {
    let Some(field) = fields.iter().find(|field| field.name == key) else { return Ok(false) };
    let at = cursor.at();
    // So there are never more of them than fields that are known.
    if seen.0.contains(&field.name) {
        return Err(Fault::new(at, "is given twice"));
    }
    seen.0.push(field.name);
    if cursor.literal("null") {
        return Ok(true);
    }
    match field.handling {
        Handling::Honoured(read) => read(cursor, target)?,
        Handling::Ignored => cursor.skip().map(drop)?,
        Handling::Refused(neutral) => refuse(cursor, neutral, field.says)?,
    }
    Ok(true)
}

/// Steps over a value that asks for nothing, and refuses any other.
fn refuse(cursor: &mut Cursor<'_>, neutral: Neutral, why: &str) -> Parsed<()> {
    let range = cursor.skip()?;
    let text = cursor.text(range.clone());
    if neutral.holds(&mut cursor.revisit(&range), text) {
        return Ok(());
    }
    let given = match text.first() {
        None | Some(b'[' | b'{') => "is given".to_owned(),
        Some(_) => format!("is {}", Shown(&String::from_utf8_lossy(text))),
    };
    let instead = neutral.names().map_or(String::new(), |names| format!(", or give {names}"));
    Err(Fault::unsupported(range.start, format!("{given}, and {why}: leave it out{instead}")))
}

/// Reads an object whose fields are all of one list; others are stepped over.
pub(crate) fn object<T>(cursor: &mut Cursor<'_>, fields: &'static [Field<T>], target: &mut T) -> Parsed<()> {
    let mut seen = Seen::default();
    cursor.object(|cursor, key| match read(fields, &mut seen, cursor, key, target)? {
        true => Ok(()),
        false => cursor.skip().map(drop),
    })
}
