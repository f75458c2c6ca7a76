//! Envelopes of CloudEvents, and the search for the model in an OpenAI body.

use bytes::Bytes;
use weirgate_protocol::openai::{Peeked, peek};
use weirgate_protocol::{cloudevents, openai};

/// An event in structured mode.
pub fn cloud_event(bytes: &[u8]) -> bool {
    let Ok((event, data)) = cloudevents::decode(&Bytes::copy_from_slice(bytes)) else { return false };
    serde_json::from_slice::<serde_json::Value>(bytes).expect("what is accepted is JSON");
    assert!(data.len() <= bytes.len(), "{} bytes of data out of {}", data.len(), bytes.len());
    if serde_json::from_slice::<serde_json::Value>(&data).is_err() {
        return true;
    }
    let answer = cloudevents::encode(&event, "model", "2026-01-01T00:00:00Z", &data);
    serde_json::from_slice::<serde_json::Value>(&answer).expect("our own answer is JSON");
    let (again, same) = cloudevents::decode(&answer).expect("our own answer is read");
    assert_eq!((again.version, &same), (event.version, &data));
    true
}

/// The start of a body whose model is looked for.
pub fn openai_peek(bytes: &[u8]) -> bool {
    let whole = peek(bytes, true);
    assert!(!matches!(whole, Ok(Peeked::More)), "there is no more");
    let step = (bytes.len() / 16).max(1);
    for cut in (0..bytes.len()).step_by(step) {
        // What a part already tells is what the whole tells, unless the rest shows that it is no JSON.
        if let (Ok(Peeked::Model(part)), Ok(openai::Peeked::Model(whole))) = (peek(&bytes[..cut], false), &whole) {
            assert_eq!(&part, whole, "at {cut}");
        }
    }
    whole.is_ok()
}
