//! Where a model lies: from a `storageUri` to a path or a URL.

use std::path::PathBuf;

use weirgate_protocol::RemoteUrl;
use weirgate_protocol::remote_url::redacted;

use crate::plan::Location;
use crate::problem::quoted;

const FILE_FORM: &str = "file:///absolute/path";
/// Packed files that nobody here unpacks.
const NOT_UNPACKED: [&str; 10] =
    [".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tar.lz4", ".7z", ".rar", ".onnx.gz", ".onnx.zst"];

/// Why there is no path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Misplaced {
    Wrong(String),
    /// The place may well exist, but nobody here goes there.
    Unsupported(String),
}

/// The place that a `storageUri` names, or what to say of it.
pub(crate) fn location(uri: &str) -> Result<Location, Misplaced> {
    let path = match split_scheme(uri) {
        Some((scheme, rest)) if scheme == "file" => file_path(uri, rest).map_err(Misplaced::Wrong)?,
        Some((scheme, _)) if matches!(scheme.as_str(), "http" | "https") => return remote(uri).map(Location::Url),
        Some((scheme, _)) => {
            return Err(Misplaced::Unsupported(format!(
                "is {}: storage scheme '{scheme}' is not supported yet: write an http or https URL, or copy the model to a \
                 local path and write that, or {FILE_FORM}",
                quoted(&redacted(uri))
            )));
        }
        None if uri.starts_with("file:") => return Err(Misplaced::Wrong(misses_file_form(uri))),
        None => uri.to_owned(),
    };
    if path.is_empty() {
        return Err(Misplaced::Wrong(format!("is empty: write a local path or {FILE_FORM}")));
    }
    if path.contains('\0') {
        let message = format!("is {}: a path can't hold the character 0, remove it", quoted(uri));
        return Err(Misplaced::Wrong(message));
    }
    // Going through the components drops `.` and doubled slashes, and keeps `..`: only the file system knows what
    // that means behind a link.
    Ok(Location::Path(PathBuf::from(path).components().collect()))
}

fn remote(uri: &str) -> Result<RemoteUrl, Misplaced> {
    let shown = || quoted(&redacted(uri));
    let url = RemoteUrl::parse(uri).map_err(|error| Misplaced::Wrong(format!("is {}: it {error}", shown())))?;
    let name = url.file_name().to_ascii_lowercase();
    match NOT_UNPACKED.iter().find(|ending| name.ends_with(**ending)) {
        Some(ending) => Err(Misplaced::Unsupported(format!(
            "is {}: {ending} files can't be unpacked: use .tar, .tar.gz, .tgz or .zip",
            shown()
        ))),
        None => Ok(url),
    }
}

/// Whether it is a path that starts at the manifest's folder.
pub(crate) fn is_relative(uri: &str) -> bool {
    !uri.is_empty()
        && !uri.contains('\0')
        && !uri.starts_with('/')
        && !uri.starts_with("file:")
        && split_scheme(uri).is_none()
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
            ("/etc/./models//digits/", "/etc/models/digits"),
            ("/etc/../digits", "/etc/../digits"),
            ("/with space%20", "/with space%20"),
            ("file:///models/digits", "/models/digits"),
            ("FILE:///models/digits", "/models/digits"),
            ("file:///a%20b/%C3%A9", "/a b/é"),
            ("file:///a%2525", "/a%25"),
        ];
        for (uri, path) in cases {
            assert_eq!(location(uri), Ok(Location::Path(PathBuf::from(path))), "{uri}");
            assert!(!is_relative(uri), "{uri}");
        }
        for uri in ["models/digits.onnx", "./digits/", "../digits", "odd:name"] {
            assert!(is_relative(uri), "{uri}");
        }
        for uri in ["s3://a/b", "file:digits", "file://host/a", ""] {
            assert!(location(uri).is_err() && !is_relative(uri), "{uri}");
        }
    }

    #[test]
    fn urls_are_kept_as_they_are_written() {
        for uri in
            ["http://host/a.onnx", "HTTPS://user:pw@host:81/a/b.tar.gz?sig=%2B&x=1", "https://host/download?id=1"]
        {
            let Ok(Location::Url(url)) = location(uri) else { panic!("{uri}: {:?}", location(uri)) };
            assert_eq!(url.as_written(), uri);
            assert!(!is_relative(uri), "{uri}");
        }
    }

    #[test]
    fn what_is_said_of_a_url_shows_no_secret() {
        for (uri, says) in [
            ("http://user:hush@host/a.tar.xz?hush", ".tar.xz files can't be unpacked"),
            ("s3://user:hush@bucket/a?hush", "'s3' is not supported"),
            ("http://user:hush@ho st/a?hush", "is no URL"),
            ("http://***@host/a", "write the URL in full"),
        ] {
            let (Misplaced::Wrong(text) | Misplaced::Unsupported(text)) = location(uri).unwrap_err();
            assert!(text.contains(says) && !text.contains("hush"), "{text}");
        }
    }
}
