//! Bytes that JSON has no form for, as base64.

use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{DecodeError, Engine};

use super::cursor::Parsed;
use super::fault::Fault;

/// Padding is written, and not asked for.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Appends what `text`, which lies at `at`, stands for.
pub(crate) fn decode(at: usize, text: &str, out: &mut Vec<u8>) -> Parsed<()> {
    ENGINE.decode_vec(text, out).map_err(|error| Fault::new(at, format!("is not base64: {}", problem(&error, text))))
}

fn problem(error: &DecodeError, text: &str) -> String {
    match *error {
        DecodeError::InvalidByte(index, _) => {
            let found = text.get(index..).and_then(|rest| rest.chars().next()).unwrap_or_default();
            format!("'{}' at character {index} is none of its digits", found.escape_debug())
        }
        DecodeError::InvalidLength(length) => format!("{length} digits stand for no whole bytes"),
        DecodeError::InvalidLastSymbol(index, _) => format!("its last digit, at character {index}, has bits too many"),
        DecodeError::InvalidPadding => "its padding is wrong".to_owned(),
    }
}

/// Appends `bytes` as a string with its quotes.
pub(crate) fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(ENGINE.encode(bytes).as_bytes());
    out.push(b'"');
}
