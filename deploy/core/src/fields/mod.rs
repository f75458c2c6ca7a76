//! The table of fields: every field that KServe's v1beta1 knows, and what becomes of it here.
//!
//! To act on one more field, change the fate in its row, and read it from the struct of the same level.

mod component;
mod container;
mod model;
mod pod;
mod predictor;
mod root;

pub(crate) use container::PROBE_AS_ABOVE;
pub(crate) use predictor::{CANARY_PREDICTOR, PREDICTOR};
pub(crate) use root::{API_VERSION, KIND, LIST_KIND, ROOT};

/// What a field takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rule {
    Text,
    OneOf(&'static [&'static str]),
    Whole,
    Bool,
    Quantity,
    IntOrPercent,
    /// The number of a port, or its name.
    Port,
    /// A mapping from free names to texts.
    Texts,
    TextList,
    /// A list of whatever.
    List,
    /// A mapping of whatever.
    Mapping,
    Object(&'static Level),
    Objects(&'static Level),
    /// What `model` takes, without the format: that is the field's own name.
    Framework(&'static Level),
    /// Never allowed here; the text says why.
    Never(&'static str),
}

/// What becomes of a field that has a value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    /// It does what the text says.
    ActedOn(&'static str),
    /// The service answers the same without it; the text, which is the warning, says what happens instead.
    Warned(&'static str),
    /// The service could answer differently without it, so it does not run; the text says what to do.
    Unsupported(&'static str),
    /// Written by the API server for itself: carries no wish and is not read.
    ServerOwned,
    /// The rule says why it is an error.
    Refused,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub name: &'static str,
    pub rule: Rule,
    pub fate: Fate,
}

/// The fields of one mapping.
#[derive(Debug)]
pub(crate) struct Level {
    /// Where a name has several rows the first one counts.
    pub rows: &'static [&'static [Field]],
    pub by_form: Option<ByForm>,
}

/// Names that are known by their form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ByForm {
    pub fits: fn(&str) -> bool,
    /// Their row; its own name is an example.
    pub row: Field,
}

impl Level {
    pub fn field(&self, name: &str) -> Option<Field> {
        let by_form = || self.by_form.filter(|form| (form.fits)(name)).map(|form| form.row);
        self.fields().find(|field| field.name == name).or_else(by_form)
    }

    pub fn fields(&self) -> impl Iterator<Item = Field> {
        self.rows.iter().flat_map(|rows| rows.iter().copied())
    }

    /// Names to guess from when one is mistyped.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.fields().filter(|field| !matches!(field.fate, Fate::ServerOwned | Fate::Refused)).map(|field| field.name)
    }

    /// The path of a field with this name that may be written, wherever it stands below `at`.
    pub fn find(&self, name: &str, at: &str) -> Option<String> {
        self.fields().filter(|field| matches!(field.fate, Fate::ActedOn(_) | Fate::Warned(_))).find_map(|field| {
            let path = if at.is_empty() { field.name.to_owned() } else { format!("{at}.{}", field.name) };
            match field.rule {
                _ if field.name == name => Some(path),
                Rule::Object(level) => level.find(name, &path),
                _ => None,
            }
        })
    }
}

const fn level(rows: &'static [&'static [Field]]) -> Level {
    Level { rows, by_form: None }
}

const fn acted_on(name: &'static str, rule: Rule, effect: &'static str) -> Field {
    Field { name, rule, fate: Fate::ActedOn(effect) }
}

const fn warned(name: &'static str, rule: Rule, instead: &'static str) -> Field {
    Field { name, rule, fate: Fate::Warned(instead) }
}

const fn unsupported(name: &'static str, rule: Rule, advice: &'static str) -> Field {
    Field { name, rule, fate: Fate::Unsupported(advice) }
}

const fn never(name: &'static str, why: &'static str) -> Field {
    Field { name, rule: Rule::Never(why), fate: Fate::Refused }
}

const fn server_owned(name: &'static str) -> Field {
    Field { name, rule: Rule::Mapping, fate: Fate::ServerOwned }
}
