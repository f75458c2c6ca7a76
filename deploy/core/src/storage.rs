//! Where a model lies: from a `storageUri` to a path.

use std::path::{Path, PathBuf};

use crate::problem::quoted;

const FILE_FORM: &str = "file:///absolute/path";

/// The path that a `storageUri` names, or what to say of it. Relative paths start at `base`.
pub(crate) fn location(uri: &str, base: &Path) -> Result<PathBuf, String> {
    let path = match split_scheme(uri) {
        Some((scheme, rest)) if scheme == "file" => file_path(uri, rest)?,
        Some((scheme, _)) => {
            return Err(format!(
                "is {}: storage scheme '{scheme}' is not supported yet: copy the model to a local path and write that, \
                 or {FILE_FORM}",
                quoted(uri)
            ));
        }
        None if uri.starts_with("file:") => return Err(misses_file_form(uri)),
        None => uri.to_owned(),
    };
    if path.is_empty() {
        return Err(format!("is empty: write a local path or {FILE_FORM}"));
    }
    if path.contains('\0') {
        return Err(format!("is {}: a path can't hold the character 0, remove it", quoted(uri)));
    }
    // Going through the components drops `.` and doubled slashes, and keeps `..`: only the file system knows what
    // that means behind a link.
    Ok(base.join(path).components().collect())
}

/// Scheme in lower case and what follows `://`. A path has none.
fn split_scheme(uri: &str) -> Option<(String, &str)> {
    let (scheme, rest) = uri.split_once("://")?;
    let well_formed = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    well_formed.then(|| (scheme.to_ascii_lowercase(), rest))
}

/// The path in what follows `file://`.
fn file_path(uri: &str, rest: &str) -> Result<String, String> {
    if !rest.starts_with('/') {
        return Err(misses_file_form(uri));
    }
    percent_decoded(rest).ok_or_else(|| {
        format!(
            "is {}: each % in a file URI takes two hexadecimal digits that spell UTF-8, write % as %25",
            quoted(uri)
        )
    })
}

fn misses_file_form(uri: &str) -> String {
    format!("is {}: a file URI names no host and no relative path, write {FILE_FORM}", quoted(uri))
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found() {
        let cases = [
            ("/models/digits", "/models/digits"),
            ("models/digits.onnx", "/etc/weirgate/models/digits.onnx"),
            ("./digits/", "/etc/weirgate/digits"),
            ("../digits", "/etc/weirgate/../digits"),
            ("with space%20", "/etc/weirgate/with space%20"),
            ("odd:name", "/etc/weirgate/odd:name"),
            ("file:///models/digits", "/models/digits"),
            ("FILE:///models/digits", "/models/digits"),
            ("file:///a%20b/%C3%A9", "/a b/é"),
            ("file:///a%2525", "/a%25"),
        ];
        for (uri, path) in cases {
            assert_eq!(location(uri, Path::new("/etc/weirgate")), Ok(PathBuf::from(path)), "{uri}");
        }
    }
}
