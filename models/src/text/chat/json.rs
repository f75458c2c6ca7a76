//! `tojson`, as Python's `json.dumps` writes it: models were trained on prompts that it wrote.

use std::fmt::Write;

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind};

/// Values in each other.
const DEEPEST: usize = 128;

struct Style {
    ensure_ascii: bool,
    /// What goes before each entry, once for each level; none: all is on one line.
    indent: Option<String>,
    item: String,
    key: String,
    sort_keys: bool,
}

/// The filter. It takes Hugging Face's arguments, by name.
pub(super) fn tojson(value: &Value, options: Kwargs) -> Result<Value, Error> {
    let indent = match options.get::<Option<Value>>("indent")?.filter(|indent| !indent.is_none()) {
        None => None,
        Some(indent) => Some(match (indent.as_str(), indent.as_usize()) {
            (Some(text), _) => text.to_owned(),
            (None, Some(count)) if count <= 64 => " ".repeat(count),
            _ => return Err(refuse(format!("indent is {indent}, and has to be a string or a count up to 64"))),
        }),
    };
    let separators: Option<Vec<String>> = options.get("separators")?;
    let (item, key) = match separators.as_deref() {
        None if indent.is_some() => (",".to_owned(), ": ".to_owned()),
        None => (", ".to_owned(), ": ".to_owned()),
        Some([item, key]) => (item.clone(), key.clone()),
        Some(other) => return Err(refuse(format!("separators has {} elements, and has to have 2", other.len()))),
    };
    let style = Style {
        ensure_ascii: options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        indent,
        item,
        key,
        sort_keys: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
    };
    options.assert_all_used()?;
    let mut out = String::new();
    write(value, &style, 0, &mut out)?;
    Ok(Value::from(out))
}

fn refuse(text: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("tojson: {text}"))
}

fn write(value: &Value, style: &Style, depth: usize, out: &mut String) -> Result<(), Error> {
    if depth > DEEPEST {
        return Err(refuse(format!("more than {DEEPEST} values are in each other")));
    }
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => out.push_str(&number(value)),
        ValueKind::String => string(value.as_str().unwrap_or_default(), style, out),
        ValueKind::Seq | ValueKind::Iterable => {
            let mut entries = value.try_iter()?.map(|entry| (None, entry));
            list(&mut entries, ['[', ']'], style, depth, out)?;
        }
        ValueKind::Map => {
            let mut entries = Vec::new();
            for name in value.try_iter()? {
                let entry = value.get_item(&name)?;
                entries.push((Some(key(&name)?), entry));
            }
            if style.sort_keys {
                entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            }
            list(&mut entries.into_iter(), ['{', '}'], style, depth, out)?;
        }
        other => return Err(refuse(format!("{other} can't be written"))),
    }
    Ok(())
}

/// The entries of a list, or of a map where they have keys.
fn list(
    entries: &mut dyn Iterator<Item = (Option<String>, Value)>,
    [open, close]: [char; 2],
    style: &Style,
    depth: usize,
    out: &mut String,
) -> Result<(), Error> {
    let line = |depth: usize, out: &mut String| {
        if let Some(indent) = &style.indent {
            out.push('\n');
            (0..depth).for_each(|_| out.push_str(indent));
        }
    };
    out.push(open);
    let mut first = true;
    for (name, entry) in entries {
        if !std::mem::take(&mut first) {
            out.push_str(&style.item);
        }
        line(depth + 1, out);
        if let Some(name) = name {
            string(&name, style, out);
            out.push_str(&style.key);
        }
        write(&entry, style, depth + 1, out)?;
    }
    if !first {
        line(depth, out);
    }
    out.push(close);
    Ok(())
}

fn key(name: &Value) -> Result<String, Error> {
    match name.kind() {
        ValueKind::String => Ok(name.as_str().unwrap_or_default().to_owned()),
        ValueKind::None => Ok("null".to_owned()),
        ValueKind::Bool => Ok(name.is_true().to_string()),
        ValueKind::Number => Ok(number(name)),
        other => Err(refuse(format!("{other} can't be a key"))),
    }
}

/// Whole numbers as they are; others as Python's `repr` writes them.
fn number(value: &Value) -> String {
    if value.is_integer() {
        return value.to_string();
    }
    match f64::try_from(value.clone()) {
        Ok(number) if number.is_nan() => "NaN".to_owned(),
        Ok(number) if number.is_infinite() => if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
        Ok(number) => float(number),
        Err(_) => value.to_string(),
    }
}

fn float(number: f64) -> String {
    // The shortest digits that give the number, with their exponent: `-1.5e-7`.
    let shortest = format!("{number:e}");
    let (digits, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..16).contains(&exponent) {
        let plain = number.to_string();
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

fn string(text: &str, style: &Style, out: &mut String) {
    out.push('"');
    for one in text.chars() {
        match one {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..='\x1f' => escape(one, out),
            '\x7f'.. if style.ensure_ascii && one != '\x7f' => escape(one, out),
            _ => out.push(one),
        }
    }
    out.push('"');
}

fn escape(one: char, out: &mut String) {
    for unit in one.encode_utf16(&mut [0; 2]) {
        // Writing to a string can't fail.
        let _ = write!(out, "\\u{unit:04x}");
    }
}
