//! gRPC messages: the peek that routes them, and their tensors.

use bytes::Bytes;
use prost::Message;
use weirgate_protocol::oip::peek::{Peek, check_counts, peek};
use weirgate_protocol::oip::{self, ModelInferRequest};

use super::{assert_bounded, assert_same};

/// A `ModelInferRequest`, without its frame.
pub fn grpc(bytes: &[u8]) -> bool {
    let whole = peek(bytes, true);
    assert_ne!(whole, Peek::More, "there is no more");
    peeks_agree(bytes, &whole);
    let counted = check_counts(bytes);
    let Ok(message) = ModelInferRequest::decode(Bytes::copy_from_slice(bytes)) else { return false };
    if counted.is_err() {
        return false;
    }
    let Ok((request, raw)) = oip::decode_request(message.clone()) else { return false };
    assert_bounded(&request, bytes.len());
    let (model, version) = (&*message.model_name, Some(&*message.model_version));
    let encoded = oip::encode_request(model, version, request.clone(), raw).expect("what was decoded is encoded");
    let (again, _) = oip::decode_request(encoded).expect("our own request is read");
    assert_same(&request, &again);
    true
}

/// A part of the message either asks for more, or says what the whole says.
fn peeks_agree(bytes: &[u8], whole: &Peek) {
    let step = (bytes.len() / 16).max(1);
    for cut in (0..bytes.len()).step_by(step) {
        let part = peek(&bytes[..cut], false);
        assert!(part == Peek::More || part == *whole, "{part:?} at {cut}, and {whole:?} at the end");
    }
}
