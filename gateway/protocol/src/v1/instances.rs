//! V1 for a model that nobody knows: its rows are JSON, and stay as they were written.
//!
//! A V1 server does not say what its model takes. Its calls can share a run all the same: `instances` of several are put one
//! behind the other, and `predictions` are cut where they were joined. A row is an element of a `BYTES` tensor, so that
//! everything which joins and splits tensors does it for rows of JSON too.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;

use crate::error::{Error, Result, RetryClass};
use crate::infer::{InferRequest, InferResponse};
use crate::json::{Cursor, Fault, Parsed};
use crate::model::{Dim, ModelSpec, TensorSpec};
use crate::tensor::{BytesElements, Datatype, Shape, Tensor, push_bytes_element};

const INSTANCES: &str = "instances";
const PREDICTIONS: &str = "predictions";

static SPEC: LazyLock<Arc<ModelSpec>> = LazyLock::new(|| {
    let rows =
        |name: &str| TensorSpec { name: name.into(), datatype: Datatype::Bytes, shape: vec![Dim::Dynamic("".into())] };
    Arc::new(ModelSpec {
        version: None,
        platform: "v1_instances",
        inputs: vec![rows(INSTANCES)],
        outputs: vec![rows(PREDICTIONS)],
        pads: false,
    })
});

/// What such a model takes and gives: rows of JSON, that calls can share.
pub fn spec() -> Arc<ModelSpec> {
    SPEC.clone()
}

/// Whether a specification is this one.
pub fn is_spec(spec: &ModelSpec) -> bool {
    std::ptr::eq(spec, &**SPEC) || *spec == **SPEC
}

/// Reads a request of rows and nothing besides. `None` where it is anything else: other fields would be lost in a batch, and
/// what is wrong with a body is for its server to say. Such a request is to be passed on as it is.
pub fn decode_request(body: &[u8]) -> Option<InferRequest> {
    let mut cursor = Cursor::new(body);
    let mut rows = None;
    let read = cursor.object(|cursor, key| match key {
        INSTANCES if rows.is_none() => {
            rows = Some(read_rows(cursor, body, INSTANCES)?);
            Ok(())
        }
        _ => Err(Fault::new(cursor.at(), "is not for a batch")),
    });
    read.and_then(|()| cursor.end()).ok()?;
    let rows = rows.filter(|rows| rows.shape[0] > 0)?;
    Some(InferRequest { inputs: vec![rows], ..InferRequest::default() })
}

/// Writes the rows of a request.
pub fn encode_request(request: &InferRequest) -> Result<Bytes> {
    encode(INSTANCES, &request.inputs)
}

/// Reads the rows of another server's answer. What is wrong with it is that server's fault.
pub fn decode_response(body: &[u8]) -> Result<Tensor> {
    let mut cursor = Cursor::new(body);
    let mut rows = None;
    let mut read = || {
        cursor.object(|cursor, key| match key {
            PREDICTIONS => {
                rows = Some(read_rows(cursor, body, PREDICTIONS)?);
                Ok(())
            }
            _ => cursor.skip().map(drop),
        })?;
        cursor.end()
    };
    let unusable = |text: &str| {
        let text = format!("the server's answer can't be shared among the calls of a batch: {text}");
        Error::upstream(text, RetryClass::MayHaveExecuted)
    };
    read().map_err(|fault| unusable(Error::from(fault).message()))?;
    rows.ok_or_else(|| unusable("it has no predictions"))
}

/// Writes an answer of rows.
pub fn encode_response(response: &InferResponse) -> Result<Bytes> {
    encode(PREDICTIONS, &response.outputs)
}

/// A list of any values, each kept as it is written.
fn read_rows(cursor: &mut Cursor<'_>, body: &[u8], name: &str) -> Parsed<Tensor> {
    let mut data = Vec::new();
    let mut count = 0;
    cursor.array(|cursor, index| {
        count = index + 1;
        let at = cursor.at();
        let row = cursor.skip()?;
        push_bytes_element(&mut data, &body[row]).map_err(|error| Fault::new(at, error.message().to_owned()))
    })?;
    Ok(Tensor { name: name.into(), datatype: Datatype::Bytes, shape: Shape::from_slice(&[count]), data: data.into() })
}

fn encode(key: &str, tensors: &[Tensor]) -> Result<Bytes> {
    let data = tensors.first().map(|rows| &rows.data[..]).unwrap_or_default();
    let mut out = Vec::with_capacity(data.len() + key.len() + 8);
    out.extend_from_slice(b"{\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":[");
    for (index, row) in BytesElements::new(data).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(row?);
    }
    out.extend_from_slice(b"]}");
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{Payload, Signature};

    #[test]
    fn rows_stay_as_they_were_written() {
        let body = br#"{"instances": [ 1.50, {"a": [1, 2]} ,"x,]", null]}"#;
        let request = decode_request(body).unwrap();
        assert_eq!(encode_request(&request).unwrap(), &br#"{"instances":[1.50,{"a": [1, 2]},"x,]",null]}"#[..]);
        let rows = decode_response(br#"{"model":"m","predictions":[[1], 2 ]}"#).unwrap();
        assert_eq!(&rows.shape[..], [2]);
        let response = InferResponse { outputs: vec![rows], ..InferResponse::default() };
        assert_eq!(encode_response(&response).unwrap(), &br#"{"predictions":[[1],2]}"#[..]);
    }

    #[test]
    fn what_is_more_or_less_than_rows_is_for_no_batch() {
        for body in [
            "",
            "[]",
            "{}",
            r#"{"instances":[]}"#,
            r#"{"instances":{"x":1}}"#,
            r#"{"instances":[1],"signature_name":"a"}"#,
            r#"{"instances":[1],"instances":[2]}"#,
            r#"{"instances":[1]} {}"#,
            r#"{"instances":[1,]}"#,
            r#"{"instances":[1],"#,
            r#"{"inputs":[1]}"#,
        ] {
            assert_eq!(decode_request(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn answers_without_rows_are_the_servers_fault() {
        for body in ["<html>", "{}", r#"{"predictions":{"a":1}}"#, r#"{"predictions":[1"#, r#"{"error":"no"}"#] {
            let error = decode_response(body.as_bytes()).unwrap_err();
            assert_eq!(error.row().http, 502, "{body}");
        }
    }

    #[test]
    fn calls_of_any_rows_share_a_run() {
        let mut request = decode_request(br#"{"instances":[1,"b",{}]}"#).unwrap();
        let (work, Payload::Infer { spec, .. }) = spec().bind(&mut request, false).unwrap();
        assert!(is_spec(&spec));
        assert_eq!((work.rows, work.signature), (3, Some(Signature::default())));
    }
}
