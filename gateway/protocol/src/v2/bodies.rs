//! The protocol's small bodies: errors, health and metadata.

use bytes::Bytes;
use serde::Serialize;

use crate::error::Error;
use crate::json::write;
use crate::model::{ModelSpec, TensorSpec};

#[derive(Serialize)]
struct ServerMetadata<'a> {
    name: &'a str,
    version: &'a str,
    extensions: &'a [&'a str],
}

#[derive(Serialize)]
struct Live {
    live: bool,
}

#[derive(Serialize)]
struct Ready<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    ready: bool,
}

#[derive(Serialize)]
struct ModelMetadata<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    versions: Vec<&'a str>,
    platform: &'a str,
    inputs: Vec<TensorMetadata<'a>>,
    outputs: Vec<TensorMetadata<'a>>,
}

#[derive(Serialize)]
struct TensorMetadata<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: Vec<i64>,
}

impl<'a> TensorMetadata<'a> {
    fn all(specs: &'a [TensorSpec]) -> Vec<Self> {
        let metadata = |spec: &'a TensorSpec| TensorMetadata {
            name: &spec.name,
            datatype: spec.datatype.name(),
            shape: spec.shape.iter().map(|dim| dim.v2()).collect(),
        };
        specs.iter().map(metadata).collect()
    }
}

/// `{"error": …}`, the body of every V2 refusal.
pub fn error_body(error: &Error) -> Bytes {
    let mut body = br#"{"error":"#.to_vec();
    write::string(&mut body, error.message());
    body.push(b'}');
    body.into()
}

/// `GET /v2`.
pub fn server_metadata(name: &str, version: &str, extensions: &[&str]) -> Bytes {
    body(&ServerMetadata { name, version, extensions })
}

/// `GET /v2/health/live`.
pub fn live(live: bool) -> Bytes {
    body(&Live { live })
}

/// `GET /v2/health/ready`.
pub fn ready(ready: bool) -> Bytes {
    body(&Ready { name: None, ready })
}

/// `GET /v2/models/{name}/ready`.
pub fn model_ready(name: &str, ready: bool) -> Bytes {
    body(&Ready { name: Some(name), ready })
}

/// `GET /v2/models/{name}`.
pub fn model_metadata(name: &str, versions: &[impl AsRef<str>], spec: &ModelSpec) -> Bytes {
    body(&ModelMetadata {
        name,
        versions: versions.iter().map(AsRef::as_ref).collect(),
        platform: spec.platform,
        inputs: TensorMetadata::all(&spec.inputs),
        outputs: TensorMetadata::all(&spec.outputs),
    })
}

fn body(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("strings, numbers and bools can be serialised").into()
}
