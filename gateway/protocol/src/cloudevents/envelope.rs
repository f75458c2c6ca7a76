//! Structured mode: attributes and data in one JSON object.

use std::ops::Range;

use bytes::Bytes;

use super::{Event, REQUIRED, RESPONSE_TYPE, source};
use crate::error::{Error, Result};
use crate::json::{Cursor, Parsed, base64, owned_string, set, unless_null, write};

#[derive(Default)]
struct Fields {
    required: [Option<Option<String>>; 4],
    data: Option<Range<usize>>,
    data_base64: Option<Bytes>,
    /// How version 0.3 says that `data` is base64.
    encoding: Option<Option<String>>,
}

/// Reads an envelope: the event, and its data, which is a slice of the body unless it is a string or base64. A string
/// holds the text of the data.
pub fn decode(body: &Bytes) -> Result<(Event, Bytes)> {
    let mut cursor = Cursor::new(body);
    let fields = read_fields(&mut cursor)?;
    let [version, id, source, kind] = &fields.required;
    let event = Event::new([version, id, source, kind].map(|value| value.as_ref()?.as_deref()))?;
    let data = match (fields.data, fields.data_base64) {
        (Some(_), Some(_)) => Err(Error::invalid("the cloud event has both data and data_base64: give one of them")),
        (None, None) => Err(Error::invalid("the cloud event has no data: give the V1 request as data")),
        (None, Some(bytes)) => Ok(bytes),
        (Some(range), None) => {
            let encoded = fields.encoding.flatten().is_some_and(|encoding| encoding == "base64");
            Ok(read_data(body, &cursor, range, encoded).map_err(|fault| fault.in_field("data"))?)
        }
    };
    Ok((event, data?))
}

fn read_fields(cursor: &mut Cursor<'_>) -> Parsed<Fields> {
    let mut fields = Fields::default();
    cursor.object(|cursor, key| {
        let at = cursor.at();
        if let Some(index) = REQUIRED.iter().position(|name| *name == key) {
            return set(&mut fields.required[index], at, unless_null(cursor, owned_string)?);
        }
        match key {
            "data" if cursor.literal("null") => Ok(()),
            "data" => set(&mut fields.data, at, cursor.skip()?),
            "data_base64" => match unless_null(cursor, from_base64)? {
                Some(bytes) => set(&mut fields.data_base64, at, bytes),
                None => Ok(()),
            },
            "datacontentencoding" => set(&mut fields.encoding, at, unless_null(cursor, owned_string)?),
            _ => cursor.skip().map(drop),
        }
    })?;
    cursor.end()?;
    Ok(fields)
}

fn read_data(body: &Bytes, cursor: &Cursor<'_>, range: Range<usize>, encoded: bool) -> Parsed<Bytes> {
    let mut value = cursor.revisit(&range);
    if value.peek() != Some(b'"') {
        return Ok(body.slice(range));
    }
    if encoded {
        return from_base64(&mut value);
    }
    Ok(owned_string(&mut value)?.into())
}

fn from_base64(cursor: &mut Cursor<'_>) -> Parsed<Bytes> {
    let at = cursor.at();
    let mut bytes = Vec::new();
    base64::decode(at, &cursor.string()?, &mut bytes)?;
    Ok(bytes.into())
}

/// Writes the envelope of an answer, around data that is JSON. `time` is RFC 3339's.
pub fn encode(event: &Event, model: &str, time: &str, data: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(data.len() + 256);
    let attributes = [
        ("specversion", event.version),
        ("id", &event.id),
        ("source", &source(model)),
        ("type", RESPONSE_TYPE),
        ("time", time),
        ("datacontenttype", "application/json"),
    ];
    for (index, (name, value)) in attributes.into_iter().enumerate() {
        out.push(if index == 0 { b'{' } else { b',' });
        write::string(&mut out, name);
        out.push(b':');
        write::string(&mut out, value);
    }
    out.extend_from_slice(br#","data":"#);
    out.extend_from_slice(data);
    out.push(b'}');
    out.into()
}
