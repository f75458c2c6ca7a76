//! Every field that is known, as documentation has it.

use super::fields::{Field, Handling};
use super::{chat, completion, embeddings, generation, message, tokenize};
use crate::v2;

/// The fields of one object.
pub struct KnownFields {
    /// Which object it is: that of a route, or `generation`, which all that generate text have in common.
    pub of: &'static str,
    pub fields: Vec<KnownField>,
}

/// One field.
pub struct KnownField {
    pub name: &'static str,
    /// `honoured`, `ignored` or `refused`.
    pub handling: &'static str,
    /// Markdown.
    pub says: String,
}

/// Collects lists of fields.
struct Lists<'a>(&'a mut Vec<KnownField>);

impl Lists<'_> {
    fn list<T>(&mut self, fields: &[Field<T>]) {
        self.0.extend(fields.iter().map(|field| {
            let (handling, says) = match &field.handling {
                Handling::Honoured(_) => ("honoured", field.says.to_owned()),
                Handling::Ignored => ("ignored", field.says.to_owned()),
                Handling::Refused(neutral) => match neutral.names() {
                    Some(names) => ("refused", format!("{}; {names} is taken", field.says)),
                    None => ("refused", field.says.to_owned()),
                },
            };
            KnownField { name: field.name, handling, says }
        }));
    }
}

/// All of them, in the order of documentation.
pub fn known_fields() -> Vec<KnownFields> {
    type Route = (&'static str, fn(&mut Lists<'_>));
    let routes: [Route; 8] = [
        ("chat", |add| {
            add.list(chat::FIELDS);
            add.list(chat::CHAT_FIELDS);
        }),
        ("message", |add| add.list(message::FIELDS)),
        ("completions", |add| add.list(completion::FIELDS)),
        ("generation", |add| add.list(generation::FIELDS)),
        ("embeddings", |add| add.list(embeddings::FIELDS)),
        ("tokenize", |add| {
            add.list(tokenize::FIELDS);
            add.list(chat::CHAT_FIELDS);
        }),
        ("detokenize", |add| add.list(tokenize::DETOKENIZE_FIELDS)),
        ("generate", |add| {
            add.list(v2::generate::FIELDS);
            add.list(v2::generate::PARAMETERS);
        }),
    ];
    let fields = routes.into_iter().map(|(of, describe)| {
        let mut fields = Vec::new();
        describe(&mut Lists(&mut fields));
        KnownFields { of, fields }
    });
    fields.collect()
}
