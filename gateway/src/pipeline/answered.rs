//! A call that was answered by what was decoded here: encoded by its adapter, noted, and recorded.

use std::time::Instant;

use http::{HeaderMap, HeaderValue};
use weirgate_protocol::{InferRequest, InferResponse, Protocol, Result, RetryClass};

use crate::explain::{EXPLAIN, Explained};
use crate::gateway::Routed;
use crate::observe::Stages;
use crate::respond::Refusal;
use crate::server::address::REVISION;
use crate::server::edge;
use crate::server::large::in_place;

/// Compressing takes about as much longer than encoding.
const COMPRESSION: usize = 8;

/// An answered call, to be encoded by its adapter.
pub struct Answered {
    /// What was asked, less its inputs: the id, and how outputs are wanted.
    pub request: InferRequest,
    pub response: InferResponse,
    pub(super) routed: Routed,
    pub(super) protocol: Protocol,
    pub(super) stages: Stages,
    pub(super) arrived: Instant,
    pub(super) deadline: Instant,
    /// What its record is made of, where it leaves one.
    pub(super) explained: Option<Box<Explained>>,
}

impl Answered {
    /// Encodes the answer, where it does not hold up other connections; `compresses`: it compresses it too.
    pub async fn encode<T>(
        &mut self,
        compresses: bool,
        encode: impl FnOnce(InferResponse, &InferRequest) -> Result<T>,
    ) -> Result<T, Refusal> {
        let weight = if compresses { COMPRESSION } else { 1 };
        let bytes: usize = self.response.outputs.iter().map(|output| output.data.len()).sum();
        let response = std::mem::take(&mut self.response);
        let work = || encode(response, &self.request);
        let encoded = in_place(bytes.saturating_mul(weight), self.deadline, RetryClass::MayHaveExecuted, work).await;
        encoded.map_err(|error| {
            self.routed.lane().metrics.failed(self.protocol, error.code(), self.arrived.elapsed());
            if let Some(explained) = self.explained.take() {
                explained.failed(&self.routed, &error);
            }
            Refusal::of(error, &self.routed)
        })
    }

    /// The revision that answered.
    pub fn revision(&self) -> &HeaderValue {
        self.routed.lane().revision()
    }

    /// Call when the answer is encoded: notes its times, and adds to its headers what every answer carries.
    pub fn finish(mut self, headers: &mut HeaderMap) {
        self.note();
        headers.insert(REVISION, self.revision().clone());
        edge::stamp(headers, &self.stages);
        headers.extend(self.record().map(|value| (EXPLAIN, value)));
    }

    /// Call instead of [`Answered::finish`] where the answer has no headers of its own.
    pub fn finish_bare(mut self) {
        self.note();
        self.record();
    }

    /// Keeps the call's record, and returns it where that was asked for.
    fn record(&mut self) -> Option<HeaderValue> {
        self.explained.take()?.answered(&self.routed, &self.stages)
    }

    fn note(&mut self) {
        self.stages.total = self.arrived.elapsed();
        self.routed.lane().metrics.answered(self.protocol, &self.stages);
    }
}
