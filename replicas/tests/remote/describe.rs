//! What servers are found to speak.

use std::time::Duration;

use http::Response;
use weirgate_protocol::Protocol;
use weirgate_replicas::Described;
use weirgate_replicas::remote::describe::describe;

use crate::model::{NOTHING, Speaks, serve, serve_instances, spec};
use crate::server::{Body, Server, answer, not_found};

const PATIENCE: Duration = Duration::from_secs(20);

fn nothing() -> Described {
    Described { name: Some("m".into()), ..Described::default() }
}

#[tokio::test]
async fn a_server_is_described_in_all_that_it_speaks() {
    let speaks = Speaks { v1: true, v2: true, binary: true, grpc: true };
    let server = Server::start(move |request| serve(speaks, &request)).await;
    let described = describe(&server.transport("h2c"), "m", None, PATIENCE).await.unwrap();
    assert!(described.v1 && described.v2 && described.grpc && described.binary);
    assert_eq!(described.openai, None);
    assert_eq!(described.model.unwrap().newest(), &spec());
    // Over HTTP/1.1 there is no gRPC.
    let described = describe(&server.transport("http"), "m", None, PATIENCE).await.unwrap();
    assert!(described.v2 && !described.grpc);
}

#[tokio::test]
async fn grpc_alone_is_described_too() {
    let server = Server::start(|request| serve(Speaks { grpc: true, ..NOTHING }, &request)).await;
    for scheme in ["grpc", "h2c"] {
        let described = describe(&server.transport(scheme), "m", None, PATIENCE).await.unwrap();
        assert!(described.grpc && !described.v2 && !described.v1);
        assert_eq!(described.model.unwrap().newest(), &spec());
    }
}

#[tokio::test]
async fn a_v1_server_says_nothing_of_its_model() {
    let server = Server::start(|request| serve_instances(&request)).await;
    let described = describe(&server.transport("http"), "m", None, PATIENCE).await.unwrap();
    assert_eq!(described, Described { v1: true, ..nothing() });
}

#[tokio::test]
async fn openai_routes_are_found_where_they_begin() {
    for (path, begin) in [("/v1/models", "/v1"), ("/openai/v1/models", "/openai/v1")] {
        let list = r#"{"object":"list","data":[{"id":"other","object":"model"}]}"#;
        let server =
            Server::start(move |request| if request.uri().path() == path { answer(200, list) } else { not_found() });
        let described = describe(&server.await.transport("http"), "m", None, PATIENCE).await.unwrap();
        assert_eq!(described, Described { openai: Some(begin), ..nothing() });
    }
}

#[tokio::test]
async fn a_list_of_models_is_not_believed_against_what_is_said_of_the_model_itself() {
    let list = r#"{"object":"list","data":[{"id":"m","object":"model"}]}"#;
    for (status, said) in [(404, r#"{"error":"model 'm' is not served here"}"#), (503, r#"{"error":"it loads"}"#)] {
        let server = Server::start(move |request| match request.uri().path() {
            "/v1/models" => answer(200, list),
            _ => answer(status, said),
        });
        let error = describe(&server.await.transport("http"), "m", None, PATIENCE).await.unwrap_err();
        assert!(error.contains("it lists models"), "{error}");
    }
    // llama.cpp's answer to a route that it has not.
    let server = Server::start(move |request| match request.uri().path() {
        "/v1/models" => answer(200, list),
        _ => answer(404, r#"{"error":{"code":404,"message":"File Not Found","type":"not_found_error"}}"#),
    });
    let described = describe(&server.await.transport("http"), "m", None, PATIENCE).await.unwrap();
    assert_eq!(described, Described { openai: Some("/v1"), ..nothing() });
}

#[tokio::test]
async fn every_version_is_described_and_the_largest_answers() {
    let server = Server::start(|request| match request.uri().path() {
        "/v2/models/m/ready" => answer(200, ""),
        "/v2/models/m" | "/v2/models/m/versions/9" | "/v2/models/m/versions/10" => {
            answer(200, weirgate_protocol::v2::model_metadata("m", &["9", "10", "11"], &spec()))
        }
        // Listed, and not loaded.
        _ => answer(404, r#"{"error":"version is not ready"}"#),
    });
    let described = describe(&server.await.transport("http"), "m", None, PATIENCE).await.unwrap();
    let model = described.model.unwrap();
    assert_eq!(model.versions(), ["9", "10"]);
    assert_eq!(model.newest().version.as_deref(), Some("10"));
}

async fn refusal(answer: impl Fn(&str) -> Response<Body> + Send + Sync + 'static) -> String {
    let server = Server::start(move |request| answer(request.uri().path())).await;
    describe(&server.transport("http"), "m", None, PATIENCE).await.unwrap_err()
}

#[tokio::test]
async fn what_speaks_nothing_is_told_with_what_it_said() {
    let error = refusal(|_| not_found()).await;
    for part in
        ["model 'm' is not ready: ", "V2: GET /v2/models/m/ready answered 404 Not Found: Not Found", "V1: ", "OpenAI: "]
    {
        assert!(error.contains(part), "{error}");
    }
    let error = refusal(|_| answer(503, r#"{"error":"the model loads"}"#)).await;
    assert!(error.contains("answered 503 Service Unavailable: the model loads"), "{error}");
    let error = refusal(|_| answer(200, "<html>welcome</html>")).await;
    assert!(error.contains("answered something else"), "{error}");
    let error = refusal(|_| answer(200, vec![b' '; 2 << 20])).await;
    assert!(error.contains("more than 1048576 bytes"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_there_or_says_nothing_is_not_ready() {
    let server = Server::start_slow(|_| Box::pin(std::future::pending())).await;
    let transport = server.transport("http");
    let error = describe(&transport, "m", None, Duration::from_millis(50)).await.unwrap_err();
    assert!(error.contains("no answer in 50ms"), "{error}");
    drop(server);
    let error = describe(&transport, "m", None, PATIENCE).await.unwrap_err();
    let said = format!("can't connect to {}: ", transport.address().unwrap());
    assert!(error.starts_with(&said) && !error.contains("V2"), "once for all protocols: {error}");
}

#[tokio::test]
async fn the_manifests_word_counts_where_a_server_knows_no_question() {
    let only_predicts = Server::start(|_| not_found()).await;
    let transport = only_predicts.transport("http");
    let described = describe(&transport, "m", Some(&[Protocol::V1Http]), PATIENCE).await.unwrap();
    assert_eq!(described, Described { v1: true, ..nothing() });
    // But not against the server's own.
    let server = Server::start(|_| answer(404, r#"{"error":"no model with name m"}"#)).await;
    let error = describe(&server.transport("http"), "m", Some(&[Protocol::V1Http]), PATIENCE).await.unwrap_err();
    assert!(error.contains("no model with name m"), "{error}");
    // Each that is named must be spoken.
    let server = Server::start(|request| match request.uri().path() {
        "/v1/models" => answer(503, ""),
        _ => serve(Speaks { v2: true, ..NOTHING }, &request),
    });
    let both = [Protocol::V2Http, Protocol::OpenAi];
    let error = describe(&server.await.transport("http"), "m", Some(&both), PATIENCE).await.unwrap_err();
    assert!(error.contains("OpenAI: GET /v1/models answered 503") && !error.contains("V2:"), "{error}");
}

#[tokio::test]
async fn names_are_escaped() {
    let server = Server::start(|_| not_found()).await;
    let _ = describe(&server.transport("http"), "a/b?c", None, PATIENCE).await.unwrap_err();
    assert_eq!(server.count("/v2/models/a%2Fb%3Fc/ready"), 1);
}
