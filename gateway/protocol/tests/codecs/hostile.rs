//! Bodies that nobody means well with: whatever comes, the answer is a request or a refusal.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use prost::Message as _;
use weirgate_protocol::{ErrorCode, Result, oip, v2};

use crate::support::{Elements, TOKENS, request};

/// One change to a body.
#[derive(Clone, Debug)]
pub enum Change {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Truncate(Index),
    Repeat(Index, usize),
}

pub fn change() -> impl Strategy<Value = Change> {
    let token = proptest::sample::select(&TOKENS[..]).prop_map(|token| token.as_bytes().to_vec());
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (any::<Index>(), vec(any::<u8>(), 1..4)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (any::<Index>(), token).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (any::<Index>(), 1usize..9).prop_map(|(at, length)| Change::Remove(at, length)),
        any::<Index>().prop_map(Change::Truncate),
        (any::<Index>(), 1usize..30).prop_map(|(at, length)| Change::Repeat(at, length)),
    ]
}

pub fn apply(body: &mut Vec<u8>, change: Change) {
    let end = |at: usize, length: usize, body: &[u8]| (at + length).min(body.len());
    match change {
        _ if body.is_empty() => {}
        Change::Set(at, byte) => *at.get_mut(body) = byte,
        Change::Insert(at, bytes) => {
            let at = at.index(body.len());
            body.splice(at..at, bytes);
        }
        Change::Remove(at, length) => {
            let at = at.index(body.len());
            body.drain(at..end(at, length, body));
        }
        Change::Truncate(at) => body.truncate(at.index(body.len())),
        Change::Repeat(at, length) => {
            let at = at.index(body.len());
            body.extend_from_within(at..end(at, length, body));
        }
    }
}

/// A refusal must be the caller's error; and what is read must be JSON for everybody else, too.
fn check<T>(body: &[u8], header: Option<&str>, read: Result<T>) -> std::result::Result<(), TestCaseError> {
    match read {
        Err(error) => {
            prop_assert_eq!(error.code(), ErrorCode::InvalidRequest);
            prop_assert!(error.message().len() < 2000);
        }
        Ok(_) if header.is_none() => {
            if let Err(error) = serde_json::from_slice::<serde_json::Value>(body) {
                prop_assert!(error.to_string().contains("number out of range"), "{}", error);
            }
        }
        Ok(_) => {}
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes(body in vec(any::<u8>(), 0..200), header in proptest::option::of("[0-9]{0,3}|.*")) {
        let body = Bytes::from(body);
        check(&body, header.as_deref(), v2::decode_request(&body, header.as_deref()))?;
    }

    #[test]
    fn any_tokens(tokens in vec(proptest::sample::select(&TOKENS[..]), 0..40), inside in any::<bool>()) {
        let mut body = tokens.concat();
        if inside {
            body = format!(r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1],"data":[{body}]}}]}}"#);
        }
        let body = Bytes::from(body);
        check(&body, None, v2::decode_request(&body, None))?;
    }

    #[test]
    fn changed_requests(
        request in request(Elements::Json),
        binary in any::<bool>(),
        changes in vec(change(), 1..4),
        shift in -2i64..3,
    ) {
        let encoded = v2::encode_request(&request, binary).unwrap();
        let header = encoded.header_length.map(|length| (length as i64 + shift).to_string());
        let mut body = encoded.into_bytes().to_vec();
        changes.into_iter().for_each(|change| apply(&mut body, change));
        let body = Bytes::from(body);
        check(&body, header.as_deref(), v2::decode_request(&body, header.as_deref()))?;
        if let Err(error) = v2::decode_response(&body, header.as_deref()) {
            prop_assert_eq!(error.code(), ErrorCode::EngineFailed);
        }
    }

    #[test]
    fn changed_messages(request in request(Elements::Any), raw in any::<bool>(), changes in vec(change(), 1..4)) {
        let mut wire = oip::encode_request("m", None, request, raw).unwrap().encode_to_vec();
        changes.into_iter().for_each(|change| apply(&mut wire, change));
        let Ok(message) = oip::ModelInferRequest::decode(Bytes::from(wire)) else { return Ok(()) };
        if let Err(error) = oip::decode_request(message) {
            prop_assert_eq!(error.code(), ErrorCode::InvalidRequest);
        }
    }
}
