//! Which URLs models may come from.

use std::fmt;
use std::str::FromStr;

use url::{Origin, Url};

/// What `--model-url` takes: the beginning of URLs that are allowed, or `none`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlPrefix(Option<Prefix>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Prefix {
    origin: Origin,
    path: String,
}

impl UrlPrefix {
    /// Scheme, host and port are compared as a whole, the path by its parts, so that no longer name is taken for it.
    pub fn allows(&self, url: &Url) -> bool {
        let Some(Prefix { origin, path }) = &self.0 else { return false };
        let rest = url.path().strip_prefix(path.as_str());
        // `..` has been resolved by the parser. Not so behind an encoded slash, which some servers decode.
        let hidden = |path: &str| ["%2f", "%5c"].iter().any(|slash| path.to_ascii_lowercase().contains(slash));
        url.origin() == *origin
            && rest
                .is_some_and(|rest| (path.ends_with('/') || rest.is_empty() || rest.starts_with('/')) && !hidden(rest))
    }
}

impl FromStr for UrlPrefix {
    type Err = String;

    fn from_str(text: &str) -> Result<UrlPrefix, String> {
        if text == "none" {
            return Ok(UrlPrefix(None));
        }
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let plain = |url: &Url| {
            url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none()
        };
        let url = url.filter(plain).ok_or(
            "is not the beginning of a URL: give http:// or https://, a host and maybe a path, or none for no URL at all",
        )?;
        Ok(UrlPrefix(Some(Prefix { origin: url.origin(), path: url.path().to_owned() })))
    }
}

impl fmt::Display for UrlPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(Prefix { origin, path }) => write!(f, "{}{path}", origin.ascii_serialization()),
            None => f.write_str("none"),
        }
    }
}

/// Refuses a URL that no prefix allows. No prefixes: every URL is allowed.
pub(super) fn check(url: &Url, allowed: &[UrlPrefix]) -> Result<(), String> {
    if allowed.is_empty() || allowed.iter().any(|prefix| prefix.allows(url)) {
        return Ok(());
    }
    let allowed: Vec<_> = allowed.iter().map(UrlPrefix::to_string).collect();
    Err(format!("only these may be fetched: {} (flag --model-url)", allowed.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_not_fooled() {
        let prefix: UrlPrefix = "https://good.example/models".parse().unwrap();
        let allows = |url: &str| prefix.allows(&Url::parse(url).unwrap());
        for url in [
            "https://good.example/models",
            "https://good.example:443/models/a.onnx?sig=1",
            "https://GOOD.example/x/../models/a",
            "https://user:pw@good.example/models/a",
        ] {
            assert!(allows(url), "{url}");
        }
        for url in [
            "https://good.example.evil.com/models/a",
            "https://good.example@evil.com/models/a",
            "http://good.example/models/a",
            "https://good.example:444/models/a",
            "https://good.example/models-of-others/a",
            "https://good.example/models/../secret",
            "https://good.example/models/%2e%2e/secret",
            "https://good.example/models/..%2fsecret",
            "https://good.example/models/..%5Csecret",
            "https://good.example/models\\..\\secret",
        ] {
            assert!(!allows(url), "{url}");
        }
    }

    #[test]
    fn prefixes_are_read() {
        for (text, shown) in [("https://a", "https://a/"), ("http://a:81/b/", "http://a:81/b/"), ("none", "none")] {
            assert_eq!(text.parse::<UrlPrefix>().unwrap().to_string(), shown);
        }
        for text in ["", "a", "s3://a/b", "https://u:p@a/", "https://a/?b", "https://a/#b"] {
            assert!(text.parse::<UrlPrefix>().is_err(), "{text}");
        }
        let url = Url::parse("https://a/b").unwrap();
        assert!(check(&url, &[]).is_ok());
        let error = check(&url, &["none".parse().unwrap()]).unwrap_err();
        assert!(error.contains("none") && error.contains("--model-url"), "{error}");
    }
}
