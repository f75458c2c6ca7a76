//! The table of fields as people read it, in Markdown.

use std::collections::HashSet;
use std::fmt::Write;

use crate::annotations::ANNOTATIONS;
use crate::fields::{CANARY_PREDICTOR, Fate, Field, Level, PROBE_AS_ABOVE, ROOT, Rule};

/// What becomes of every field of an InferenceService.
pub fn field_table() -> String {
    let mut table = "| field | fate | what happens |\n|---|---|---|\n".to_owned();
    write_level(&ROOT, "", &mut table);
    table
}

/// What becomes of every annotation that means something.
pub fn annotation_table() -> String {
    let mut table = "| annotation | fate | what happens |\n|---|---|---|\n".to_owned();
    for (name, fate) in ANNOTATIONS {
        let (word, text) = words(fate, Rule::Text);
        write_row(&mut table, &format!("`{name}`"), word, text);
    }
    table
}

fn write_level(level: &'static Level, at: &str, table: &mut String) {
    // A canary's predictor differs from the other one in its first rows only.
    let fields: Vec<Field> = if std::ptr::eq(level, &CANARY_PREDICTOR) {
        level.rows[0].to_vec()
    } else {
        // Where a name has several rows the first one counts.
        let mut known = HashSet::new();
        level.fields().chain(level.by_form.map(|form| form.row)).filter(|field| known.insert(field.name)).collect()
    };
    for alike in fields.chunk_by(|a, b| words(a.fate, a.rule) == words(b.fate, b.rule) && !has_rows(b)) {
        let (word, text) = words(alike[0].fate, alike[0].rule);
        let first = join(at, alike[0].name);
        let names = alike[1..].iter().map(|field| format!(", `{}`", field.name)).collect::<String>();
        if !text.is_empty() {
            write_row(table, &format!("`{first}`{names}"), word, text);
        }
        match alike[0].rule {
            Rule::Object(level) if has_rows(&alike[0]) => write_level(level, &first, table),
            Rule::Objects(level) if has_rows(&alike[0]) => write_level(level, &format!("{first}[]"), table),
            _ => {}
        }
    }
}

/// Whether what it holds has fates of its own, which have not been told above.
fn has_rows(field: &Field) -> bool {
    match (field.fate, field.rule) {
        (Fate::ActedOn(_), Rule::Object(level) | Rule::Objects(level)) => !std::ptr::eq(level, &PROBE_AS_ABOVE),
        _ => false,
    }
}

fn words(fate: Fate, rule: Rule) -> (&'static str, &'static str) {
    match (fate, rule) {
        (Fate::ActedOn(text), _) => ("acted on", text),
        (Fate::Warned(text), _) => ("warned", text),
        (Fate::Unsupported(text), _) => ("refused", text),
        (Fate::Refused, Rule::Never(text)) => ("error", text),
        (Fate::Refused, _) => ("error", "is not allowed"),
        (Fate::ServerOwned, _) => ("not read", "written by the API server for itself"),
    }
}

fn join(at: &str, name: &str) -> String {
    match (at.is_empty(), name.contains(['.', '/'])) {
        (true, _) => name.to_owned(),
        (false, false) => format!("{at}.{name}"),
        (false, true) => format!("{at}['{name}']"),
    }
}

fn write_row(table: &mut String, field: &str, word: &str, text: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(table, "| {field} | {word} | {text} |");
}
