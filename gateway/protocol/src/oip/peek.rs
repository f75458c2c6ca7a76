//! Finds a ModelInferRequest's model in the first bytes of the message, so that a call is routed before it is parsed.

use crate::error::{Error, Result};

/// How far the model's name may lie in a message. Encoders write fields in the order of their numbers, and it is field 1.
pub const LIMIT: usize = 64 << 10;

/// What the first bytes of a message tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peek {
    /// `model_name` and `model_version`.
    Found { model: String, version: String },
    /// More bytes are needed.
    More,
    /// The name is not there.
    Missing,
    /// These are no fields at all, or the last one is cut off.
    Broken,
}

/// Looks at the start of a message; `whole` says that it is all of it.
pub fn peek(mut bytes: &[u8], whole: bool) -> Peek {
    let (mut model, mut version) = (None, None);
    let unfinished = || if whole { Peek::Broken } else { Peek::More };
    loop {
        if bytes.is_empty() && !whole {
            return Peek::More;
        }
        if bytes.is_empty() && model.is_none() {
            return Peek::Missing;
        }
        let key = if bytes.is_empty() { None } else { varint(&mut bytes) };
        // Fields 1 and 2 are past once a later one begins.
        let done = bytes.is_empty() && key.is_none() || key.is_some_and(|key| key >> 3 > 2);
        if done && model.is_some() {
            return Peek::Found { model: model.unwrap_or_default(), version: version.unwrap_or_default() };
        }
        let Some(key) = key else { return unfinished() };
        let (field, wire_type) = (key >> 3, key & 7);
        if field == 0 || !matches!(wire_type, 0 | 1 | 2 | 5) {
            return Peek::Broken;
        }
        let Some(value) = skip(&mut bytes, wire_type) else { return unfinished() };
        if wire_type == 2 && (field == 1 || field == 2) {
            let text = String::from_utf8_lossy(value).into_owned();
            *(if field == 1 { &mut model } else { &mut version }) = Some(text);
        }
    }
}

/// The id of a message, if its first bytes have it: encoders write it before the tensors.
pub fn id(mut bytes: &[u8]) -> Option<String> {
    loop {
        let key = varint(&mut bytes)?;
        let value = skip(&mut bytes, key & 7)?;
        match (key >> 3, key & 7) {
            (3, 2) => return Some(String::from_utf8_lossy(value).into_owned()),
            (0..3, _) => {}
            _ => return None,
        }
    }
}

/// How often `inputs`, `outputs` or `raw_input_contents` may come.
const MAX_ENTRIES: usize = 1_024;

/// Counts the entries of a message before it is decoded: an empty one takes two bytes there, and hundreds in memory.
pub fn check_counts(mut bytes: &[u8]) -> Result<()> {
    let broken = || Error::invalid("the message can't be decoded: a field is cut off");
    let mut counts = [("inputs", 5, 0), ("outputs", 6, 0), ("raw_input_contents", 7, 0)];
    while !bytes.is_empty() {
        let key = varint(&mut bytes).ok_or_else(broken)?;
        skip(&mut bytes, key & 7).ok_or_else(broken)?;
        for (name, field, count) in &mut counts {
            *count += usize::from(*field == key >> 3);
            if *count > MAX_ENTRIES {
                return Err(Error::invalid(format!("{name} has more than {MAX_ENTRIES} entries, which is the limit")));
            }
        }
    }
    Ok(())
}

/// Passes over a value, and returns it where it has bytes of its own.
fn skip<'a>(bytes: &mut &'a [u8], wire_type: u64) -> Option<&'a [u8]> {
    match wire_type {
        0 => varint(bytes).map(|_| &[][..]),
        1 => take(bytes, 8),
        2 => varint(bytes).and_then(|length| take(bytes, usize::try_from(length).ok()?)),
        5 => take(bytes, 4),
        _ => None,
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            *bytes = &bytes[index + 1..];
            return Some(value);
        }
    }
    None
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (value, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(value)
}

#[cfg(test)]
mod tests {
    use crate::oip::ModelInferRequest;
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    fn found(model: &str, version: &str) -> Peek {
        Peek::Found { model: model.to_owned(), version: version.to_owned() }
    }

    #[test]
    fn the_name_is_found_in_the_first_bytes() {
        let request = ModelInferRequest {
            model_name: "digits".into(),
            model_version: "2".into(),
            id: "7".into(),
            ..Default::default()
        };
        let bytes = request.encode_to_vec();
        assert_eq!(peek(&bytes, true), found("digits", "2"));
        assert_eq!(peek(&bytes[..4], false), Peek::More);
        let only_name = ModelInferRequest { model_name: "digits".into(), ..Default::default() }.encode_to_vec();
        assert_eq!(peek(&only_name, false), Peek::More);
        assert_eq!(peek(&only_name, true), found("digits", ""));
        assert_eq!(peek(&[], true), Peek::Missing);
        let only_id = ModelInferRequest { id: "7".into(), ..Default::default() }.encode_to_vec();
        assert_eq!(peek(&only_id, true), Peek::Missing);
    }

    #[test]
    fn what_is_no_message_is_told_from_one_without_a_name() {
        for garbage in [&b"\xff\xff\xff\xff"[..], b"{\"inputs\":[]}", b"\x00\x00\x00", b"\x0a\x7fm"] {
            assert_eq!(peek(garbage, true), Peek::Broken, "{garbage:?}");
        }
    }

    #[test]
    fn the_id_is_found_where_it_has_come() {
        let request = ModelInferRequest { model_name: "digits".into(), id: "call 7".into(), ..Default::default() };
        let bytes = request.encode_to_vec();
        assert_eq!(id(&bytes).as_deref(), Some("call 7"));
        assert_eq!(id(&bytes[..bytes.len() - 1]), None);
        assert_eq!(id(&[]), None);
    }

    #[test]
    fn entries_are_counted_before_they_take_memory() {
        let inputs = |count| [0x2a, 0x00].repeat(count);
        assert!(check_counts(&inputs(MAX_ENTRIES)).is_ok());
        let error = check_counts(&inputs(MAX_ENTRIES + 1)).unwrap_err();
        assert_eq!(error.message(), "inputs has more than 1024 entries, which is the limit");
        assert!(check_counts(&[0x2a, 0x05]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..64), whole in any::<bool>()) {
            let answer = peek(&bytes, whole);
            prop_assert!(!(whole && answer == Peek::More));
        }

        /// However a message is cut, the first answer is the right one.
        #[test]
        fn cuts_only_ask_for_more(model in "[a-z]{1,300}", version in "[0-9]{0,3}", id in "[a-z]{0,9}") {
            let request = ModelInferRequest {
                model_name: model.clone(), model_version: version.clone(), id, ..Default::default()
            };
            let bytes = request.encode_to_vec();
            for cut in 0..bytes.len() {
                let answer = peek(&bytes[..cut], false);
                prop_assert!(answer == Peek::More || answer == found(&model, &version), "{answer:?} at {cut}");
            }
            prop_assert_eq!(peek(&bytes, true), found(&model, &version));
        }
    }
}
