//! What is asked, and whether the answer is right.
//!
//! ```text
//! expect        what an answer must be
//! conversation  turns that build on the answers before
//! ```

pub mod conversation;
pub mod expect;

use std::sync::Arc;
use std::time::Duration;

use crate::outcome::Outcome;
use crate::request::{Answer, Request};
use crate::result::WorkloadSummary;

/// The requests of a run.
#[derive(Debug)]
pub struct Workload {
    pub summary: WorkloadSummary,
    requests: Vec<Arc<Request>>,
}

/// What a caller asks after an answer, as it is due.
#[derive(Debug)]
pub struct Next {
    /// From the end of the answer.
    pub after: Duration,
    pub request: Arc<Request>,
}

impl Workload {
    /// Requests that are sent in turn.
    pub fn of(summary: WorkloadSummary, requests: Vec<Request>) -> crate::Result<Workload> {
        if requests.is_empty() {
            return Err(crate::error("a workload needs a request"));
        }
        let requests = requests.into_iter().enumerate().map(|(index, request)| Arc::new(Request { index, ..request }));
        Ok(Workload { summary, requests: requests.collect() })
    }

    /// What is asked by the arrival of this number.
    pub fn request(&self, arrival: u64) -> Arc<Request> {
        let index = arrival % self.requests.len() as u64;
        self.requests[index as usize].clone()
    }

    /// The distinct requests.
    pub fn requests(&self) -> &[Arc<Request>] {
        &self.requests
    }

    /// What became of a request that was answered.
    pub fn judge(&self, request: &Request, answer: &Answer) -> Outcome {
        let _ = request;
        if answer.is_ok() { Outcome::Ok } else { Outcome::Error(answer.outcome()) }
    }

    /// The next turn of the conversation that this request belongs to.
    pub fn next(&self, request: &Request, answer: &Answer) -> Option<Next> {
        let _ = (request, answer);
        None
    }
}
