//! What a V2 request says besides its tensors: `parameters`, of the request and of each input and output.
//!
//! Engines of ours act on none of them. A call that is translated for another server takes them along, for they may change
//! what it does: a call that has any shares no batch.

use std::sync::Arc;

use crate::error::{Error, Result, Shown};

/// The most parameters of one request, all together.
pub const MOST_PARAMETERS: usize = 1_024;

/// What is written in `parameters` for whoever reads this very body: it is not for the model.
pub(crate) const OF_THE_BODY: [&str; 3] = ["binary_data", "binary_data_output", "binary_data_size"];

/// The value of a parameter. V2 has any JSON, and gRPC what is no list and no object.
#[derive(Clone, Debug, PartialEq)]
pub enum Parameter {
    Bool(bool),
    Integer(i64),
    /// Above what an `i64` holds.
    Unsigned(u64),
    Double(f64),
    Text(String),
    /// A list or an object, as it was written.
    Json(Box<str>),
}

/// Parameters by name, in the order of the request.
pub type Parameters = Vec<(Arc<str>, Parameter)>;

/// What a request says besides its tensors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extras {
    pub request: Parameters,
    /// By the names of the inputs.
    pub inputs: Vec<(Arc<str>, Parameters)>,
    /// By the names of the outputs that are asked for.
    pub outputs: Vec<(Arc<str>, Parameters)>,
    /// It has fields that are not known here. Nobody is to act on them who does not know them either.
    pub unknown: bool,
}

impl Extras {
    /// As a request carries it: none where nothing is said, and an error where it is too much.
    pub(crate) fn boxed(self) -> Result<Option<Box<Extras>>> {
        let count = self.parameters().count();
        if count > MOST_PARAMETERS {
            let text = format!("the request has {count} parameters: at most {MOST_PARAMETERS} are taken");
            return Err(Error::invalid(text));
        }
        Ok((count > 0 || self.unknown).then(|| Box::new(self)))
    }

    fn parameters(&self) -> impl Iterator<Item = &(Arc<str>, Parameter)> {
        let of_tensors = self.inputs.iter().chain(&self.outputs).flat_map(|(_, parameters)| parameters);
        self.request.iter().chain(of_tensors)
    }

    /// The error of a server that reads JSON, if there is one: its numbers are finite.
    pub(crate) fn refuse_for_json(&self) -> Result<()> {
        let endless =
            |(_, value): &&(Arc<str>, Parameter)| matches!(value, Parameter::Double(value) if !value.is_finite());
        self.parameters().find(endless).map_or(Ok(()), |(name, _)| {
            Err(Error::invalid(format!("parameter '{}' is no finite number, which JSON can't carry", Shown(name))))
        })
    }

    /// The error of a server whose protocol can't carry them, if there is one.
    pub fn refuse_for(&self, protocol: &str) -> Result<()> {
        self.parameters().next().map_or(Ok(()), |(name, _)| {
            Err(Error::unsupported(format!(
                "parameter '{}' can't be written in {protocol}, which the model's server speaks: leave it out",
                Shown(name)
            )))
        })
    }
}

/// The parameters of one of several tensors.
pub(crate) fn of<'a>(tensors: &'a [(Arc<str>, Parameters)], name: &str) -> &'a [(Arc<str>, Parameter)] {
    tensors.iter().find(|(of, _)| **of == *name).map_or(&[], |(_, parameters)| parameters)
}
