//! What is asked, and whether the answer is right.
//!
//! ```text
//! build         from flags to a workload
//! make          requests from their source
//!   tensors       random, of the shapes in the server's metadata
//!   bodies        from files
//!   prompts       from JSONL files
//!   synthetic     of random words
//!   recorded      of random words, and a trace's sizes
//! openai        bodies of OpenAI's endpoints
//! conversation  turns that build on the answers before
//! dress         headers, key and path that the user gives
//! metadata      what the server says of its models
//! judge         what became of a request
//!   expect        what an answer must be
//!   samples       what the server said of failures
//! random, range, budget
//! ```

mod bodies;
mod budget;
mod build;
pub mod conversation;
mod dress;
pub mod expect;
#[cfg(test)]
pub(crate) mod fixtures;
mod judge;
mod make;
mod metadata;
mod openai;
mod prompts;
mod random;
mod range;
mod recorded;
mod samples;
mod synthetic;
mod tensors;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

pub use self::build::{Ask, build, check};
use self::recorded::Recorded;
pub use self::recorded::Sizes;
pub use self::samples::Samples;
use self::synthetic::Synthetic;
use crate::outcome::Outcome;
use crate::request::{Answer, Request};
use crate::result::WorkloadSummary;

/// The requests of a run.
#[derive(Debug)]
pub struct Workload {
    pub summary: WorkloadSummary,
    requests: Requests,
    /// Between an answer and the next turn of its conversation.
    think: Duration,
}

#[derive(Debug)]
enum Requests {
    /// Sent in turn.
    Prepared(Vec<Arc<Request>>),
    /// Made when they are due, no two alike.
    Fresh(Box<Fresh>),
}

#[derive(Debug)]
enum Fresh {
    Synthetic(Synthetic),
    /// All of a trace at once would not fit in memory.
    Recorded(Recorded),
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
        Ok(Workload::new(summary, Requests::Prepared(requests.collect())))
    }

    /// Requests that are made when they are due.
    fn fresh(summary: WorkloadSummary, fresh: Fresh) -> Workload {
        Workload::new(summary, Requests::Fresh(Box::new(fresh)))
    }

    fn new(summary: WorkloadSummary, requests: Requests) -> Workload {
        Workload { summary, requests, think: Duration::ZERO }
    }

    /// The same with callers who think between the turns of their conversations.
    pub fn with_think(self, think: Duration) -> Workload {
        Workload { think, ..self }
    }

    /// What is asked by the arrival of this number in the run of this number; the same whenever it is asked for.
    pub fn request(&self, run: u64, arrival: u64) -> Arc<Request> {
        match &self.requests {
            Requests::Prepared(requests) => requests[(arrival % requests.len() as u64) as usize].clone(),
            Requests::Fresh(fresh) => Arc::new(match &**fresh {
                Fresh::Synthetic(synthetic) => synthetic.request(run, arrival),
                Fresh::Recorded(recorded) => recorded.request(run, arrival),
            }),
        }
    }

    /// The distinct requests that are prepared; none where they are made when they are due.
    pub fn requests(&self) -> &[Arc<Request>] {
        match &self.requests {
            Requests::Prepared(requests) => requests,
            Requests::Fresh(_) => &[],
        }
    }

    /// Whether answers are gone on from, so that more is asked than arrives.
    pub fn has_conversations(&self) -> bool {
        match &self.requests {
            Requests::Prepared(requests) => requests.iter().any(|request| request.turn.is_some()),
            Requests::Fresh(_) => self.request(0, 0).turn.is_some(),
        }
    }

    /// What became of a request that was answered. What the server said of a failure, or what came instead of the expected,
    /// is noted once for its kind.
    pub fn judge(&self, request: &Request, answer: &Answer, samples: &mut Samples) -> Outcome {
        judge::judge(request, answer, samples)
    }

    /// The next turn of the conversation that this request belongs to, if the answer is one to go on from.
    pub fn next(&self, request: &Request, answer: &Answer) -> Option<Next> {
        let next = request.turn.as_ref()?.next(answer)?;
        Some(Next { after: self.think, request: Arc::new(Request { index: request.index, ..next }) })
    }
}
