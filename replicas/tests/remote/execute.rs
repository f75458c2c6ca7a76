//! Batches on servers that behave, and on some that don't.

use std::sync::Arc;
use std::time::Duration;

use http::Response;
use weirgate_protocol::{Datatype, InferRequest, RetryClass, Shape, Tensor};
use weirgate_replicas::remote::{Conduct, FaultKind};
use weirgate_replicas::{Described, Remote};

use crate::jobs::{answers, bound, instances_job, job, numbers};
use crate::model::{NOTHING, REFUSED, Speaks, serve, serve_instances, spec};
use crate::server::{Body, Server, answer};

const ALL: Speaks = Speaks { v1: true, v2: true, binary: true, grpc: true };

fn described(speaks: Speaks) -> Described {
    let Speaks { v1, v2, binary, grpc } = speaks;
    Described { v1, v2, binary, grpc, ..Described::default() }
}

/// Every protocol by itself, and the address to speak it at.
fn protocols() -> [(Speaks, &'static str, &'static str); 4] {
    [
        (Speaks { v2: true, binary: true, ..NOTHING }, "http", "/v2/models/m/infer"),
        (Speaks { v2: true, ..NOTHING }, "http", "/v2/models/m/infer"),
        (Speaks { grpc: true, ..NOTHING }, "grpc", "/inference.GRPCInferenceService/ModelInfer"),
        (Speaks { v1: true, ..NOTHING }, "http", "/v1/models/m:predict"),
    ]
}

async fn doubler(speaks: Speaks, scheme: &str) -> (Server, Arc<Remote>) {
    let server = Server::start(move |request| serve(speaks, &request)).await;
    let remote = server.remote(scheme);
    remote.describe(described(speaks));
    (server, remote)
}

#[tokio::test]
async fn a_batch_is_one_exchange_and_each_caller_gets_its_rows() {
    for (speaks, scheme, path) in protocols() {
        let (server, remote) = doubler(speaks, scheme).await;
        let (first, a) = job(&spec(), &[[1, 2], [3, 4]], &[]);
        let (second, b) = job(&spec(), &[[5, 6]], &["same", "double"]);
        let (third, c) = job(&spec(), &[[7, 8]], &["double"]);
        let executed = remote.execute(vec![first, second, third]).await;
        assert_eq!((executed.conduct, executed.unanswered.len()), (Conduct::Answered, 0), "{path}");
        let report = executed.report;
        assert_eq!((report.rows, report.bytes, report.runs, report.answered.calls), (4, 32, 1, 3));
        assert!(report.engine.is_some());
        let got = answers(executed, vec![a, b, c]).await;
        let all: Vec<Vec<Vec<i32>>> =
            got.into_iter().map(|outputs| outputs.unwrap().iter().map(numbers).collect()).collect();
        assert_eq!(all[0], [[2, 4, 6, 8], [1, 2, 3, 4]]);
        assert_eq!(all[1], [[5, 6], [10, 12]]);
        assert_eq!(all[2], [[14, 16]]);
        assert_eq!(server.count(path), 1, "{path}");
    }
}

#[tokio::test]
async fn a_wrong_call_fails_alone_in_the_servers_words() {
    for (speaks, scheme, path) in protocols() {
        let (server, remote) = doubler(speaks, scheme).await;
        let (good, a) = job(&spec(), &[[1, 2]], &["double"]);
        let (wrong, b) = job(&spec(), &[[REFUSED, 2]], &["double"]);
        let executed = remote.execute(vec![good, wrong]).await;
        assert_eq!(executed.conduct, Conduct::Answered, "the server is not to blame");
        assert_eq!((executed.report.runs, executed.report.engine), (3, None));
        let got = answers(executed, vec![a, b]).await;
        assert_eq!(numbers(&got[0].as_ref().unwrap()[0]), [2, 4]);
        let error = got[1].as_ref().unwrap_err();
        assert_eq!((error.row().http, error.message()), (400, "13 brings bad luck"), "{path}");
        assert_eq!(server.count(path), 3);
    }
}

/// What became of two calls, by a server that always answers so.
async fn two_calls(
    speaks: Speaks,
    respond: impl Fn() -> Response<Body> + Send + Sync + 'static,
) -> (Conduct, Vec<weirgate_protocol::Error>, usize) {
    let server = Server::start(move |_| respond()).await;
    let remote = server.remote("http");
    remote.describe(described(speaks));
    let (first, a) = job(&spec(), &[[1, 2]], &["double"]);
    let (second, b) = job(&spec(), &[[3, 4]], &["double"]);
    let executed = remote.execute(vec![first, second]).await;
    assert!(executed.unanswered.is_empty());
    let conduct = executed.conduct;
    let errors = answers(executed, vec![a, b]).await.into_iter().map(|answer| answer.unwrap_err()).collect();
    let asked = server.asked.lock().len();
    (conduct, errors, asked)
}

const V2: Speaks = Speaks { v2: true, ..NOTHING };
const V1: Speaks = Speaks { v1: true, ..NOTHING };

#[tokio::test]
async fn a_failing_or_overloaded_server_is_asked_once() {
    let (conduct, errors, asked) = two_calls(V2, || answer(500, r#"{"error":"out of memory"}"#)).await;
    assert_eq!((conduct, asked), (Conduct::Failed, 1));
    assert!(errors.iter().all(|error| error.row().http == 502 && error.message().contains("out of memory")));
    assert!(errors.iter().all(|error| error.retry_class() == RetryClass::MayHaveExecuted));
    let (conduct, errors, asked) = two_calls(V2, || {
        let mut busy = answer(429, r#"{"error":"busy"}"#);
        busy.headers_mut().insert("retry-after", "3".parse().unwrap());
        busy
    })
    .await;
    let retry_after = Some(Duration::from_secs(3));
    assert_eq!((conduct, asked), (Conduct::Overloaded { retry_after }, 1));
    assert!(errors.iter().all(|error| error.row().http == 429 && error.retry_after() == retry_after));
}

#[tokio::test]
async fn what_is_no_answer_is_the_servers_fault_and_not_repeated() {
    let tensor = |name: &str, shape: &str, data: &str| {
        format!(r#"{{"outputs":[{{"name":"{name}","datatype":"INT32","shape":{shape},"data":{data}}}]}}"#)
    };
    let hostile = [
        (V2, String::new()),
        (V2, "<html>".to_owned()),
        (V2, "[]".to_owned()),
        (V2, r#"{"outputs":7}"#.to_owned()),
        (V2, r#"{"outputs":[]}"#.to_owned()),
        (V2, tensor("other", "[2,2]", "[1,2,3,4]")),
        // Too few rows, too many, none at all, and a shape that lies.
        (V2, tensor("double", "[1,2]", "[1,2]")),
        (V2, tensor("double", "[3,2]", "[1,2,3,4,5,6]")),
        (V2, tensor("double", "[]", "[1]")),
        (V2, tensor("double", "[2,2]", "[1,2]")),
        (V2, tensor("double", "[4294967296,4294967296]", "[1,2]")),
        (V1, r#"{"predictions":[[1,2]]}"#.to_owned()),
        (V1, r#"{"predictions":[{"double":[1,2],"same":[1,2]}]}"#.to_owned()),
        (V1, r#"{"error":"none"}"#.to_owned()),
    ];
    for (speaks, body) in hostile {
        let (shown, body) = (body.clone(), body);
        let (conduct, errors, asked) = two_calls(speaks, move || answer(200, body.clone())).await;
        assert_eq!((conduct, asked), (Conduct::Failed, 1), "{shown}");
        for error in errors {
            assert_eq!((error.row().http, error.retry_class()), (502, RetryClass::MayHaveExecuted), "{shown}");
            assert!(error.message().starts_with("the server's answer can't be used: "), "{error}");
        }
    }
}

#[tokio::test]
async fn rows_of_json_share_a_run_as_they_are() {
    let server = Server::start(|request| serve_instances(&request)).await;
    let remote = server.remote("http");
    remote.describe(described(V1));
    let (first, a) = instances_job(r#"{"instances":[{"a":1.50},"x"]}"#);
    let (second, b) = instances_job(r#"{"instances":[null]}"#);
    let got = answers(remote.execute(vec![first, second]).await, vec![a, b]).await;
    let written = |outputs: &[Tensor]| {
        let response = weirgate_protocol::InferResponse { outputs: outputs.to_vec(), ..Default::default() };
        weirgate_protocol::v1::instances::encode_response(&response).unwrap()
    };
    assert_eq!(written(got[0].as_ref().unwrap()), r#"{"predictions":[{"a":1.50},"x"]}"#);
    assert_eq!(written(got[1].as_ref().unwrap()), r#"{"predictions":[null]}"#);
    assert_eq!(server.count("/v1/models/m:predict"), 1);
}

#[tokio::test]
async fn predictions_that_are_not_as_many_as_instances_are_an_error_of_both() {
    let server = Server::start(|_| answer(200, r#"{"predictions":[1]}"#)).await;
    let remote = server.remote("http");
    remote.describe(described(V1));
    let (first, a) = instances_job(r#"{"instances":[1]}"#);
    let (second, b) = instances_job(r#"{"instances":[2]}"#);
    for answer in answers(remote.execute(vec![first, second]).await, vec![a, b]).await {
        let error = answer.unwrap_err();
        assert_eq!(error.row().http, 502);
        assert!(error.message().contains("remove 'batcher'"), "{error}");
    }
    assert_eq!(server.asked.lock().len(), 1);
}

#[tokio::test]
async fn what_was_not_executed_goes_back() {
    let server = Server::start(|request| serve(ALL, &request)).await;
    let remote = server.remote("http");
    remote.describe(described(ALL));
    drop(server);
    let (first, _a) = job(&spec(), &[[1, 2]], &[]);
    let executed = remote.execute(vec![first]).await;
    assert_eq!((executed.conduct, executed.finished.len()), (Conduct::NotExecuted, 0));
    let (_, fault) = &executed.unanswered[0];
    assert_eq!(fault.kind, FaultKind::Connect);
    assert!(fault.not_executed());
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_ends_its_exchange() {
    let server = Server::start_slow(|_| Box::pin(std::future::pending())).await;
    let remote = server.remote("http");
    remote.describe(described(V2));
    let (first, a) = job(&spec(), &[[1, 2]], &[]);
    let (second, b) = job(&spec(), &[[1, 2]], &[]);
    let leave = async {
        while server.asked.lock().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(a);
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(b);
    };
    let (executed, ()) = tokio::join!(remote.execute(vec![first, second]), leave);
    assert_eq!((executed.conduct, executed.finished.len()), (Conduct::Cancelled, 2));
    // One that has left before costs no exchange.
    let (third, c) = job(&spec(), &[[1, 2]], &[]);
    drop(c);
    assert_eq!(remote.execute(vec![third]).await.finished.len(), 1);
    assert_eq!(server.asked.lock().len(), 1);
}

#[tokio::test]
async fn a_server_that_is_too_slow_has_failed() {
    let server = Server::start_slow(|_| Box::pin(std::future::pending())).await;
    let remote = server.remote("http");
    remote.describe(described(V2));
    let x = Tensor::new("x", Datatype::Int32, Shape::from_slice(&[1, 2]), vec![0; 8].into()).unwrap();
    let request = InferRequest { inputs: vec![x], ..InferRequest::default() };
    let (slow, a) = bound(&spec(), request, Duration::from_millis(100));
    let executed = remote.execute(vec![slow]).await;
    assert_eq!(executed.conduct, Conduct::Failed);
    let error = answers(executed, vec![a]).await.remove(0).unwrap_err();
    assert_eq!((error.row().http, error.retry_class()), (504, RetryClass::MayHaveExecuted));
}

#[tokio::test]
async fn the_deadline_and_a_lone_calls_id_go_along() {
    let server = Server::start(|request| {
        let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let left: f64 = header("x-request-timeout-seconds").unwrap().parse().unwrap();
        assert!((1.0..=60.0).contains(&left), "{left}");
        assert_eq!(header("x-request-id").as_deref(), Some("id-1"));
        serve(V2, &request)
    });
    let server = server.await;
    let remote = server.remote("http");
    remote.describe(described(V2));
    let (call, a) = job(&spec(), &[[1, 2]], &[]);
    assert!(answers(remote.execute(vec![call]).await, vec![a]).await[0].is_ok());
}

#[tokio::test]
async fn a_server_is_asked_by_the_name_that_it_knows() {
    let server = Server::start(|_| answer(503, "")).await;
    let remote = server.remote("http");
    remote.describe(Described { name: Some("other/name".into()), ..described(V2) });
    let (call, _a) = job(&spec(), &[[1, 2]], &[]);
    remote.execute(vec![call]).await;
    assert_eq!(server.count("/v2/models/other%2Fname/infer"), 1);
}
