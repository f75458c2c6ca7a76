//! Requests from their source, each in the protocol's own form.

use std::sync::Arc;

use serde_json::Value;
use weirgate_protocol::TensorSpec;

use super::bodies::Body;
use super::budget::Budget;
use super::build::Source;
use super::conversation::{Line, Script};
use super::dress::Dress;
use super::expect::{Expect, Term};
use super::openai::{Format, Message};
use super::prompts::{Asked, Prompt};
use super::random::Words;
use super::recorded::{Recorded, Sizes};
use super::synthetic::{Shape, Synthetic};
use super::tensors::RandomTensors;
use super::{Fresh, Workload};
use crate::cli::PayloadOptions;
use crate::request::{Protocol, Request, in_path, v2_path};
use crate::result::WorkloadSummary;

/// Distinct requests of random tensors where the flags don't say.
const DISTINCT: usize = 64;
/// Requests that are made beforehand to see how large they are, where all are different.
const SAMPLED: u64 = 64;
/// Bytes that a raw byte of a tensor takes in JSON, about.
const IN_JSON: u64 = 5;

/// Why there is nothing to compare.
pub const SAME_OF_NONE: &str = "--expect same compares answers to one request, and no two prompts are the same: ask some \
                                of them again and again with --distinct";

/// All that requests of one workload have in common.
#[derive(Debug)]
pub struct Maker {
    pub protocol: Protocol,
    /// None where the requests name it themselves, or a path does.
    pub model: Option<String>,
    pub version: Option<String>,
    pub payload: PayloadOptions,
    pub dress: Dress,
    pub terms: Arc<[Term]>,
}

impl Maker {
    pub fn workload(&self, source: Source, inputs: Vec<TensorSpec>) -> Result<Workload, String> {
        let (what, requests) = match source {
            Source::Recorded(sizes) => return self.recorded(sizes),
            Source::Synthetic(shape) => return self.synthetic(shape),
            Source::Bodies(bodies) => {
                let what = format!("{} from files", counted(bodies.len(), "body", "bodies"));
                (what, bodies.iter().map(|body| self.body(body)).collect::<Result<Vec<_>, _>>()?)
            }
            Source::Prompts(prompts) => self.prompts(&prompts)?,
            Source::Random => self.random(inputs)?,
        };
        self.prepared(what, requests)
    }

    /// Requests that are sent in turn.
    fn prepared(&self, what: String, requests: Vec<Request>) -> Result<Workload, String> {
        let summary = self.summary(what, &requests, Some(requests.len()));
        Workload::of(summary, requests).map_err(|error| error.to_string())
    }

    /// Of some requests, by which the others are judged. `distinct_requests` is None where no two are the same.
    fn summary(&self, what: String, requests: &[Request], distinct_requests: Option<usize>) -> WorkloadSummary {
        let bytes: usize = requests.iter().map(|request| request.body.len()).sum();
        WorkloadSummary {
            protocol: self.protocol,
            model: self.model.clone(),
            what,
            streams: requests.iter().any(|request| request.streams),
            distinct_requests,
            mean_bytes: bytes as f64 / requests.len().max(1) as f64,
        }
    }

    fn model(&self) -> &str {
        self.model.as_deref().unwrap_or_default()
    }

    fn format(&self) -> Arc<Format> {
        Arc::new(Format {
            protocol: self.protocol,
            model: self.model().to_owned(),
            stream: self.payload.stream,
            ignore_eos: self.payload.ignore_eos,
            dress: self.dress.clone(),
        })
    }

    /// The request with what is expected of every answer.
    fn expecting(&self, request: Request) -> Request {
        Request { expect: Expect::all(&self.terms), ..request }
    }

    fn body(&self, body: &Body) -> Result<Request, String> {
        let request = match self.protocol {
            Protocol::V1 => {
                Request::new(self.protocol, format!("/v1/models/{}:predict", in_path(self.model())), body.bytes.clone())
            }
            Protocol::V2 => {
                let path = format!("{}/infer", v2_path(self.model(), self.version.as_deref()));
                Request::new(self.protocol, path, body.bytes.clone())
            }
            Protocol::V2Binary | Protocol::Grpc => {
                Request::tensors_for(self.protocol, self.model(), self.version.as_deref(), body.tensors()?)
                    .map_err(|error| body.error(error))?
            }
            Protocol::Chat | Protocol::Completions | Protocol::Embeddings => {
                let request = self.format().given(body.text()?).map_err(|why| body.error(why))?;
                return Ok(self.expecting(request));
            }
        };
        Ok(self.expecting(self.dress.on(request)))
    }

    fn random(&self, inputs: Vec<TensorSpec>) -> Result<(String, Vec<Request>), String> {
        let PayloadOptions { rows, shapes, values, seed, distinct, .. } = &self.payload;
        let distinct = distinct.unwrap_or(DISTINCT);
        let random = RandomTensors::new(inputs, rows.unwrap_or(1), shapes, values, *seed)?;
        let in_json = matches!(self.protocol, Protocol::V1 | Protocol::V2);
        let size = random.bytes().saturating_mul(if in_json { IN_JSON } else { 1 });
        Budget::new("lower --distinct, --rows or --shape").take_all(distinct, size)?;
        let mut requests = Vec::with_capacity(distinct);
        for index in 0..distinct {
            let tensors = random.request(index as u64)?;
            let request = Request::tensors_for(self.protocol, self.model(), self.version.as_deref(), tensors);
            let request = request.map_err(|error| format!("random tensors do not fit {}: {error}", self.protocol))?;
            requests.push(self.expecting(self.dress.on(request)));
        }
        Ok((format!("random tensors from the server's metadata: {}", random.what()), requests))
    }

    /// Prompts that are all different, or as many as asked for, sent in turn.
    fn synthetic(&self, shape: Shape) -> Result<Workload, String> {
        shape.check()?;
        let (what, most_bytes) = (shape.what(), shape.most_bytes());
        let synthetic = Synthetic { shape, format: self.format(), terms: self.terms.clone(), words: Words::new() };
        if let Some(distinct) = self.payload.distinct {
            Budget::new("lower --distinct, --prompt-words, --shared-prefix or --turns")
                .take_all(distinct, most_bytes)?;
            return self.prepared(what, (0..distinct as u64).map(|index| synthetic.request(0, index)).collect());
        }
        if self.terms.iter().any(|term| matches!(term, Term::Same)) {
            return Err(SAME_OF_NONE.to_owned());
        }
        let sampled: Vec<_> = (0..SAMPLED).map(|arrival| synthetic.request(0, arrival)).collect();
        Ok(Workload::fresh(self.summary(what, &sampled, None), Fresh::Synthetic(synthetic)))
    }

    fn recorded(&self, sizes: Vec<Sizes>) -> Result<Workload, String> {
        let (max_tokens, seed) = (self.payload.max_tokens(), self.payload.seed);
        let recorded = Recorded::new(sizes, self.format(), max_tokens, self.terms.clone(), seed)?;
        let count = recorded.len() as u64;
        let step = count.div_ceil(SAMPLED);
        let sampled: Vec<_> = (0..count).step_by(step as usize).map(|arrival| recorded.request(0, arrival)).collect();
        let what = "synthetic prompts of the trace's sizes, with the beginnings that its prompts share".to_owned();
        Ok(Workload::fresh(self.summary(what, &sampled, Some(recorded.len())), Fresh::Recorded(recorded)))
    }

    fn prompts(&self, prompts: &[Prompt]) -> Result<(String, Vec<Request>), String> {
        let format = self.format();
        let file = self.payload.prompts.as_deref().unwrap_or(std::path::Path::new("")).display();
        let request = |prompt: &Prompt| {
            self.prompt(&format, prompt).map_err(|why| format!("--prompts {file}:{}: {why}", prompt.line))
        };
        let requests = prompts.iter().map(request).collect::<Result<Vec<_>, _>>()?;
        let mut what = format!("{} from {file}", counted(prompts.len(), "prompt", "prompts"));
        match requests.iter().filter(|request| request.turn.is_some()).count() {
            0 => {}
            conversations => what += &format!(", of them {}", counted(conversations, "conversation", "conversations")),
        }
        Ok((what, requests))
    }

    fn prompt(&self, format: &Arc<Format>, prompt: &Prompt) -> Result<Request, String> {
        let embeds = self.protocol == Protocol::Embeddings;
        let more = &prompt.more;
        match more.stream {
            Some(true) if !self.payload.stream => return Err("it has \"stream\": true: give --stream".to_owned()),
            Some(false) if self.payload.stream => {
                return Err("it has \"stream\": false, and --stream is given".to_owned());
            }
            _ => {}
        }
        let expect = prompt.expect.as_deref();
        let request = match &prompt.asked {
            Asked::Input(_) if !embeds => return Err(format!("input is of embeddings, not of {}", self.protocol)),
            Asked::Turns(_) if embeds => return Err("messages are of chat, not of embeddings".to_owned()),
            Asked::Input(input) => format.embed(input, more),
            Asked::Text(text) if embeds => format.embed(&Value::from(text.as_str()), more),
            Asked::Body(body) => format.given(body)?,
            Asked::Text(text) => {
                let turns = vec![vec![Message::new("user", text.as_str())]];
                return self.conversation(format, turns, prompt);
            }
            Asked::Turns(turns) => return self.conversation(format, turns.clone(), prompt),
        };
        Ok(Request { expect: Expect::all(&self.terms_and(expect)), ..request })
    }

    /// A conversation of these turns, or a single request if there is but one. The last answer must contain what the
    /// prompt expects.
    fn conversation(&self, format: &Arc<Format>, turns: Vec<Vec<Message>>, prompt: &Prompt) -> Result<Request, String> {
        let max_tokens = prompt.max_tokens.unwrap_or(self.payload.max_tokens());
        let expect = prompt.expect.as_deref();
        let is_text = |message: &Message| message.content.is_string();
        if self.protocol == Protocol::Completions && !turns.iter().flatten().all(is_text) {
            return Err("it has a message of parts, which is of chat: give it as text".to_owned());
        }
        let last = turns.len().saturating_sub(1);
        let line = |(index, messages): (usize, Vec<Message>)| {
            let expect = if index == last { Expect::all(&self.terms_and(expect)) } else { Expect::all(&self.terms) };
            Line { messages, max_tokens, expect }
        };
        let mut lines = turns.into_iter().enumerate().map(line);
        let opening = lines.next().ok_or("it has no message of a user")?;
        Ok(Script::open_with(format, prompt.more.clone(), &opening, lines.collect()))
    }

    fn terms_and(&self, contains: Option<&str>) -> Arc<[Term]> {
        match contains {
            None => self.terms.clone(),
            Some(text) => self.terms.iter().cloned().chain([Term::Contains(text.into())]).collect(),
        }
    }
}

fn counted(count: usize, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}
