//! Calls that say which revision answered: by the answer itself, and by its header.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use http::{HeaderName, HeaderValue, Request};
use weirgate_protocol::{InferResponse, oip};

use crate::calls;
use crate::grpc::{Grpc, MODEL_INFER, answer, frame, request};
use crate::http::{Body, Http1, Reply};
use crate::server::Server;

pub const REVISION: &str = "x-weirgate-revision";

/// Where a call goes, and what it asks for.
#[derive(Clone, Debug)]
pub struct To {
    model: String,
    prefix: String,
    headers: Vec<(String, String)>,
}

impl To {
    pub fn model(model: &str) -> To {
        To { model: model.to_owned(), prefix: String::new(), headers: Vec::new() }
    }

    /// In REST: the begin of the path.
    pub fn prefix(self, prefix: &str) -> To {
        To { prefix: prefix.to_owned(), ..self }
    }

    pub fn has_prefix(&self) -> bool {
        !self.prefix.is_empty()
    }

    /// The Host, or `:authority`.
    pub fn host(self, host: &str) -> To {
        self.header("host", host)
    }

    pub fn revision(self, revision: &str) -> To {
        self.header(REVISION, revision)
    }

    /// A header, or metadata.
    pub fn header(mut self, name: &str, value: &str) -> To {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn address(&self, request: &mut Request<Body>) {
        for (name, value) in &self.headers {
            let name: HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
        }
    }

    /// A GET of a path behind the prefix.
    pub fn get(&self, path: &str) -> Request<Body> {
        let mut request = crate::http::get(&format!("{}{path}", self.prefix));
        self.address(&mut request);
        request
    }

    /// A REST call.
    pub fn rest(&self) -> Request<Body> {
        let mut request = calls::json(&self.model, &calls::row(&[X]));
        *request.uri_mut() = format!("{}{}", self.prefix, request.uri()).parse().unwrap();
        self.address(&mut request);
        request
    }

    /// A gRPC call.
    pub fn grpc(&self) -> Request<Body> {
        let message = oip::encode_request(&self.model, None, calls::row(&[X]), true).unwrap();
        let mut request = request(MODEL_INFER, frame(0, &prost::Message::encode_to_vec(&message)));
        self.address(&mut request);
        request
    }
}

const X: f32 = 40.0;

/// Who answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// `add_1` to `add_3`, by what was added; `add_0` for the models that give back what they got.
    pub model: String,
    /// By the header.
    pub revision: String,
}

/// A client of either protocol.
pub enum Caller {
    Http(Http1),
    Grpc(Grpc),
}

impl Caller {
    pub async fn http(address: SocketAddr) -> Caller {
        Caller::Http(Http1::connect(address).await)
    }

    pub async fn grpc(address: SocketAddr) -> Caller {
        Caller::Grpc(Grpc::connect(address).await)
    }

    /// One client of each protocol.
    pub async fn both(server: &Server) -> [Caller; 2] {
        [Caller::http(server.data).await, Caller::grpc(server.data).await]
    }

    /// One call; the error is whatever else came instead of an answer.
    pub async fn ask(&mut self, to: &To) -> Result<Answered, String> {
        match self {
            Caller::Http(client) => {
                let reply = client.try_send(to.rest()).await?;
                if reply.status != 200 {
                    return Err(format!("{}: {}", reply.status, reply.text()));
                }
                Ok(answered(&reply, &reply.response()))
            }
            Caller::Grpc(client) => {
                let reply = client.0.try_send(to.grpc()).await?;
                let message = answer(&reply).map_err(|refused| format!("{}: {}", refused.code, refused.message))?;
                let message: oip::ModelInferResponse = prost::Message::decode(message).unwrap();
                Ok(answered(&reply, &oip::decode_response(message).unwrap()))
            }
        }
    }

    /// Who answered so many calls, one after the other: what the answer and what the header says must be the same.
    pub async fn count(&mut self, to: &To, models: &Models, calls: usize) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for model in self.sequence(to, models, calls).await {
            *counts.entry(model).or_default() += 1;
        }
        counts
    }

    /// Who answered each of so many calls.
    pub async fn sequence(&mut self, to: &To, models: &Models, calls: usize) -> Vec<String> {
        let mut sequence = Vec::with_capacity(calls);
        for _ in 0..calls {
            let Answered { model, revision } = self.ask(to).await.unwrap();
            assert_eq!(models.get(&revision), Some(&model), "the header says {revision}");
            sequence.push(model);
        }
        sequence
    }
}

/// Revisions and the test models that they serve.
pub type Models = BTreeMap<String, String>;

fn answered(reply: &Reply, response: &InferResponse) -> Answered {
    let added = calls::values(&response.outputs[0])[0] - X;
    let revision = reply.header(REVISION).unwrap_or_else(|| panic!("there is no {REVISION}: {reply:?}"));
    Answered { model: format!("add_{added}"), revision: revision.to_owned() }
}
