//! A model that doubles its rows, behind every protocol at once.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, Request, Response};
use prost::Message;
use weirgate_protocol::v1::instances;
use weirgate_protocol::{
    Datatype, Dim, InferRequest, InferResponse, ModelSpec, Tensor, TensorSpec, metadata, oip, v1, v2,
};

use crate::server::{Body, answer, grpc, not_found};

pub const LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// Rows of two numbers; the outputs are the rows doubled, and the rows as they came.
pub fn spec() -> Arc<ModelSpec> {
    let tensor = |name: &str| TensorSpec {
        name: name.into(),
        datatype: Datatype::Int32,
        shape: vec![Dim::Dynamic("".into()), Dim::Fixed(2)],
    };
    Arc::new(ModelSpec {
        version: None,
        platform: metadata::PLATFORM,
        inputs: vec![tensor("x")],
        outputs: vec![tensor("double"), tensor("same")],
        pads: false,
    })
}

/// What the server has.
#[derive(Clone, Copy)]
pub struct Speaks {
    pub v1: bool,
    pub v2: bool,
    pub binary: bool,
    pub grpc: bool,
}

pub const NOTHING: Speaks = Speaks { v1: false, v2: false, binary: false, grpc: false };

/// Rows with this number are refused.
pub const REFUSED: i32 = 13;

/// Answers as a server would that speaks this and nothing else.
pub fn serve(speaks: Speaks, request: &Request<Bytes>) -> Response<Body> {
    let body = request.body();
    match request.uri().path() {
        "/v2" if speaks.v2 => {
            let extensions: &[&str] = if speaks.binary { &["binary_tensor_data"] } else { &[] };
            answer(200, v2::server_metadata("doubler", "1", extensions))
        }
        "/v2/models/m/ready" if speaks.v2 => answer(200, v2::model_ready("m", true)),
        "/v2/models/m" if speaks.v2 => answer(200, v2::model_metadata("m", &[] as &[&str], &spec())),
        "/v2/models/m/infer" if speaks.v2 => {
            let length = request.headers().get(LENGTH).map(|length| length.to_str().unwrap());
            assert_eq!(length.is_some(), speaks.binary, "tensors in binary");
            let request = v2::decode_request(body, length).unwrap();
            match run(&request) {
                Ok(response) => {
                    let encoded = v2::encode_response(&response, &request).unwrap();
                    let length = encoded.header_length;
                    let mut response = answer(200, encoded.into_bytes());
                    response.headers_mut().extend(length.map(|length| (LENGTH, length.into())));
                    response
                }
                Err(text) => answer(400, format!(r#"{{"error":"{text}"}}"#)),
            }
        }
        "/v1/models/m" if speaks.v1 => answer(200, r#"{"name":"m","ready":true}"#),
        "/v1/models/m:predict" if speaks.v1 => {
            let (request, form) = v1::decode_request(body, &spec()).unwrap();
            match run(&request) {
                Ok(response) => answer(200, v1::encode_response(&response, form).unwrap()),
                Err(text) => answer(400, format!(r#"{{"error":"{text}"}}"#)),
            }
        }
        "/inference.GRPCInferenceService/ModelReady" if speaks.grpc => {
            grpc(Some(&oip::ModelReadyResponse { ready: true }), "0", "")
        }
        "/inference.GRPCInferenceService/ModelMetadata" if speaks.grpc => {
            grpc(Some(&oip::model_metadata("m", &[] as &[&str], &spec())), "0", "")
        }
        "/inference.GRPCInferenceService/ModelInfer" if speaks.grpc => {
            let message = oip::ModelInferRequest::decode(body.slice(5..)).unwrap();
            let (request, raw) = oip::decode_request(message).unwrap();
            match run(&request) {
                Ok(response) => grpc(Some(&oip::encode_response(response, raw).unwrap()), "0", ""),
                Err(text) => grpc(None::<&oip::ModelInferResponse>, "3", text),
            }
        }
        path if path.starts_with("/inference.") => grpc(None::<&oip::ModelInferResponse>, "12", "not built"),
        _ => not_found(),
    }
}

fn run(request: &InferRequest) -> Result<InferResponse, &'static str> {
    let input = request.inputs.first().ok_or("no input")?;
    let numbers: Vec<i32> = input.data.as_chunks::<4>().0.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect();
    if numbers.contains(&REFUSED) {
        return Err("13 brings bad luck");
    }
    let output = |name: &str, factor: i32| {
        let data: Vec<u8> = numbers.iter().flat_map(|number| (number * factor).to_le_bytes()).collect();
        Tensor::new(name, Datatype::Int32, input.shape.clone(), data.into()).unwrap()
    };
    let asked = |name: &str| request.outputs.is_empty() || request.outputs.iter().any(|output| &*output.name == name);
    let outputs = [output("double", 2), output("same", 1)].into_iter().filter(|output| asked(&output.name)).collect();
    Ok(InferResponse { model_name: "m".into(), outputs, ..InferResponse::default() })
}

/// The same for a server whose model takes any JSON: each row is answered with itself in a list.
pub fn serve_instances(request: &Request<Bytes>) -> Response<Body> {
    match request.uri().path() {
        "/v1/models/m" => answer(200, r#"{"name":"m","ready":true}"#),
        "/v1/models/m:predict" => {
            let asked = instances::decode_request(request.body()).unwrap();
            let body = String::from_utf8(instances::encode_request(&asked).unwrap().to_vec()).unwrap();
            answer(200, body.replace("instances", "predictions"))
        }
        _ => not_found(),
    }
}
