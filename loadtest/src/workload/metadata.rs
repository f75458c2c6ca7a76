//! What a server says of its models: which there are, and what tensors one takes.

use std::time::Duration;

use serde::Deserialize;
use tokio::task::JoinSet;
use weirgate_protocol::{Datatype, Dim, TensorSpec, oip};

use crate::client::Client;
use crate::request::{Answer, Protocol, Request, framed, v2_path};
use crate::workload::samples::error_text;

/// How long the server has for an answer about itself.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a user can do where the server does not tell.
const WITHOUT: &str = "give the body of a request with --body";

/// The inputs of a model, as the server's metadata has them.
///
/// Asks over gRPC where that is the protocol, else `GET /v2/models/…`, which V1 servers of today have too. `dress` puts the
/// user's own headers on a request.
pub async fn inputs(
    client: &Client,
    protocol: Protocol,
    model: &str,
    version: Option<&str>,
    dress: impl Fn(Request) -> Request,
) -> crate::Result<Vec<TensorSpec>> {
    let question = match protocol {
        Protocol::Grpc => {
            let (name, version) = (model.to_owned(), version.unwrap_or_default().to_owned());
            grpc("ModelMetadata", &oip::ModelMetadataRequest { name, version })?
        }
        _ => Request::get(Protocol::V2, v2_path(model, version)),
    };
    let answer = ask(client, &dress(question)).await?;
    let inputs = match (answer.is_ok(), protocol) {
        (false, _) => Err(refused(&answer)),
        (true, Protocol::Grpc) => answer.message().map_err(|error| error.to_string()).and_then(from_message),
        (true, _) => from_json(&answer.body),
    };
    inputs.map_err(|why| crate::error(format!("no metadata of model '{model}': {why}: check --model, or {WITHOUT}")))
}

/// The one model that the server has. Several, or none, is an error that names them.
pub async fn only_model(
    client: &Client,
    protocol: Protocol,
    dress: impl Fn(Request) -> Request,
) -> crate::Result<String> {
    let questions = match protocol {
        Protocol::Grpc => vec![grpc("RepositoryIndex", &oip::RepositoryIndexRequest::default())?],
        // Triton has the index alone.
        Protocol::V2 | Protocol::V2Binary => {
            vec![Request::get(Protocol::V2, "/v2/models"), Request::new(Protocol::V2, "/v2/repository/index", "{}")]
        }
        _ => vec![Request::get(Protocol::V2, "/v1/models")],
    };
    let mut why = String::new();
    for question in questions {
        let answer = ask(client, &dress(question)).await?;
        if answer.is_ok() {
            let names = match protocol {
                Protocol::Grpc => names_of_message(answer.message()?),
                _ => names_of_json(&answer.body),
            };
            return names.and_then(one).map_err(crate::error);
        }
        why = refused(&answer);
    }
    Err(crate::error(format!("the server does not list its models: {why}: give one with --model")))
}

/// One question on a connection of its own.
async fn ask(client: &Client, question: &Request) -> crate::Result<Answer> {
    let failed = |why: &dyn std::fmt::Display| {
        let (target, path) = (client.target(), &question.path);
        crate::error(format!("can't ask {target}{path} what there is to load: {why}"))
    };
    let asked = async {
        let mut drivers = JoinSet::new();
        let mut connection = client.connect(question.protocol, &mut drivers).await?;
        connection.call(question, true).await.result
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(answer) => answer.map_err(|failure| failed(&failure)),
        Err(_) => Err(failed(&format!("no answer in {} s", PATIENCE.as_secs()))),
    }
}

fn grpc(method: &str, message: &impl prost::Message) -> crate::Result<Request> {
    Ok(Request::new(Protocol::Grpc, format!("/inference.GRPCInferenceService/{method}"), framed(message)?))
}

fn refused(answer: &Answer) -> String {
    match error_text(answer) {
        Some(text) => format!("{} ({text})", answer.outcome()),
        None => answer.outcome(),
    }
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    inputs: Vec<Input>,
}

#[derive(Deserialize)]
struct Input {
    name: String,
    datatype: String,
    shape: Vec<i64>,
}

/// Reads V2's JSON.
fn from_json(body: &[u8]) -> Result<Vec<TensorSpec>, String> {
    let metadata: Metadata = serde_json::from_slice(body).map_err(|error| format!("it can't be read: {error}"))?;
    specs(metadata.inputs)
}

/// Reads V2's gRPC message.
fn from_message(message: oip::ModelMetadataResponse) -> Result<Vec<TensorSpec>, String> {
    let input = |input: oip::model_metadata_response::TensorMetadata| Input {
        name: input.name,
        datatype: input.datatype,
        shape: input.shape,
    };
    specs(message.inputs.into_iter().map(input).collect())
}

fn specs(inputs: Vec<Input>) -> Result<Vec<TensorSpec>, String> {
    if inputs.is_empty() {
        return Err("it names no inputs".to_owned());
    }
    let spec = |Input { name, datatype, shape }: Input| {
        let datatype = Datatype::parse(&datatype).map_err(|error| format!("input '{name}': {error}"))?;
        let shape = shape.into_iter().map(|size| usize::try_from(size).map_or(Dim::Dynamic("".into()), Dim::Fixed));
        Ok(TensorSpec { name: name.into(), datatype, shape: shape.collect() })
    };
    inputs.into_iter().map(spec).collect()
}

/// A list of models in the shapes of V1 and V2 (`models`), OpenAI (`data`), or Triton (a list of objects).
#[derive(Deserialize)]
#[serde(untagged)]
enum Listed {
    Models { models: Vec<String> },
    Data { data: Vec<Id> },
    Index(Vec<Name>),
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

#[derive(Deserialize)]
struct Name {
    name: String,
}

fn names_of_json(body: &[u8]) -> Result<Vec<String>, String> {
    let listed = serde_json::from_slice(body).map_err(|_| "the server's list of models can't be read: give --model")?;
    Ok(match listed {
        Listed::Models { models } => models,
        Listed::Data { data } => data.into_iter().map(|model| model.id).collect(),
        Listed::Index(models) => models.into_iter().map(|model| model.name).collect(),
    })
}

fn names_of_message(message: oip::RepositoryIndexResponse) -> Result<Vec<String>, String> {
    Ok(message.models.into_iter().map(|model| model.name).collect())
}

/// The only name; an index has a model once for each version.
fn one(mut names: Vec<String>) -> Result<String, String> {
    const SHOWN: usize = 20;
    names.sort();
    names.dedup();
    match names.len() {
        0 => Err("the server lists no models: give one with --model".to_owned()),
        1 => Ok(names.remove(0)),
        count => {
            let more = if count > SHOWN { format!(" and {} more", count - SHOWN) } else { String::new() };
            names.truncate(SHOWN);
            Err(format!("the server has several models: choose one of {}{more} with --model", names.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use weirgate_protocol::{ModelSpec, v2};

    use super::*;

    fn specs_of_a_text_model() -> Vec<TensorSpec> {
        let open = || Dim::Dynamic("".into());
        vec![
            TensorSpec { name: "ids".into(), datatype: Datatype::Int64, shape: vec![open(), open()] },
            TensorSpec { name: "image".into(), datatype: Datatype::Fp32, shape: vec![open(), Dim::Fixed(64)] },
        ]
    }

    #[test]
    fn metadata_is_read_as_our_own_server_writes_it() {
        let inputs = specs_of_a_text_model();
        let model = ModelSpec { version: None, platform: "test", inputs: inputs.clone(), outputs: vec![], pads: false };
        assert_eq!(from_json(&v2::model_metadata("m", &["1"], &model)), Ok(inputs.clone()));
        assert_eq!(from_message(oip::model_metadata("m", &["1"], &model)), Ok(inputs));
    }

    #[test]
    fn metadata_that_says_nothing_of_use_is_an_error() {
        for (body, part) in [
            (r#"{"name":"m"}"#, "names no inputs"),
            ("<html>", "can't be read"),
            (r#"{"inputs":[{"name":"x","datatype":"FP8","shape":[1]}]}"#, "input 'x': datatype 'FP8'"),
        ] {
            let error = from_json(body.as_bytes()).unwrap_err();
            assert!(error.contains(part), "{body}: {error}");
        }
    }

    #[test]
    fn lists_of_models_in_all_their_shapes() {
        for body in [
            r#"{"models":["digits"]}"#,
            r#"{"object":"list","data":[{"id":"digits","object":"model","created":0}]}"#,
            r#"{"models":["digits"],"object":"list","data":[{"id":"digits"}]}"#,
            r#"[{"name":"digits","version":"1","state":"READY"},{"name":"digits","version":"2"}]"#,
        ] {
            assert_eq!(names_of_json(body.as_bytes()).and_then(one).as_deref(), Ok("digits"), "{body}");
        }
        let several = names_of_json(br#"{"models":["b","a"]}"#).and_then(one).unwrap_err();
        assert_eq!(several, "the server has several models: choose one of a, b with --model");
        assert!(names_of_json(br#"{"models":[]}"#).and_then(one).unwrap_err().contains("no models"));
        assert!(names_of_json(b"404").unwrap_err().contains("--model"));
        let many = (0..25).map(|index| format!("m{index:02}")).collect();
        assert!(one(many).unwrap_err().contains("m19 and 5 more"));
    }
}
