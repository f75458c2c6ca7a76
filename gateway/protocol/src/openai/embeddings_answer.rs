//! Answers of `POST /v1/embeddings`.

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::json::{base64, write};

use super::request::Encoding;

/// The vectors in the order of the inputs. The error is the engine's: a vector has what is no finite number, which neither
/// JSON can carry nor anybody use.
pub fn embeddings(
    model: &str,
    vectors: &[impl AsRef<[f32]>],
    encoding: Encoding,
    prompt_tokens: usize,
) -> Result<Bytes> {
    let numbers: usize = vectors.iter().map(|vector| vector.as_ref().len()).sum();
    let each = match encoding {
        Encoding::Float => 14,
        Encoding::Base64 => 6,
    };
    let mut out = Vec::with_capacity(128 + model.len() + numbers * each + vectors.len() * 64);
    out.extend_from_slice(br#"{"object":"list","data":["#);
    for (index, vector) in vectors.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(br#"{"object":"embedding","index":"#);
        write::integer(&mut out, index);
        out.extend_from_slice(br#","embedding":"#);
        write_vector(&mut out, vector.as_ref(), encoding)
            .map_err(|at| Error::engine(format!("number {at} of the embedding of input {index} is NaN or infinite")))?;
        out.push(b'}');
    }
    out.extend_from_slice(br#"],"model":"#);
    write::string(&mut out, model);
    out.extend_from_slice(br#","usage":{"prompt_tokens":"#);
    write::integer(&mut out, prompt_tokens);
    out.extend_from_slice(br#","total_tokens":"#);
    write::integer(&mut out, prompt_tokens);
    out.extend_from_slice(b"}}");
    Ok(out.into())
}

/// The error is the place of what is no finite number.
fn write_vector(out: &mut Vec<u8>, vector: &[f32], encoding: Encoding) -> Result<(), usize> {
    if let Some(at) = vector.iter().position(|number| !number.is_finite()) {
        return Err(at);
    }
    match encoding {
        Encoding::Float => {
            out.push(b'[');
            for (at, number) in vector.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write::float(out, *number);
            }
            out.push(b']');
        }
        Encoding::Base64 => {
            let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
            base64::encode(&bytes, out);
        }
    }
    Ok(())
}
