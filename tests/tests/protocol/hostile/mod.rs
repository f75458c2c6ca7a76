//! Every wrong request that we could think of: answered 4xx in a text that says what is wrong, and harmless to others.
//!
//! One row per case. Each is sent on a connection of its own, and followed by a right call on the same one where HTTP
//! allows that, else on a new one.

mod binary;
mod framing;
mod headers;
mod json;

use weirgate_tests::process::resident_bytes;
use weirgate_tests::{Http1, Raw, Server, Service, row};

const RIGHT: &str = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[1.5]}]}"#;
const GROWTH: usize = 128 << 20;

/// One wrong request.
struct Case {
    name: String,
    path: &'static str,
    /// Lines of the head besides `host`.
    lines: String,
    body: Vec<u8>,
    status: u16,
    /// What the error must say; nothing where hyper refuses the request itself, which it does without a body.
    words: &'static [&'static str],
    /// Nobody knows where the next request begins, so the connection ends.
    ends: bool,
}

/// A call of the identity model.
fn case(name: impl Into<String>, body: impl Into<Vec<u8>>, status: u16, words: &'static [&'static str]) -> Case {
    let case = Case {
        name: name.into(),
        path: "/v2/models/identity/infer",
        lines: String::new(),
        body: body.into(),
        status,
        words,
        ends: false,
    };
    case.lines("")
}

impl Case {
    /// With these lines besides `content-length`.
    fn lines(self, lines: impl AsRef<str>) -> Case {
        let lines = format!("content-length: {}\r\n{}", self.body.len(), lines.as_ref());
        self.framed(lines)
    }

    /// With these lines, which say themselves how long the body is.
    fn framed(mut self, lines: impl Into<String>) -> Case {
        self.lines = lines.into();
        self
    }

    fn path(mut self, path: &'static str) -> Case {
        self.path = path;
        self
    }

    fn ends(mut self) -> Case {
        self.ends = true;
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let head = format!("POST {} HTTP/1.1\r\nhost: weirgate.test\r\n{}\r\n", self.path, self.lines);
        [head.as_bytes(), &self.body].concat()
    }

    /// What is wrong with how it is answered, if anything.
    async fn fault(&self, server: &Server) -> Option<String> {
        let mut raw = Raw::connect(server.data).await;
        // The server may refuse it before it has read all of it.
        let _ = raw.try_write(self.bytes()).await;
        let Some((status, head, text)) = raw.take_answer().await else { return Some("no answer".to_owned()) };
        if status != self.status {
            return Some(format!("status {status}, not {}: {text}", self.status));
        }
        if self.words.is_empty() {
            return (!text.is_empty()).then(|| format!("it reached us: {text}"));
        }
        if status >= 400 {
            let body: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            let error = body["error"].as_str().unwrap_or_default();
            if error.is_empty() || !head.contains("content-type: application/json") {
                return Some(format!("the error is not in JSON: {head}{text}"));
            }
            if let Some(missing) = self.words.iter().find(|word| !error.contains(**word)) {
                return Some(format!("'{missing}' is not in: {error}"));
            }
            if error.len() > 600 {
                return Some(format!("the error has {} bytes", error.len()));
            }
        }
        if head.contains("connection: close") {
            return None;
        }
        let next = format!(
            "POST /v2/models/identity/infer HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{RIGHT}",
            RIGHT.len()
        );
        let _ = raw.try_write(next).await;
        let next = raw.take_answer().await.map(|(status, ..)| status);
        let lives = next == Some(200);
        (lives == self.ends).then(|| format!("the next call on the connection is answered {next:?}"))
    }
}

/// Runs all cases against one server, and says at the end what was wrong with any.
async fn refused(cases: Vec<Case>) {
    let mut server = Server::start([Service::new("identity")]).await;
    Http1::connect(server.data).await.infer("identity", &row(&[1.0])).await.response();
    let before = resident_bytes(server.pid());
    let mut faults = Vec::new();
    for case in &cases {
        if let Some(fault) = case.fault(&server).await {
            faults.push(format!("{}: {fault}", case.name));
        }
        Http1::connect(server.data).await.infer("identity", &row(&[1.0])).await.response();
    }
    assert!(faults.is_empty(), "{} of {} cases:\n{}", faults.len(), cases.len(), faults.join("\n"));
    server.is_idle("identity").await;
    let metrics = server.metrics().await;
    for code in ["engine_failed", "internal", "unsupported", "unavailable", "deadline_exceeded"] {
        assert_eq!(metrics.sum("weirgate_requests_total", &[("code", code)]), 0.0, "{code}");
    }
    let grown = resident_bytes(server.pid()).saturating_sub(before);
    assert!(grown < GROWTH, "the server has grown by {grown} bytes");
    assert!(server.is_running() && !server.log().contains("panicked"), "{}", server.log());
}
