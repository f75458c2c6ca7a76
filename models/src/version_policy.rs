//! `version_policy` of Triton's `config.pbtxt`: which version folders are served. Nothing else of that file is read.

use std::path::Path;

use crate::model::LoadError;

/// The most bytes of a `config.pbtxt` that are read.
const LARGEST_CONFIG: u64 = 1 << 20;

/// Which version folders are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionPolicy {
    /// So many of the newest.
    Latest(usize),
    All,
    /// These numbers.
    Specific(Vec<u64>),
}

impl VersionPolicy {
    /// That of the `config.pbtxt` in a model's folder; the newest version where there is none.
    pub fn of(folder: &Path) -> Result<VersionPolicy, LoadError> {
        let path = folder.join("config.pbtxt");
        let refuse = |error: &dyn std::fmt::Display| LoadError(format!("{}: {error}", path.display()));
        match std::fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(VersionPolicy::Latest(1)),
            Err(error) => return Err(refuse(&error)),
            Ok(metadata) if metadata.len() > LARGEST_CONFIG => {
                return Err(refuse(&format!("has {} bytes, the limit is {LARGEST_CONFIG}", metadata.len())));
            }
            Ok(_) => {}
        }
        let text = std::fs::read_to_string(&path).map_err(|error| refuse(&error))?;
        VersionPolicy::parse(&text).map_err(|error| refuse(&error))
    }

    /// Reads the text of a `config.pbtxt`.
    pub fn parse(text: &str) -> Result<VersionPolicy, String> {
        let mut tokens = Tokens::new(text);
        let mut depth = 0_usize;
        while let Some(token) = tokens.next() {
            match token {
                "{" | "[" => depth += 1,
                "}" | "]" => depth = depth.saturating_sub(1),
                "version_policy" if depth == 0 => return policy(&mut tokens),
                _ => {}
            }
        }
        Ok(VersionPolicy::Latest(1))
    }

    /// The numbers to serve of those that there are, in their order. Each asked for must be there.
    pub fn choose(&self, numbers: &[u64]) -> Result<Vec<u64>, String> {
        match self {
            VersionPolicy::All => Ok(numbers.to_vec()),
            VersionPolicy::Latest(count) => Ok(numbers.iter().copied().take(*count).collect()),
            VersionPolicy::Specific(wanted) => {
                if let Some(missing) = wanted.iter().find(|wanted| !numbers.contains(wanted)) {
                    return Err(format!("version_policy asks for version {missing}, which has no folder"));
                }
                Ok(numbers.iter().copied().filter(|number| wanted.contains(number)).collect())
            }
        }
    }
}

fn policy(tokens: &mut Tokens<'_>) -> Result<VersionPolicy, String> {
    tokens.open("version_policy")?;
    let kind = tokens.next().unwrap_or("the end of the file");
    tokens.open(kind)?;
    let mut numbers = Vec::new();
    loop {
        match tokens.next() {
            Some("}") => break,
            Some("num_versions" | "versions" | "[" | "]" | ":" | ",") => {}
            Some(number) => numbers.push(number.parse::<u64>().map_err(|_| {
                format!("version_policy.{kind}: '{number}' is not a version: give whole numbers above 0")
            })?),
            None => return Err("version_policy does not end: a } is missing".to_owned()),
        }
    }
    match (kind, numbers.as_slice()) {
        ("all", []) => Ok(VersionPolicy::All),
        ("latest", []) => Ok(VersionPolicy::Latest(1)),
        ("latest", [count]) if *count > 0 => Ok(VersionPolicy::Latest(usize::try_from(*count).unwrap_or(usize::MAX))),
        ("specific", [_, ..]) => Ok(VersionPolicy::Specific(numbers)),
        _ => Err(format!(
            "version_policy '{kind}' with {numbers:?} is not understood: give all {{}}, latest {{ num_versions: N }} or \
             specific {{ versions: [N] }}"
        )),
    }
}

/// The words and signs of protobuf's text format, without comments.
struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    fn new(text: &'a str) -> Self {
        Tokens { rest: text }
    }

    /// Steps over `{`, with or without a colon before it.
    fn open(&mut self, of: &str) -> Result<(), String> {
        let mut token = self.next();
        if token == Some(":") {
            token = self.next();
        }
        match token {
            Some("{") => Ok(()),
            other => {
                let found = other.unwrap_or("the end of the file");
                Err(format!("expected {{ behind '{of}', found '{found}'"))
            }
        }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        loop {
            self.rest = self.rest.trim_start();
            match self.rest.strip_prefix('#') {
                Some(comment) => self.rest = comment.split_once('\n').map_or("", |(_, rest)| rest),
                None => break,
            }
        }
        let first = self.rest.chars().next()?;
        let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '+');
        let length = match first {
            // What a string says is of no interest, but braces in it are no braces.
            '"' | '\'' => quoted(self.rest, first),
            _ if word(first) => self.rest.find(|c| !word(c)).unwrap_or(self.rest.len()),
            _ => first.len_utf8(),
        };
        let (token, rest) = self.rest.split_at(length);
        self.rest = rest;
        Some(token)
    }
}

/// The length of the quoted text at the start, quotes included.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tritons_ways_of_writing_it() {
        for (text, policy) in [
            ("", VersionPolicy::Latest(1)),
            ("name: \"version_policy { all {} }\"", VersionPolicy::Latest(1)),
            ("version_policy: { all { }}", VersionPolicy::All),
            ("version_policy { latest { num_versions : 3 } }", VersionPolicy::Latest(3)),
            ("version_policy: { latest: {} }", VersionPolicy::Latest(1)),
            ("version_policy: { specific: { versions: [1, 3] }}", VersionPolicy::Specific(vec![1, 3])),
            ("version_policy { specific { versions: 1 versions: 3 } }", VersionPolicy::Specific(vec![1, 3])),
            ("# version_policy { all {} }\nmax_batch_size: 8", VersionPolicy::Latest(1)),
            ("input [ { name: \"a}\" dims: [ -1 ] } ]\nversion_policy: { all {} }", VersionPolicy::All),
            ("parameters { key: \"k\" value { version_policy { all {} } } }", VersionPolicy::Latest(1)),
        ] {
            assert_eq!(VersionPolicy::parse(text), Ok(policy), "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_says_so() {
        for text in [
            "version_policy",
            "version_policy: all",
            "version_policy {",
            "version_policy { all",
            "version_policy { latest { num_versions: 0 } }",
            "version_policy { latest { num_versions: two } }",
            "version_policy { specific { } }",
            "version_policy { newest { } }",
        ] {
            let error = VersionPolicy::parse(text).unwrap_err();
            assert!(error.contains("version_policy") || error.contains("expected {"), "{text}: {error}");
        }
    }

    #[test]
    fn a_version_that_is_asked_for_must_be_there() {
        let numbers = [7, 3, 1];
        assert_eq!(VersionPolicy::Latest(2).choose(&numbers), Ok(vec![7, 3]));
        assert_eq!(VersionPolicy::All.choose(&numbers), Ok(vec![7, 3, 1]));
        assert_eq!(VersionPolicy::Specific(vec![1, 7]).choose(&numbers), Ok(vec![7, 1]));
        assert!(VersionPolicy::Specific(vec![2]).choose(&numbers).unwrap_err().contains("version 2"));
    }
}
