//! Tensor inference as the codecs see it: what was asked, and what is answered.

use std::sync::Arc;

use crate::extras::Extras;
use crate::tensor::Tensor;

/// A decoded V2 inference request. Which model it is for belongs to the call's target.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InferRequest {
    /// Echoed in the answer.
    pub id: Option<String>,
    pub inputs: Vec<Tensor>,
    /// Outputs asked for; empty means all.
    pub outputs: Vec<RequestedOutput>,
    /// `parameters.binary_data_output`: every output in binary unless its own parameter says otherwise. REST only.
    pub binary_outputs: bool,
    /// What it says besides; none where that is nothing.
    pub extras: Option<Box<Extras>>,
}

/// One entry of the request's `outputs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestedOutput {
    pub name: Arc<str>,
    /// `parameters.binary_data`. REST only.
    pub binary: Option<bool>,
}

/// A V2 inference answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InferResponse {
    pub model_name: Arc<str>,
    pub model_version: Option<Arc<str>>,
    pub id: Option<String>,
    pub outputs: Vec<Tensor>,
}

impl InferRequest {
    /// Whether the REST answer carries this output in binary.
    pub fn wants_binary(&self, output: &str) -> bool {
        let own =
            self.outputs.iter().find(|requested| &*requested.name == output).and_then(|requested| requested.binary);
        own.unwrap_or(self.binary_outputs)
    }
}
