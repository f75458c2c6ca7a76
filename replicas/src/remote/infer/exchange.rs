//! One request for a batch and its answer, in the best protocol that the server speaks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use weirgate_protocol::deadline::{grpc_timeout, timeout_seconds};
use weirgate_protocol::tensor::MAX_DIMENSIONS;
use weirgate_protocol::v1::instances;
use weirgate_protocol::{InferRequest, InferResponse, ModelSpec, Payload, RequestedOutput, Tensor, given, oip, v1, v2};

use super::refusal::Refusal;
use super::{asked_model, heavy};
use crate::job::Job;
use crate::joined::Joined;
use crate::remote::Described;
use crate::remote::ask::{Whole, ask, segment, value};
use crate::remote::body::OutBody;
use crate::remote::fault::Fault;
use crate::remote::grpc;
use crate::remote::link::Link;
use crate::remote::via::VIA;

/// The largest answer to a batch that is read.
const LARGEST_ANSWER: usize = 512 << 20;

const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout-seconds");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Why a batch has no outputs.
#[derive(Debug)]
pub(super) enum Failed {
    Fault(Fault),
    Refused(Refusal),
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Failed {
        Failed::Refused(refusal)
    }
}

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoken {
    V2 {
        binary: bool,
    },
    Grpc,
    V1,
    /// V1 for a model that does not say what it takes.
    Instances,
}

impl Spoken {
    /// Raw tensors before JSON, whose numbers cost more than most models; V1 where there is nothing else.
    fn choose(described: &Described, spec: &ModelSpec) -> Option<Spoken> {
        let &Described { v1, v2, grpc, binary, .. } = described;
        if instances::is_spec(spec) {
            return v1.then_some(Spoken::Instances);
        }
        let known = [
            (v2 && binary, Spoken::V2 { binary: true }),
            (grpc, Spoken::Grpc),
            (v2, Spoken::V2 { binary: false }),
            (v1, Spoken::V1),
        ];
        known.into_iter().find_map(|(spoken, how)| spoken.then_some(how))
    }
}

/// A batch that is ready to be sent.
pub(super) struct Exchange<'a> {
    spec: &'a ModelSpec,
    wanted: &'a [usize],
    message: Message,
}

/// What a server gave for a batch.
pub(super) struct Given {
    /// The wanted ones, in their order.
    pub outputs: Vec<Tensor>,
    /// The version of the model that ran, where the server says so.
    pub version: Option<Arc<str>>,
}

enum Message {
    Http { request: Request<OutBody>, reads: Spoken },
    Grpc { message: oip::ModelInferRequest, headers: HeaderMap },
}

impl<'a> Exchange<'a> {
    /// Writes the joined batch of jobs that are like `first`. `alone`: it is the only one, and its ids, its trace and what it
    /// says besides go with it.
    pub fn new(
        described: &Described,
        first: &'a Job,
        joined: &'a Joined,
        alone: bool,
        deadline: Instant,
    ) -> Result<Exchange<'a>, Refusal> {
        // The one payload there is; `#[non_exhaustive]` asks for the other arm.
        let Payload::Infer { spec, .. } = &first.call.payload else {
            return Err(Refusal::unusable("the call is none for tensors"));
        };
        let spoken = Spoken::choose(described, spec)
            .ok_or_else(|| Refusal::unusable("it speaks no protocol that this call can be written in"))?;
        let version = asked_model(first).and_then(|(_, pinned)| pinned);
        let model = described.name.as_deref().unwrap_or(&first.call.target.model);
        let wanted = &joined.wanted[..];
        let all = wanted.len() == spec.outputs.len() && !given::is_spec(spec);
        let mut asked = InferRequest {
            inputs: joined.inputs.clone(),
            // Servers give all outputs where none are named, and some know no other way.
            outputs: if all { Vec::new() } else { named(spec, wanted) },
            binary_outputs: spoken == Spoken::V2 { binary: true },
            ..InferRequest::default()
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let mut headers = HeaderMap::new();
        headers.extend(first.along.via.clone().map(|via| (VIA, via)));
        if alone {
            let (head, along) = (&first.call.head, &first.along);
            asked.id = Some(along.id.clone().unwrap_or_else(|| head.request_id.to_string()));
            asked.extras = along.extras.clone();
            if let (Some(extras), Spoken::V1 | Spoken::Instances) = (&asked.extras, spoken) {
                extras.refuse_for("V1").map_err(Refusal::unfit)?;
            }
            headers.extend(value(&head.request_id).map(|id| (REQUEST_ID, id)));
            headers.extend(head.traceparent.as_deref().and_then(value).map(|trace| (TRACEPARENT, trace)));
        }
        let write = || write(spoken, model, version.as_deref(), asked, left, headers);
        let message = heavy(joined.bytes(), write).map_err(Refusal::unfit)?;
        Ok(Exchange { spec, wanted, message })
    }

    /// Sends it, and reads the answer.
    pub async fn send(self, link: &Link) -> Result<Given, Failed> {
        let Exchange { spec, wanted, message } = self;
        let response = match message {
            Message::Grpc { message, headers } => {
                let answer = grpc::unary(link, "ModelInfer", &message, headers, LARGEST_ANSWER).await;
                let answer: oip::ModelInferResponse = answer.map_err(|failed| match failed {
                    grpc::Failed::Fault(fault) => Failed::Fault(fault),
                    grpc::Failed::Status(status) => Refusal::grpc(status).into(),
                    grpc::Failed::Foreign(text) => Refusal::unusable(text).into(),
                })?;
                oip::decode_response(answer).map_err(Refusal::unusable)?
            }
            Message::Http { request, reads } => {
                let whole = ask(link, request, LARGEST_ANSWER).await.map_err(Failed::Fault)?;
                heavy(whole.body.len(), || read(reads, &whole, spec))?
            }
        };
        let outputs = pick(response.outputs, spec, wanted)?;
        Ok(Given { outputs, version: response.model_version.filter(|version| !version.is_empty()) })
    }
}

fn named(spec: &ModelSpec, wanted: &[usize]) -> Vec<RequestedOutput> {
    let outputs = wanted.iter().filter_map(|&index| spec.outputs.get(index));
    outputs.map(|output| RequestedOutput { name: output.name.clone(), binary: None }).collect()
}

fn write(
    spoken: Spoken,
    model: &str,
    version: Option<&str>,
    asked: InferRequest,
    left: Duration,
    mut headers: HeaderMap,
) -> weirgate_protocol::Result<Message> {
    if spoken == Spoken::Grpc {
        headers.extend(value(&grpc_timeout(left)).map(|left| (GRPC_TIMEOUT, left)));
        let message = oip::encode_request(model, version, asked, true)?;
        return Ok(Message::Grpc { message, headers });
    }
    headers.extend(value(&timeout_seconds(left)).map(|left| (REQUEST_TIMEOUT, left)));
    let mut content_type = "application/json";
    let model = segment(model);
    let (path, body): (String, Bytes) = match spoken {
        Spoken::V2 { binary } => {
            let encoded = v2::encode_request(&asked, binary)?;
            content_type = encoded.content_type();
            headers.extend(encoded.header_length.map(|length| (HEADER_LENGTH, HeaderValue::from(length))));
            let version = version.map(|version| format!("/versions/{}", segment(version))).unwrap_or_default();
            (format!("/v2/models/{model}{version}/infer"), encoded.into_bytes())
        }
        Spoken::V1 => (predict(model, version), v1::encode_request(&asked)?),
        Spoken::Instances | Spoken::Grpc => (predict(model, version), instances::encode_request(&asked)?),
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    let request = Request::post(path).body(OutBody::Whole(body));
    let mut request = request
        .map_err(|error| weirgate_protocol::Error::internal(format!("the request can't be written: {error}")))?;
    *request.headers_mut() = headers;
    Ok(Message::Http { request, reads: spoken })
}

fn predict(model: impl std::fmt::Display, version: Option<&str>) -> String {
    let version = version.map(|version| format!("/versions/{}", segment(version))).unwrap_or_default();
    format!("/v1/models/{model}{version}:predict")
}

fn read(spoken: Spoken, whole: &Whole, spec: &ModelSpec) -> Result<InferResponse, Refusal> {
    let Whole { status, headers, body, .. } = whole;
    if *status != StatusCode::OK {
        return Err(Refusal::http(*status, headers, body));
    }
    let rows = |outputs| InferResponse { outputs, ..InferResponse::default() };
    let response = match spoken {
        Spoken::V1 if given::is_spec(spec) => {
            v1::decode_undescribed(body).map(|outputs| rows(named_as_asked(outputs, spec)))
        }
        Spoken::V1 => v1::decode_response(body, spec).map(rows),
        Spoken::Instances => instances::decode_response(body).map(|predictions| rows(vec![predictions])),
        Spoken::V2 { .. } | Spoken::Grpc => {
            let length = headers.get(HEADER_LENGTH).and_then(|length| length.to_str().ok());
            v2::decode_response(body, length)
        }
    };
    response.map_err(Refusal::unusable)
}

/// V1 has no name for an only output: where its caller asks for one output, that is what it means.
fn named_as_asked(mut outputs: Vec<Tensor>, spec: &ModelSpec) -> Vec<Tensor> {
    if let ([only], [asked]) = (&mut outputs[..], &spec.outputs[..])
        && *only.name == *v1::UNNAMED
    {
        only.name = asked.name.clone();
    }
    outputs
}

/// The wanted outputs, in their order; all where nobody knows which there are, and none is asked for.
fn pick(mut outputs: Vec<Tensor>, spec: &ModelSpec, wanted: &[usize]) -> Result<Vec<Tensor>, Refusal> {
    let check = |output: Tensor| match output.shape.len() {
        0..=MAX_DIMENSIONS => Ok(output),
        count => Err(Refusal::unusable(format!("output '{}' has {count} dimensions", output.name))),
    };
    if given::is_spec(spec) && wanted.is_empty() {
        return outputs.into_iter().map(check).collect();
    }
    let pick = |&index: &usize| {
        let name = spec.outputs.get(index).map_or("", |output| &output.name);
        let place = outputs.iter().position(|output| *output.name == *name);
        let place = place.ok_or_else(|| Refusal::unusable(format!("it has no output '{name}'")))?;
        check(outputs.swap_remove(place))
    };
    wanted.iter().map(pick).collect()
}

#[cfg(test)]
mod tests {
    use weirgate_protocol::{Datatype, Dim, Shape, TensorSpec};

    use super::*;

    fn spec() -> ModelSpec {
        let tensor = |name: &str| TensorSpec {
            name: name.into(),
            datatype: Datatype::Int8,
            shape: vec![Dim::Dynamic("".into())],
        };
        let (inputs, outputs) = (vec![tensor("x")], vec![tensor("a"), tensor("b")]);
        ModelSpec { version: None, platform: "test", inputs, outputs, pads: false }
    }

    #[test]
    fn the_best_protocol_is_chosen() {
        let all = Described { v1: true, v2: true, grpc: true, binary: true, ..Described::default() };
        let choose = |described: &Described| Spoken::choose(described, &spec());
        assert_eq!(choose(&all), Some(Spoken::V2 { binary: true }));
        assert_eq!(choose(&Described { binary: false, ..all.clone() }), Some(Spoken::Grpc));
        let json = Described { binary: false, grpc: false, ..all.clone() };
        assert_eq!(choose(&json), Some(Spoken::V2 { binary: false }));
        assert_eq!(choose(&Described { v1: true, ..Described::default() }), Some(Spoken::V1));
        assert_eq!(choose(&Described { openai: Some("/v1"), ..Described::default() }), None);
        assert_eq!(Spoken::choose(&all, &instances::spec()), Some(Spoken::Instances));
        assert_eq!(Spoken::choose(&Described { v1: false, ..all }, &instances::spec()), None);
    }

    #[test]
    fn outputs_are_found_by_name_and_missing_ones_refused() {
        let tensor =
            |name: &str| Tensor::new(name, Datatype::Int8, Shape::from_slice(&[1]), Bytes::from_static(&[1])).unwrap();
        let given = || vec![tensor("extra"), tensor("b"), tensor("a")];
        let names = |outputs: Vec<Tensor>| outputs.iter().map(|output| output.name.to_string()).collect::<Vec<_>>();
        assert_eq!(names(pick(given(), &spec(), &[0, 1]).unwrap()), ["a", "b"]);
        let error = pick(vec![tensor("a")], &spec(), &[0, 1]).unwrap_err().error;
        assert_eq!(error.message(), "the server's answer can't be used: it has no output 'b'");
        assert_eq!(error.row().http, 502);
    }
}
