//! From flags to a workload: which source of requests they choose, and what it needs to be told by the server.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use weirgate_protocol::TensorSpec;

use super::bodies::{self, Body};
use super::dress::Dress;
use super::expect::Term;
use super::make::Maker;
use super::prompts::{self, Prompt};
use super::range::Counts;
use super::synthetic::{Sizes, Synthetic};
use super::{Workload, metadata};
use crate::cli::PayloadOptions;
use crate::client::Client;
use crate::request::Protocol;

/// What a workload is built from.
#[derive(Debug)]
pub struct Ask<'a> {
    pub protocol: Protocol,
    /// None: the one model that the server has.
    pub model: Option<&'a str>,
    pub version: Option<&'a str>,
    pub payload: &'a PayloadOptions,
    /// What `--expect` was given.
    pub expect: &'a [String],
    /// Between an answer and the next turn of its conversation.
    pub think: Duration,
    /// Of each arrival, where a trace tells; used for synthetic prompts.
    pub sizes: Vec<Sizes>,
}

/// Where requests come from.
#[derive(Debug)]
pub enum Source {
    Bodies(Vec<Body>),
    Prompts(Vec<Prompt>),
    Synthetic(Synthetic),
    Recorded(Vec<Sizes>),
    Random,
}

/// Builds a workload. Reads files, and asks the server for what the flags leave open: the model, and its metadata.
pub async fn build(ask: Ask<'_>, client: &Client) -> crate::Result<Workload> {
    let mut prepared = Prepared::of(ask).map_err(crate::error)?;
    let dress = prepared.dress.clone();
    let dress = |request| dress.headers_on(request);
    let protocol = prepared.protocol;
    if prepared.needs_model() {
        prepared.model = Some(metadata::only_model(client, protocol, dress).await?);
    }
    let mut inputs = Vec::new();
    if let (Source::Random, Some(model)) = (&prepared.source, &prepared.model) {
        inputs = metadata::inputs(client, protocol, model, prepared.version.as_deref(), dress).await?;
    }
    prepared.workload(inputs).map_err(crate::error)
}

/// Flags that were checked and files that were read.
#[derive(Debug)]
pub struct Prepared {
    protocol: Protocol,
    model: Option<String>,
    version: Option<String>,
    payload: PayloadOptions,
    dress: Dress,
    terms: Arc<[Term]>,
    think: Duration,
    source: Source,
}

impl Prepared {
    pub fn of(ask: Ask<'_>) -> Result<Prepared, String> {
        check(&ask)?;
        let Ask { protocol, payload, .. } = ask;
        let terms = ask.expect.iter().map(|text| Term::parse(text, protocol, payload.stream));
        Ok(Prepared {
            protocol,
            model: ask.model.map(str::to_owned),
            version: ask.version.map(str::to_owned),
            payload: payload.clone(),
            dress: Dress::of(payload)?,
            terms: terms.collect::<Result<Vec<_>, _>>()?.into(),
            think: ask.think,
            source: source(ask)?,
        })
    }

    /// Whether the server must be asked which model it has.
    pub fn needs_model(&self) -> bool {
        if self.model.is_some() {
            return false;
        }
        match &self.source {
            Source::Bodies(bodies) if self.protocol.is_openai() => bodies.iter().any(Body::needs_model),
            // Only the path would name it.
            Source::Bodies(_) => !(self.dress.has_path() && self.protocol != Protocol::Grpc),
            Source::Prompts(prompts) => prompts.iter().any(Prompt::needs_model),
            Source::Synthetic(_) | Source::Recorded(_) | Source::Random => true,
        }
    }

    /// `inputs` are the model's, for random tensors.
    pub fn workload(self, inputs: Vec<TensorSpec>) -> Result<Workload, String> {
        let Prepared { protocol, model, version, payload, dress, terms, think, source } = self;
        let maker = Maker { protocol, model, version, payload, dress, terms };
        Ok(maker.workload(source, inputs)?.with_think(think))
    }
}

/// Flags that contradict each other, or mean nothing to the protocol.
fn check(ask: &Ask<'_>) -> Result<(), String> {
    let (protocol, payload) = (ask.protocol, ask.payload);
    let is_text = matches!(protocol, Protocol::Chat | Protocol::Completions);
    let given = [
        ("--body", !payload.bodies.is_empty()),
        ("--prompts", payload.prompts.is_some()),
        ("--shape or --values", !payload.shapes.is_empty() || !payload.values.is_empty()),
        ("--turns", payload.turns > 1),
    ];
    let given: Vec<_> = given.iter().filter(|(_, given)| *given).map(|(flag, _)| *flag).collect();
    if let [one, other, ..] = given[..] {
        return Err(format!("{one} and {other} are both given: requests come from one of them"));
    }
    let only = |flag: &str, of: &str| Err(format!("{flag} is of {of}, and the protocol is {protocol}"));
    if payload.prompts.is_some() && !protocol.is_openai() {
        return only("--prompts", "chat, completions and embeddings");
    }
    if !(payload.shapes.is_empty() && payload.values.is_empty()) && protocol.is_openai() {
        return only("--shape or --values", "random tensors");
    }
    if payload.stream && !is_text {
        return only("--stream", "chat and completions");
    }
    if payload.turns > 1 && !is_text {
        return only("--turns", "chat and completions");
    }
    if payload.turns > 1 && !ask.sizes.is_empty() {
        return Err("--turns and a trace with sizes are both given: a trace has requests of one turn".to_owned());
    }
    if ask.version.is_some() && !matches!(protocol, Protocol::V2 | Protocol::V2Binary | Protocol::Grpc) {
        return only("--model-version", "v2, v2-binary and grpc");
    }
    for (flag, value) in
        [("--distinct", payload.distinct), ("--turns", payload.turns), ("--prefixes", payload.prefixes)]
    {
        if value == 0 {
            return Err(format!("{flag} is 0: give 1 or more"));
        }
    }
    Ok(())
}

fn source(ask: Ask<'_>) -> Result<Source, String> {
    let Ask { protocol, payload, sizes, .. } = ask;
    if !payload.bodies.is_empty() {
        return Ok(Source::Bodies(bodies::read(&payload.bodies)?));
    }
    if let Some(file) = &payload.prompts {
        return Ok(Source::Prompts(prompts::read(Path::new(file))?));
    }
    if !protocol.is_openai() {
        return Ok(Source::Random);
    }
    if !sizes.is_empty() {
        return Ok(Source::Recorded(sizes));
    }
    Ok(Source::Synthetic(Synthetic {
        words: Counts::parse("--prompt-words", &payload.prompt_words)?,
        shared_prefix: payload.shared_prefix,
        prefixes: payload.prefixes,
        turns: payload.turns,
        seed: payload.seed,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::fixtures::payload;

    fn ask(protocol: Protocol, payload: &PayloadOptions) -> Ask<'_> {
        let think = Duration::ZERO;
        Ask { protocol, model: None, version: None, payload, expect: &[], think, sizes: vec![] }
    }

    #[test]
    fn flags_that_contradict_or_mean_nothing_are_told() {
        for (protocol, flags, part) in [
            (Protocol::Chat, &["--body", "x", "--prompts", "y"][..], "--body and --prompts are both given"),
            (Protocol::V2, &["--prompts", "y"], "--prompts is of chat, completions and embeddings"),
            (Protocol::Chat, &["--shape", "x=1"], "is of random tensors, and the protocol is chat"),
            (Protocol::Embeddings, &["--stream"], "--stream is of chat and completions"),
            (Protocol::V2, &["--turns", "2"], "--turns is of chat"),
            (Protocol::V2, &["--distinct", "0"], "--distinct is 0"),
            (Protocol::Chat, &["--prompt-words", "x"], "--prompt-words 'x'"),
        ] {
            let error = Prepared::of(ask(protocol, &payload(flags))).unwrap_err();
            assert!(error.contains(part), "{flags:?}: {error}");
        }
        let none = payload(&[]);
        let versioned = Ask { version: Some("1"), ..ask(Protocol::V1, &none) };
        assert!(Prepared::of(versioned).unwrap_err().contains("--model-version is of v2"));
        let wrong = ["equal".to_owned()];
        assert!(Prepared::of(Ask { expect: &wrong, ..ask(Protocol::V2, &none) }).unwrap_err().contains("--expect"));
    }

    #[test]
    fn the_server_is_asked_for_a_model_only_where_one_is_needed() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (with, without) = (write("with.json", r#"{"model":"m"}"#), write("without.json", "{}"));
        for (protocol, flags, needs) in [
            (Protocol::V2, &[][..], true),
            (Protocol::Chat, &[], true),
            (Protocol::Chat, &["--body", &with], false),
            (Protocol::Chat, &["--body", &with, "--body", &without], true),
            (Protocol::V2, &["--body", &without], true),
            (Protocol::V2, &["--body", &without, "--path", "/x"], false),
            (Protocol::Grpc, &["--body", &without, "--path", "/x"], true),
        ] {
            let payload = payload(flags);
            assert_eq!(Prepared::of(ask(protocol, &payload)).unwrap().needs_model(), needs, "{protocol} {flags:?}");
            let named = Ask { model: Some("m"), ..ask(protocol, &payload) };
            assert!(!Prepared::of(named).unwrap().needs_model());
        }
    }
}
