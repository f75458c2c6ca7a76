//! Requests from their source, each in the protocol's own form.

use std::sync::Arc;

use serde_json::Value;
use weirgate_protocol::TensorSpec;

use super::Workload;
use super::bodies::Body;
use super::budget::Budget;
use super::build::Source;
use super::conversation::{Line, Script};
use super::dress::Dress;
use super::expect::{Expect, Term};
use super::openai::{Format, Message};
use super::prompts::{Asked, Prompt};
use super::random::Words;
use super::synthetic::{Recorded, Synthetic};
use super::tensors::RandomTensors;
use crate::cli::PayloadOptions;
use crate::request::{Protocol, Request, in_path, v2_path};
use crate::result::WorkloadSummary;

/// Bytes that a raw byte of a tensor takes in JSON, about.
const IN_JSON: u64 = 5;

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
            Source::Bodies(bodies) => {
                let what = format!("{} from files", counted(bodies.len(), "body", "bodies"));
                (what, bodies.iter().map(|body| self.body(body)).collect::<Result<Vec<_>, _>>()?)
            }
            Source::Prompts(prompts) => self.prompts(&prompts)?,
            Source::Synthetic(synthetic) => (synthetic.what(), self.synthetic(&synthetic)?),
            Source::Random => self.random(inputs)?,
        };
        let summary = self.summary(what, &requests, requests.len());
        Workload::of(summary, requests).map_err(|error| error.to_string())
    }

    fn summary(&self, what: String, requests: &[Request], distinct_requests: usize) -> WorkloadSummary {
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
        let random = RandomTensors::new(inputs, *rows, shapes, values, *seed)?;
        let in_json = matches!(self.protocol, Protocol::V1 | Protocol::V2);
        let size = random.bytes().saturating_mul(if in_json { IN_JSON } else { 1 });
        Budget::new("lower --distinct, --rows or --shape").take_all(*distinct, size)?;
        let mut requests = Vec::with_capacity(*distinct);
        for index in 0..*distinct {
            let tensors = random.request(index as u64)?;
            let request = Request::tensors_for(self.protocol, self.model(), self.version.as_deref(), tensors);
            let request = request.map_err(|error| format!("random tensors do not fit {}: {error}", self.protocol))?;
            requests.push(self.expecting(self.dress.on(request)));
        }
        Ok((format!("random tensors from the server's metadata: {}", random.what()), requests))
    }

    fn synthetic(&self, synthetic: &Synthetic) -> Result<Vec<Request>, String> {
        let (format, words) = (self.format(), Words::new());
        let distinct = self.payload.distinct;
        Budget::new("lower --distinct, --prompt-words, --shared-prefix or --turns")
            .take_all(distinct, synthetic.most_bytes())?;
        let request = |index: usize| {
            let texts = synthetic.texts(&words, index as u64);
            match self.protocol {
                Protocol::Embeddings => Ok(self.expecting(format.embed(&Value::from(texts.concat())))),
                _ => {
                    let turns = texts.into_iter().map(|text| vec![Message::new("user", text)]).collect();
                    self.conversation(&format, turns, self.payload.max_tokens, None)
                }
            }
        };
        (0..distinct).map(request).collect()
    }

    fn recorded(&self, sizes: Vec<super::Sizes>) -> Result<Workload, String> {
        const SAMPLED: u64 = 64;
        let (max_tokens, seed) = (self.payload.max_tokens, self.payload.seed);
        let recorded = Recorded::new(sizes, self.format(), max_tokens, self.terms.clone(), seed)?;
        let count = recorded.len();
        let step = (count as u64).div_ceil(SAMPLED);
        let sampled: Vec<_> = (0..count as u64).step_by(step as usize).map(|index| recorded.request(index)).collect();
        let what = "synthetic prompts of the trace's sizes, with the beginnings that its prompts share".to_owned();
        Ok(Workload::of_trace(self.summary(what, &sampled, count), recorded))
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
        let expect = prompt.expect.as_deref();
        let request = match &prompt.asked {
            Asked::Input(_) if !embeds => return Err(format!("input is of embeddings, not of {}", self.protocol)),
            Asked::Turns(_) if embeds => return Err("messages are of chat, not of embeddings".to_owned()),
            Asked::Input(input) => format.embed(input),
            Asked::Text(text) if embeds => format.embed(&Value::from(text.as_str())),
            Asked::Body(body) => format.given(body)?,
            Asked::Text(text) => {
                let turns = vec![vec![Message::new("user", text.as_str())]];
                return self.conversation(format, turns, prompt.max_tokens.unwrap_or(self.payload.max_tokens), expect);
            }
            Asked::Turns(turns) => {
                let max_tokens = prompt.max_tokens.unwrap_or(self.payload.max_tokens);
                return self.conversation(format, turns.clone(), max_tokens, expect);
            }
        };
        Ok(Request { expect: Expect::all(&self.terms_and(expect)), ..request })
    }

    /// A conversation of these turns, or a single request if there is but one. The last answer must contain `expect`.
    fn conversation(
        &self,
        format: &Arc<Format>,
        turns: Vec<Vec<Message>>,
        max_tokens: u32,
        expect: Option<&str>,
    ) -> Result<Request, String> {
        let last = turns.len().saturating_sub(1);
        let line = |(index, messages): (usize, Vec<Message>)| {
            let expect = if index == last { Expect::all(&self.terms_and(expect)) } else { Expect::all(&self.terms) };
            Line { messages, max_tokens, expect }
        };
        let first = Script::first(format, turns.into_iter().enumerate().map(line).collect())?;
        first.ok_or_else(|| "it has no message of a user".to_owned())
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
