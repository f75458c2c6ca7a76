//! The URL of a model elsewhere. Its secrets are sent to its host and shown to nobody.

use std::fmt;

use url::Url;

/// Stands for a secret wherever a URL is shown.
pub const HIDDEN: &str = "***";

/// An `http` or `https` URL. User, password and query may be secrets, and are left out of what it is shown as.
#[derive(Clone, PartialEq, Eq)]
pub struct RemoteUrl {
    written: String,
    url: Url,
}

impl RemoteUrl {
    /// An error says what is wrong, and reads on from the text: `names no host`.
    pub fn parse(text: &str) -> Result<RemoteUrl, String> {
        let url = Url::parse(text).map_err(|error| format!("is no URL: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("does not begin with http:// or https://".to_owned());
        }
        if url.username() == HIDDEN || url.query() == Some(HIDDEN) {
            return Err(format!("holds {HIDDEN} in the place of a secret: write the URL in full"));
        }
        Ok(RemoteUrl { written: text.to_owned(), url })
    }

    /// With its secrets: to be sent, hashed and stored, and not to be shown.
    pub fn as_written(&self) -> &str {
        &self.written
    }

    /// With its secrets, normalised.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The last part of its path, as it is written there; empty where there is none.
    pub fn file_name(&self) -> &str {
        self.url.path().rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted(&self.written))
    }
}

impl fmt::Debug for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A URI less what may be secret in it, whether or not it is well formed. Text without `://` stays as it is.
pub fn redacted(uri: &str) -> String {
    let Some((scheme, rest)) = uri.split_once("://") else { return uri.to_owned() };
    match Url::parse(uri) {
        Ok(mut url) => {
            let user = !url.username().is_empty() || url.password().is_some();
            if !user && url.query().is_none() && url.fragment().is_none() {
                return uri.to_owned();
            }
            // Both fail for URLs that can't have a user; those have none either.
            let _ = url.set_username(if user { HIDDEN } else { "" });
            let _ = url.set_password(None);
            let query = url.query().is_some().then_some(HIDDEN);
            url.set_query(query);
            url.set_fragment(None);
            url.into()
        }
        // Where the user ends is anybody's guess: rather too little is shown.
        Err(_) => match rest.rsplit_once('@') {
            Some(_) => format!("{scheme}://{HIDDEN}"),
            None => format!("{scheme}://{}", rest.split(['?', '#']).next().unwrap_or_default()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let cases = [
            ("https://u:p@host/a/m.onnx?sig=s#part", "https://***@host/a/m.onnx?***"),
            ("http://host:81/m.onnx", "http://host:81/m.onnx"),
            ("https://u:a/b@host/m", "https://***"),
            ("https://u:a?b@host/m", "https://***"),
            ("https://ho st/m?sig=s", "https://ho st/m"),
            ("https://host/m?mail=a@b", "https://host/m?***"),
            ("s3://key:secret@bucket/m", "s3://***@bucket/m"),
            ("S3://bucket", "S3://bucket"),
            ("/models/a?b", "/models/a?b"),
        ];
        for (uri, shown) in cases {
            assert_eq!(redacted(uri), shown, "{uri}");
        }
        let url = RemoteUrl::parse("https://u:p@host/a/m.onnx?sig=s").unwrap();
        assert_eq!(format!("{url} {url:?}"), "https://***@host/a/m.onnx?*** https://***@host/a/m.onnx?***");
        assert_eq!((url.file_name(), url.as_written()), ("m.onnx", "https://u:p@host/a/m.onnx?sig=s"));
    }

    #[test]
    fn what_is_no_url_of_a_model_says_why() {
        for (text, why) in [
            ("ftp://host/m", "http://"),
            ("http://", "host"),
            ("http://ho st/m", "URL"),
            ("https://***@host/m", "in full"),
            ("https://host/m?***", "in full"),
        ] {
            let error = RemoteUrl::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
