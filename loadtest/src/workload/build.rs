//! From flags to a workload: which source of requests they choose, and what it needs to be told by the server.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use weirgate_protocol::TensorSpec;

use super::bodies::{self, Body};
use super::dress::Dress;
use super::expect::Term;
use super::make::{Maker, SAME_OF_NONE};
use super::prompts::{self, Prompt};
use super::range::Counts;
use super::recorded::Sizes;
use super::synthetic::Shape;
use super::{Workload, metadata, tensors};
use crate::cli::PayloadOptions;
use crate::client::Client;
use crate::request::Protocol;

/// Words of a synthetic prompt where the flags don't say.
const WORDS: &str = "128";

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
    Synthetic(Shape),
    Recorded(Vec<Sizes>),
    Random,
}

/// What is wrong with the flags by themselves, before a file is read or a server is asked. `is_sized` is whether a trace
/// has sizes.
pub fn check(protocol: Protocol, payload: &PayloadOptions, expect: &[String], is_sized: bool) -> Result<(), String> {
    for text in expect.iter().filter(|text| !text.starts_with("file:")) {
        Term::parse(text, protocol, payload.stream)?;
    }
    Dress::check(payload)?;
    tensors::check(&payload.shapes, &payload.values)?;
    if protocol.is_openai() && payload.bodies.is_empty() && payload.prompts.is_none() && !is_sized {
        shape(payload)?.check()?;
        if payload.distinct.is_none() && expect.iter().any(|text| text == "same") {
            return Err(SAME_OF_NONE.to_owned());
        }
    }
    Ok(())
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

/// Files that were read, and what the flags say. Whether flags go together is known by then.
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
    /// Whether a trace has sizes, and requests come from elsewhere.
    without_sizes: bool,
}

impl Prepared {
    pub fn of(ask: Ask<'_>) -> Result<Prepared, String> {
        let Ask { protocol, payload, .. } = ask;
        let terms = ask.expect.iter().map(|text| Term::parse(text, protocol, payload.stream));
        let is_sized = !ask.sizes.is_empty();
        let (model, version, think) = (ask.model.map(str::to_owned), ask.version.map(str::to_owned), ask.think);
        let terms = terms.collect::<Result<Vec<_>, _>>()?.into();
        let source = source(ask)?;
        let without_sizes = is_sized && !matches!(source, Source::Recorded(_));
        let (payload, dress) = (payload.clone(), Dress::of(payload)?);
        Ok(Prepared { protocol, model, version, payload, dress, terms, think, source, without_sizes })
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
        let Prepared { protocol, model, version, payload, dress, terms, think, source, without_sizes } = self;
        let maker = Maker { protocol, model, version, payload, dress, terms };
        let mut workload = maker.workload(source, inputs)?.with_think(think);
        if without_sizes {
            workload.summary.what += ", at the trace's times, without its sizes";
        }
        Ok(workload)
    }
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
    Ok(Source::Synthetic(shape(payload)?))
}

fn shape(payload: &PayloadOptions) -> Result<Shape, String> {
    Ok(Shape {
        words: Counts::parse("--prompt-words", payload.prompt_words.as_deref().unwrap_or(WORDS))?,
        shared_prefix: payload.shared_prefix.unwrap_or(0),
        prefixes: payload.prefixes.unwrap_or(1),
        turns: payload.turns.unwrap_or(1),
        max_tokens: payload.max_tokens(),
        seed: payload.seed,
    })
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
    fn flags_that_can_not_be_read_are_told() {
        let error = Prepared::of(ask(Protocol::Chat, &payload(&["--prompt-words", "x"]))).unwrap_err();
        assert!(error.contains("--prompt-words 'x'"), "{error}");
        let (none, wrong) = (payload(&[]), ["equal".to_owned()]);
        assert!(Prepared::of(Ask { expect: &wrong, ..ask(Protocol::V2, &none) }).unwrap_err().contains("--expect"));
    }

    #[test]
    fn flags_are_wrong_before_anything_is_read() {
        for (protocol, flags, expect, part) in [
            (Protocol::V2, &[][..], "foo", "--expect 'foo'"),
            (Protocol::V2, &["--values", "x=5..1"], "", "--values x=5..1: '5..1' ends before"),
            (Protocol::V2, &["--values", "5..1"], "", "does not name an input"),
            (Protocol::V2, &["--shape", "x=0"], "", "--shape 'x=0'"),
            (Protocol::V2, &["--path", "x"], "", "--path 'x'"),
            (Protocol::V2, &["--api-key-file", "/nowhere", "-H", "authorization: x"], "", "give one"),
            (Protocol::Chat, &["--prompt-words", "9..3"], "", "--prompt-words '9..3'"),
            (Protocol::Chat, &["--prompt-words", "99999999"], "", "the limit is"),
            (Protocol::Chat, &[], "same", "--distinct"),
        ] {
            let expect = if expect.is_empty() { vec![] } else { vec![expect.to_owned()] };
            let error = check(protocol, &payload(flags), &expect, false).unwrap_err();
            assert!(error.contains(part), "{flags:?} {expect:?}: {error}");
        }
        let files = ["file:/nowhere".to_owned(), "same".to_owned()];
        let flags = ["--api-key-file", "/nowhere", "--distinct", "5"];
        assert_eq!(check(Protocol::Chat, &payload(&flags), &files, false), Ok(()), "a file is no flag");
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
