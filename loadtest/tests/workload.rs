//! Workloads that ask a server for what the flags leave open.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use weirgate_loadtest::cli::PayloadOptions;
use weirgate_loadtest::client::{Client, TlsOptions};
use weirgate_loadtest::engine::{Begin, Engine, Load, Observer, Setup, Span, Stop, Until, Warmup};
use weirgate_loadtest::outcome::Outcome;
use weirgate_loadtest::request::{Protocol, framed};
use weirgate_loadtest::result::{Run, Window};
use weirgate_loadtest::workload::{self, Ask, Samples, Workload};
use weirgate_protocol::oip;

const METADATA: &str = r#"{"name":"digits","inputs":[{"name":"image","datatype":"FP32","shape":[-1,64]}]}"#;

#[derive(Default)]
struct Log {
    /// Each request as `METHOD /path`, and its `authorization`.
    seen: Mutex<Vec<(String, String)>>,
    bodies: Mutex<Vec<Bytes>>,
}

/// A server that has an answer for each `METHOD /path`, and 404 for the rest.
struct Server {
    address: SocketAddr,
    log: Arc<Log>,
    _tasks: JoinSet<()>,
}

impl Server {
    async fn start<const N: usize>(answers: [(&str, Bytes); N]) -> Server {
        let answers: HashMap<String, Bytes> = answers.map(|(asked, answer)| (asked.to_owned(), answer)).into();
        let answers = Arc::new(answers);
        let log = Arc::new(Log::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut tasks = JoinSet::new();
        let logged = log.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (answers, log) = (answers.clone(), logged.clone());
                let service = service_fn(move |request| answer(request, answers.clone(), log.clone()));
                connections.spawn(async move {
                    // A client that goes away is no failure of the server's.
                    let _ =
                        auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Server { address, log, _tasks: tasks }
    }

    fn client(&self, path: &str) -> Client {
        let target = format!("http://{}{path}", self.address).parse().expect("a URL");
        Client::new(target, &TlsOptions::default()).expect("a client")
    }

    fn seen(&self) -> Vec<(String, String)> {
        self.log.seen.lock().expect("no one panicked").clone()
    }
}

async fn answer(
    request: http::Request<Incoming>,
    answers: Arc<HashMap<String, Bytes>>,
    log: Arc<Log>,
) -> Result<Response<impl hyper::body::Body<Data = Bytes, Error = Infallible>>, Infallible> {
    let asked = format!("{} {}", request.method(), request.uri().path());
    let key = request.headers().get("authorization").map_or("", |value| value.to_str().expect("text")).to_owned();
    let grpc = request.version() == http::Version::HTTP_2;
    let body = request.into_body().collect().await.expect("a whole request").to_bytes();
    log.bodies.lock().expect("no one panicked").push(body);
    let found = answers.get(&asked);
    log.seen.lock().expect("no one panicked").push((asked, key));
    let mut trailers = HeaderMap::new();
    if grpc {
        trailers.insert("grpc-status", HeaderValue::from_static(if found.is_some() { "0" } else { "5" }));
        trailers.insert("grpc-message", HeaderValue::from_static("not%20here"));
    }
    let body = match found {
        Some(body) => body.clone(),
        None if grpc => Bytes::new(),
        None => Bytes::from_static(br#"{"error":"not here"}"#),
    };
    let status = if found.is_some() || grpc { 200 } else { 404 };
    let body = Full::new(body).with_trailers(async move { Some(Ok(trailers)).filter(|_| grpc) });
    Ok(Response::builder().status(status).body(body).expect("a response"))
}

async fn build(client: &Client, protocol: Protocol, flags: &[&str]) -> Result<Workload, String> {
    #[derive(Parser)]
    struct Flags {
        #[arg(long)]
        model: Option<String>,
        #[command(flatten)]
        payload: PayloadOptions,
    }
    let Flags { model, payload } = Flags::try_parse_from(["loadtest"].iter().chain(flags)).expect("flags");
    let ask = Ask {
        protocol,
        model: model.as_deref(),
        version: None,
        payload: &payload,
        expect: &[],
        think: Duration::ZERO,
        sizes: vec![],
    };
    workload::build(ask, client).await.map_err(|error| error.to_string())
}

fn json(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[tokio::test]
async fn the_one_model_is_found_and_described_with_the_users_own_headers() {
    let server = Server::start([
        ("GET /v2/models", json(r#"{"models":["digits"]}"#)),
        ("GET /v2/models/digits", json(METADATA)),
    ])
    .await;
    let flags = ["-H", "authorization: Bearer sesame", "--rows", "3", "--distinct", "2"];
    let workload = build(&server.client(""), Protocol::V2Binary, &flags).await.unwrap();
    assert_eq!(workload.summary.model.as_deref(), Some("digits"));
    assert_eq!(workload.requests().len(), 2);
    let request = workload.request(0, 0);
    assert_eq!(
        (request.path.as_str(), request.headers["authorization"].to_str().unwrap()),
        ("/v2/models/digits/infer", "Bearer sesame")
    );
    let asked = |text: &str| (text.to_owned(), "Bearer sesame".to_owned());
    assert_eq!(server.seen(), [asked("GET /v2/models"), asked("GET /v2/models/digits")]);
}

#[tokio::test]
async fn a_server_with_an_index_alone_is_asked_for_that() {
    let server = Server::start([
        ("POST /v2/repository/index", json(r#"[{"name":"digits","version":"1","state":"READY"}]"#)),
        ("GET /v2/models/digits", json(METADATA)),
    ])
    .await;
    let workload = build(&server.client(""), Protocol::V2, &[]).await.unwrap();
    assert_eq!(workload.summary.model.as_deref(), Some("digits"));
}

#[tokio::test]
async fn grpc_is_asked_over_grpc() {
    let index = oip::repository_index_response::ModelIndex { name: "digits".to_owned(), ..Default::default() };
    let image = oip::model_metadata_response::TensorMetadata {
        name: "image".to_owned(),
        datatype: "UINT8".to_owned(),
        shape: vec![-1, 64],
    };
    let metadata = oip::ModelMetadataResponse { inputs: vec![image], ..Default::default() };
    let server = Server::start([
        (
            "POST /inference.GRPCInferenceService/RepositoryIndex",
            framed(&oip::RepositoryIndexResponse { models: vec![index] }).unwrap(),
        ),
        ("POST /inference.GRPCInferenceService/ModelMetadata", framed(&metadata).unwrap()),
    ])
    .await;
    let workload = build(&server.client(""), Protocol::Grpc, &["--rows", "2"]).await.unwrap();
    let message: oip::ModelInferRequest = prost::Message::decode(&workload.request(0, 0).body[5..]).unwrap();
    assert_eq!((message.model_name.as_str(), message.inputs[0].shape.as_slice()), ("digits", &[2, 64][..]));
    assert_eq!(message.raw_input_contents[0].len(), 128);
}

#[tokio::test]
async fn openai_is_asked_below_the_targets_path_and_conversations_go_on() {
    let server = Server::start([
        ("GET /openai/v1/models", json(r#"{"object":"list","data":[{"id":"llm"}]}"#)),
        ("POST /openai/v1/chat/completions", json(r#"{"choices":[{"message":{"role":"assistant","content":"A"}}]}"#)),
    ])
    .await;
    let client = server.client("/openai");
    let workload = build(&client, Protocol::Chat, &["--turns", "2", "--prompt-words", "3"]).await.unwrap();
    let mut drivers = JoinSet::new();
    let mut connection = client.connect(Protocol::Chat, &mut drivers).await.unwrap();
    let first = workload.request(0, 0);
    let answer = connection.call(&first, first.wants_body()).await.result.unwrap();
    assert_eq!(workload.judge(&first, &answer, &mut Samples::default()), Outcome::Ok);
    let second = workload.next(&first, &answer).unwrap().request;
    let body: serde_json::Value = serde_json::from_slice(&second.body).unwrap();
    assert_eq!((body["model"].as_str(), body["messages"][1]["content"].as_str()), (Some("llm"), Some("A")));
    let answer = connection.call(&second, second.wants_body()).await.result.unwrap();
    assert_eq!(workload.judge(&second, &answer, &mut Samples::default()), Outcome::Ok);
    assert!(workload.next(&second, &answer).is_none());
}

struct Nobody;

impl Observer for Nobody {
    fn begins(&mut self, _: &Begin<'_>) {}
    fn window(&mut self, _: &Window, _: Option<f64>) {}
    fn ends(&mut self, _: &Run) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_ask_other_prompts_than_those_before_and_two_servers_in_turn_the_same() {
    let answer = json(r#"{"choices":[{"message":{"role":"assistant","content":"A"}}]}"#);
    let a = Server::start([("POST /v1/chat/completions", answer.clone())]).await;
    let b = Server::start([("POST /v1/chat/completions", answer)]).await;
    let workload = build(&a.client(""), Protocol::Chat, &["--model", "m", "--prompt-words", "8"]).await.unwrap();
    let workload = Arc::new(workload);
    let clients = [a.client(""), b.client("")];
    tokio::task::spawn_blocking(move || {
        let mut engines = clients.map(|client| {
            let (workload, timeout) = (workload.clone(), Duration::from_secs(30));
            let (connections, slo, stop) = (None, None, Stop::default());
            let setup = Setup { client, workload, threads: 1, most_in_flight: 4, connections, timeout, slo, stop };
            Engine::start(setup).unwrap()
        });
        let load = Load::Closed { callers: 4, think: Duration::ZERO };
        let span = Span { warmup: Warmup::For(Duration::ZERO), until: Until::Requests(50) };
        for _ in 0..3 {
            for engine in &mut engines {
                assert_eq!(engine.run(&load, &span, None, &mut Nobody).unwrap().outcomes.ok, 50);
            }
        }
    })
    .await
    .unwrap();
    let asked = |server: &Server| -> HashSet<Bytes> {
        let bodies = server.log.bodies.lock().unwrap();
        assert_eq!(bodies.len(), 150);
        bodies.iter().cloned().collect()
    };
    let (of_a, of_b) = (asked(&a), asked(&b));
    assert_eq!(of_a.len(), 150, "no prompt comes twice");
    // Callers that are quicker than others ask more of theirs, so the last few may differ.
    assert!(of_a.intersection(&of_b).count() > 75, "a pair is asked the same");
}

#[tokio::test]
async fn what_the_server_does_not_tell_is_an_error_that_says_what_to_give() {
    let server = Server::start([("GET /v2/models", json(r#"{"models":["b","a"]}"#))]).await;
    let client = server.client("");
    for (protocol, flags, text) in [
        (Protocol::V2, &[][..], "the server has several models: choose one of a, b with --model"),
        (Protocol::V1, &[], "the server does not list its models: 404 (not here): give one with --model"),
        (Protocol::Grpc, &[], "the server does not list its models: grpc 5 (not here): give one with --model"),
        (
            Protocol::V1,
            &["--model", "a"],
            "no metadata of model 'a': 404 (not here): check --model, or give the body of a request with --body",
        ),
    ] {
        assert_eq!(build(&client, protocol, flags).await.unwrap_err(), text, "{protocol}");
    }
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = Client::new(format!("http://{closed}").parse().unwrap(), &TlsOptions::default()).unwrap();
    let error = build(&client, Protocol::V2, &["--model", "a"]).await.unwrap_err();
    let begin = format!("can't ask http://{closed}/v2/models/a what there is to load: can't connect");
    assert!(error.starts_with(&begin), "{error}");
}
