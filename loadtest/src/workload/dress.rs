//! What the user puts on every request: headers, a key, and another path.

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, header};

use crate::cli::PayloadOptions;
use crate::request::Request;

/// Headers and path that replace a request's own.
#[derive(Clone, Debug, Default)]
pub struct Dress {
    path: Option<String>,
    headers: HeaderMap,
}

impl Dress {
    /// What is wrong with the flags, whatever the key's file holds.
    pub fn check(payload: &PayloadOptions) -> Result<(), String> {
        if let Some(path) = &payload.path {
            let is_path = path.starts_with('/') && path.parse::<PathAndQuery>().is_ok();
            if !is_path {
                return Err(format!("--path '{path}' is not a path: begin it with / and write it as it is sent"));
            }
        }
        let has_key = payload.headers.iter().any(|(name, _)| name == header::AUTHORIZATION);
        if has_key && payload.api_key_file.is_some() {
            return Err("--api-key-file and -H authorization are both given: give one".to_owned());
        }
        Ok(())
    }

    /// Reads the key's file, if there is one.
    pub fn of(payload: &PayloadOptions) -> Result<Dress, String> {
        Dress::check(payload)?;
        let mut headers = HeaderMap::new();
        for (name, value) in &payload.headers {
            headers.append(name, value.clone());
        }
        if let Some(file) = &payload.api_key_file {
            let wrong = |why: &dyn std::fmt::Display| format!("--api-key-file {}: {why}", file.display());
            let key = std::fs::read_to_string(file).map_err(|error| wrong(&error))?;
            let mut value = HeaderValue::from_str(&format!("Bearer {}", key.trim()))
                .map_err(|_| wrong(&"holds more than a key on one line"))?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        Ok(Dress { path: payload.path.clone(), headers })
    }

    pub fn has_path(&self) -> bool {
        self.path.is_some()
    }

    /// Puts headers and path on a request of the load, whose answer is looked at where the path is its own.
    pub fn on(&self, request: Request) -> Request {
        let request = self.headers_on(request);
        match &self.path {
            // What answers there is the user's affair.
            Some(path) => Request { path: path.clone(), is_checked: false, ..request },
            None => Request { is_checked: true, ..request },
        }
    }

    /// Puts the headers alone on a question about the server.
    pub fn headers_on(&self, mut request: Request) -> Request {
        for name in self.headers.keys() {
            request.headers.remove(name);
            for value in self.headers.get_all(name) {
                request.headers.append(name, value.clone());
            }
        }
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Protocol;
    use crate::workload::fixtures::payload;

    #[test]
    fn headers_and_path_replace_the_requests_own() {
        let flags = ["--path", "/x?y=1", "-H", "content-type: text/plain", "-H", "a: 1", "-H", "a: 2"];
        let dress = Dress::of(&payload(&flags)).unwrap();
        let request = dress.on(Request::new(Protocol::V2, "/v2/models/m/infer", "{}"));
        assert_eq!((request.path.as_str(), request.is_checked), ("/x?y=1", false));
        assert!(Dress::default().on(request.clone()).is_checked);
        assert_eq!(request.headers.get_all("content-type").iter().collect::<Vec<_>>(), ["text/plain"]);
        assert_eq!(request.headers.get_all("a").iter().count(), 2);
        assert_eq!(dress.headers_on(Request::get(Protocol::V2, "/v2")).path, "/v2");
    }

    #[test]
    fn a_key_is_read_from_its_file_and_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, "sesame\n").unwrap();
        let flags = ["--api-key-file", file.to_str().unwrap()];
        let request = Dress::of(&payload(&flags)).unwrap().on(Request::get(Protocol::Chat, "/"));
        assert_eq!(request.headers["authorization"], "Bearer sesame");
        assert!(!format!("{request:?}").contains("sesame"));
        let both = [&flags[..], &["-H", "authorization: x"]].concat();
        assert!(Dress::of(&payload(&both)).unwrap_err().contains("give one"));
        std::fs::write(&file, "two\nlines").unwrap();
        assert!(Dress::of(&payload(&flags)).unwrap_err().contains("on one line"));
    }

    #[test]
    fn a_path_begins_with_a_slash() {
        for path in ["infer", "/a b"] {
            assert!(Dress::of(&payload(&["--path", path])).unwrap_err().contains("is not a path"), "{path}");
        }
    }
}
