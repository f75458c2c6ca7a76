//! Finds what a server speaks, and what its model takes and gives.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use weirgate_protocol::metadata::{self, Metadata};
use weirgate_protocol::{LoadedModel, ModelSpec, Protocol, oip};

use super::Described;
use super::ask::{Whole, ask, get, may_speak_h2, reason, refusal, segment};
use super::fault::{Fault, FaultKind};
use super::grpc::{self, Failed};
use super::link::Link;
use super::transport::Address;

/// The largest answer to a question; metadata of models with many tensors are tens of kilobytes.
const LARGEST_ANSWER: usize = 1 << 20;
/// The versions of one model that are asked about.
const MOST_VERSIONS: usize = 16;
/// Where OpenAI's routes begin, at most servers and at KServe's.
const OPENAI_PREFIXES: [&str; 2] = ["/v1", "/openai/v1"];
const BINARY: &str = "binary_tensor_data";

/// What a server says to the question whether it speaks a protocol, and the model is ready.
pub(crate) enum Said {
    Ready,
    /// The model is not there, or not yet, and this is how the server said so.
    No(String),
    /// There is no connection to it: whatever it is asked, this is what comes of it.
    Unreachable(String),
    /// It could not be asked, or what it answered is of no protocol.
    Failed(String),
    /// It knows no such question. Where somebody else says that it speaks the protocol, it may all the same.
    Unknown(String),
}

/// Asks a server for `model` in every protocol that may be spoken at its address, or in those of `protocols`: each of them
/// must be spoken then. One that knows no question for the model is believed to be ready by the manifest's word.
///
/// An error says what was asked and what came back, or that there is no connection. `patience` is for each question.
pub async fn describe(
    link: &Link,
    model: &str,
    protocols: Option<&[Protocol]>,
    patience: Duration,
) -> Result<Described, String> {
    let questions = Questions { link, model, patience };
    let possible = link.address().map(possible).unwrap_or_default();
    let asked = protocols.unwrap_or(&possible);
    let mut described = Described { name: Some(model.into()), ..Described::default() };
    let mut said = Vec::new();
    let mut denied = false;
    for &protocol in asked {
        let (mut answer, openai) = questions.speaks(protocol).await;
        // OpenAI's question is about the server. One that says elsewhere of this very model that it is not there, or not
        // yet, knows better.
        if protocols.is_none() && protocol == Protocol::OpenAi && denied && matches!(answer, Said::Ready) {
            answer = Said::No("it lists models, which does not say that this one is ready".to_owned());
        }
        denied |= matches!(answer, Said::No(_));
        let speaks = match answer {
            Said::Ready => true,
            Said::Unknown(_) if protocols.is_some() => true,
            Said::Unreachable(text) => return Err(text),
            Said::No(text) | Said::Failed(text) | Said::Unknown(text) => {
                said.push(format!("{}: {text}", name(protocol)));
                false
            }
        };
        match protocol {
            Protocol::V1Http => described.v1 = speaks,
            Protocol::V2Http => described.v2 = speaks,
            Protocol::V2Grpc => described.grpc = speaks,
            Protocol::OpenAi => described.openai = openai.filter(|_| speaks),
            Protocol::Other => {}
        }
    }
    let missing = if protocols.is_some() { !said.is_empty() } else { said.len() == asked.len() };
    if missing {
        return Err(format!("model '{model}' is not ready: {}", said.join("; ")));
    }
    if described.v2 {
        described.binary = questions.extensions().await.iter().any(|extension| extension == BINARY);
    }
    described.model = questions.loaded(&described).await;
    Ok(described)
}

/// Asks again, in one protocol.
pub(crate) async fn ask_again(link: &Link, model: &str, protocol: Protocol, patience: Duration) -> Said {
    Questions { link, model, patience }.speaks(protocol).await.0
}

/// The protocols that may be spoken at an address, the most telling first.
fn possible(address: &Address) -> Vec<Protocol> {
    let only_grpc = matches!(address, Address::Url(url) if url.scheme.is_grpc());
    let spoken = |protocol: &Protocol| match protocol {
        Protocol::V2Grpc => may_speak_h2(address),
        _ => !only_grpc,
    };
    [Protocol::V2Http, Protocol::V2Grpc, Protocol::V1Http, Protocol::OpenAi].into_iter().filter(spoken).collect()
}

fn name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::V1Http => "V1",
        Protocol::V2Http => "V2",
        Protocol::V2Grpc => "V2 over gRPC",
        Protocol::OpenAi => "OpenAI",
        Protocol::Other => "other paths",
    }
}

struct Questions<'a> {
    link: &'a Link,
    model: &'a str,
    patience: Duration,
}

impl Questions<'_> {
    /// Whether a protocol is spoken, and where OpenAI's routes begin.
    async fn speaks(&self, protocol: Protocol) -> (Said, Option<&'static str>) {
        let model = segment(self.model);
        match protocol {
            Protocol::V2Http => (self.judged(&format!("/v2/models/{model}/ready"), v2_ready).await, None),
            Protocol::V1Http => (self.judged(&format!("/v1/models/{model}"), v1_ready).await, None),
            Protocol::V2Grpc => (self.grpc_ready().await, None),
            Protocol::OpenAi => {
                let [first, second] = OPENAI_PREFIXES;
                match self.judged(&format!("{first}/models"), openai_ready).await {
                    Said::Ready => (Said::Ready, Some(first)),
                    unknown => match self.judged(&format!("{second}/models"), openai_ready).await {
                        Said::Ready => (Said::Ready, Some(second)),
                        _ => (unknown, Some(first)),
                    },
                }
            }
            // There is nothing to ask for.
            Protocol::Other => (Said::Ready, None),
        }
    }

    async fn judged(&self, path: &str, ready: impl Fn(&[u8]) -> Option<bool>) -> Said {
        judge(self.model, &self.get(path).await, ready)
    }

    async fn get(&self, path: &str) -> Result<(String, Whole), Unasked> {
        let question = format!("GET {path}");
        let request = get(path).map_err(|error| Unasked::Failed(format!("{question}: {error}")))?;
        match tokio::time::timeout(self.patience, ask(self.link, request, LARGEST_ANSWER)).await {
            Ok(Ok(whole)) => Ok((question, whole)),
            Ok(Err(fault)) => Err(Unasked::by(&fault, &question)),
            Err(_) => Err(Unasked::Failed(format!("{question}: no answer in {:?}", self.patience))),
        }
    }

    async fn grpc<Answer: prost::Message + Default>(
        &self,
        method: &str,
        message: &impl prost::Message,
    ) -> Result<Answer, Failed> {
        let call = grpc::unary(self.link, method, message, http::HeaderMap::new(), LARGEST_ANSWER);
        let late = || Failed::Foreign(format!("no answer in {:?}", self.patience));
        tokio::time::timeout(self.patience, call).await.unwrap_or_else(|_| Err(late()))
    }

    async fn grpc_ready(&self) -> Said {
        let question = oip::ModelReadyRequest { name: self.model.to_owned(), version: String::new() };
        match self.grpc::<oip::ModelReadyResponse>("ModelReady", &question).await {
            Ok(answer) if answer.ready => Said::Ready,
            Ok(_) => Said::No("ModelReady answered that it is not ready".to_owned()),
            Err(Failed::Status(status)) if status.code == grpc::UNIMPLEMENTED => {
                Said::Unknown(format!("ModelReady answered {status}"))
            }
            Err(Failed::Status(status)) => Said::No(format!("ModelReady answered {status}")),
            Err(Failed::Fault(fault)) => Unasked::by(&fault, "ModelReady").into(),
            Err(Failed::Foreign(text)) => Said::Failed(format!("ModelReady answered what is no gRPC: {text}")),
        }
    }

    async fn extensions(&self) -> Vec<String> {
        #[derive(Deserialize)]
        struct Server {
            extensions: Vec<String>,
        }
        let Ok((_, whole)) = self.get("/v2").await else { return Vec::new() };
        serde_json::from_slice::<Server>(&whole.body).map(|server| server.extensions).unwrap_or_default()
    }

    /// What the model takes and gives, every version of it that the server tells about.
    async fn loaded(&self, described: &Described) -> Option<Arc<LoadedModel>> {
        let default = self.metadata(described, "").await?;
        let mut versions: Vec<&String> = default.versions.iter().filter(|version| !version.is_empty()).collect();
        // Names are numbers as a rule: the longer one is the larger one.
        versions.sort_unstable_by_key(|version| (std::cmp::Reverse(version.len()), std::cmp::Reverse(*version)));
        versions.truncate(MOST_VERSIONS);
        let mut specs: Vec<Arc<ModelSpec>> = Vec::new();
        for version in versions {
            // A version that is listed and not described is not ready.
            let told = self.metadata(described, version).await.and_then(|told| told.spec(Some(version)));
            specs.extend(told.map(Arc::new));
        }
        let mut specs = specs.into_iter();
        let newest = specs.next().or_else(|| default.spec(None).map(Arc::new))?;
        Some(Arc::new(LoadedModel::new(newest, specs)))
    }

    async fn metadata(&self, described: &Described, version: &str) -> Option<Metadata> {
        let told = if described.v2 {
            let version = if version.is_empty() { String::new() } else { format!("/versions/{}", segment(version)) };
            let (_, whole) = self.get(&format!("/v2/models/{}{version}", segment(self.model))).await.ok()?;
            if whole.status != StatusCode::OK {
                return None;
            }
            metadata::from_json(&whole.body).inspect_err(|why| tracing::debug!(model = self.model, why)).ok()?
        } else if described.grpc {
            let question = oip::ModelMetadataRequest { name: self.model.to_owned(), version: version.to_owned() };
            metadata::from_message(self.grpc("ModelMetadata", &question).await.ok()?)
        } else {
            return None;
        };
        if let Err(why) = &told.tensors {
            tracing::debug!(model = self.model, why, "the server does not tell what its model takes");
        }
        Some(told)
    }
}

/// Why there is no answer to a question.
#[derive(Clone, Debug)]
enum Unasked {
    /// There is no connection.
    Unreachable(String),
    /// Names the question too.
    Failed(String),
}

impl Unasked {
    fn by(fault: &Fault, question: &str) -> Unasked {
        match fault.kind {
            FaultKind::Connect => Unasked::Unreachable(fault.error.to_string()),
            _ => Unasked::Failed(format!("{question}: {}", fault.error)),
        }
    }
}

impl From<Unasked> for Said {
    fn from(unasked: Unasked) -> Said {
        match unasked {
            Unasked::Unreachable(text) => Said::Unreachable(text),
            Unasked::Failed(text) => Said::Failed(text),
        }
    }
}

/// Judges an answer: by `ready` where it is a success, and else by its status.
fn judge(model: &str, answer: &Result<(String, Whole), Unasked>, ready: impl Fn(&[u8]) -> Option<bool>) -> Said {
    let (question, whole) = match answer {
        Ok(answer) => answer,
        Err(unasked) => return unasked.clone().into(),
    };
    let text = || format!("{question} answered {}", refusal(whole.status, &whole.body));
    match whole.status {
        StatusCode::OK => match ready(&whole.body) {
            Some(true) => Said::Ready,
            Some(false) => Said::No(format!("{question} answered that it is not ready")),
            None => Said::Unknown(format!("{question} answered something else")),
        },
        // It knows the question, and that it has no answer for this model: whatever else it says of it.
        StatusCode::NOT_IMPLEMENTED => Said::Unknown(text()),
        // Servers that know the question name the model that they don't know.
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED
            if !reason(&whole.body).is_some_and(|reason| names(&reason, model)) =>
        {
            Said::Unknown(text())
        }
        _ => Said::No(text()),
    }
}

/// Whether a text has the model's name as a word of its own.
fn names(text: &str, model: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '/');
    text.match_indices(model).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + model.len()..]);
        !before.ends_with(part_of_name) && !after.starts_with(part_of_name)
    })
}

/// `{"name", "ready"}`; Triton says it with an empty body.
fn v2_ready(body: &[u8]) -> Option<bool> {
    #[derive(Deserialize)]
    struct Ready {
        ready: Option<bool>,
    }
    if body.trim_ascii().is_empty() {
        return Some(true);
    }
    object::<Ready>(body)?.ready
}

/// KServe's `{"name", "ready"}`, where old servers write `"True"`, or TensorFlow Serving's list of versions.
fn v1_ready(body: &[u8]) -> Option<bool> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Flag {
        Bool(bool),
        Text(String),
    }
    #[derive(Deserialize)]
    struct Version {
        state: Option<String>,
    }
    #[derive(Deserialize)]
    struct Model {
        ready: Option<Flag>,
        model_version_status: Option<Vec<Version>>,
    }
    let Model { ready, model_version_status } = object(body)?;
    match (ready, model_version_status) {
        (Some(Flag::Bool(ready)), _) => Some(ready),
        (Some(Flag::Text(text)), _) => Some(text.eq_ignore_ascii_case("true")),
        (None, Some(versions)) => Some(versions.iter().any(|version| version.state.as_deref() == Some("AVAILABLE"))),
        (None, None) => None,
    }
}

/// `{"object": "list", "data": […]}`. A server that names its one model otherwise than we do answers calls for it too.
fn openai_ready(body: &[u8]) -> Option<bool> {
    #[derive(Deserialize)]
    struct List {
        data: Vec<serde::de::IgnoredAny>,
    }
    object::<List>(body).map(|list| !list.data.is_empty())
}

fn object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    // A struct would be read from a list too.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    serde_json::from_slice(body).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use weirgate_protocol::UpstreamUrl;

    use super::*;

    #[test]
    fn readiness_as_servers_write_it() {
        assert_eq!(v2_ready(b""), Some(true));
        assert_eq!(v2_ready(br#"{"name":"m","ready":false}"#), Some(false));
        assert_eq!(v2_ready(b"<html>"), None);
        assert_eq!(v2_ready(br#"{"id":"m","object":"model"}"#), None);
        assert_eq!(v1_ready(br#"{"name":"m","ready":true}"#), Some(true));
        assert_eq!(v1_ready(br#"{"name":"m","ready":"False"}"#), Some(false));
        assert_eq!(v1_ready(br#"{"model_version_status":[{"state":"LOADING"},{"state":"AVAILABLE"}]}"#), Some(true));
        assert_eq!(v1_ready(br#"{"model_version_status":[{"state":"END"}]}"#), Some(false));
        assert_eq!(v1_ready(br#"{"id":"m","object":"model"}"#), None, "OpenAI's");
        assert_eq!(openai_ready(br#"{"object":"list","data":[{"id":"m"}]}"#), Some(true));
        assert_eq!(openai_ready(br#"{"models":["m"]}"#), None, "KServe's");
        assert_eq!(openai_ready(br#"[["m"]]"#), None);
    }

    fn said(status: u16, body: &'static str) -> Said {
        let status = StatusCode::from_u16(status).unwrap();
        let whole = Whole { status, headers: HeaderMap::new(), body: body.into(), trailers: None };
        judge("m", &Ok(("GET /x".to_owned(), whole)), v2_ready)
    }

    #[test]
    fn a_missing_route_and_a_missing_model_are_told_apart() {
        assert!(matches!(said(200, r#"{"ready":true}"#), Said::Ready));
        assert!(matches!(said(404, r#"{"detail":"Not Found"}"#), Said::Unknown(_)));
        assert!(matches!(said(405, ""), Said::Unknown(_)));
        assert!(matches!(said(404, r#"{"error":{"message":"File Not Found"}}"#), Said::Unknown(_)), "llama.cpp's");
        assert!(matches!(said(404, r#"{"error":"no model 'm'"}"#), Said::No(text) if text.contains("no model 'm'")));
        assert!(matches!(said(501, r#"{"error":"m speaks no V2"}"#), Said::Unknown(_)), "a gateway's");
        assert!(matches!(said(503, ""), Said::No(text) if text == "GET /x answered 503 Service Unavailable"));
        assert!(matches!(said(400, ""), Said::No(_)), "Triton's not ready");
        assert!(matches!(said(200, "<html>"), Said::Unknown(_)));
    }

    #[test]
    fn a_name_is_a_word_of_its_own() {
        for text in ["Model with name iris does not exist.", "model 'iris' is not served here", "iris"] {
            assert!(names(text, "iris"), "{text}");
        }
        for text in ["there is no route '/v2/models/iris/ready'", "iris-2 is not here", "irises", "", "other"] {
            assert!(!names(text, "iris"), "{text}");
        }
    }

    #[test]
    fn an_address_says_what_may_be_spoken_there() {
        let at = |text| possible(&Address::Url(UpstreamUrl::parse(text).unwrap()));
        assert_eq!(at("grpc://h"), [Protocol::V2Grpc]);
        assert!(!at("http://h").contains(&Protocol::V2Grpc));
        assert_eq!(at("h2c://h").len(), 4);
        assert_eq!(possible(&Address::Unix("s".into())).len(), 4);
    }
}
