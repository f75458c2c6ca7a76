//! Calls for servers that don't say what their model takes, and what goes along with a call's tensors.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use parking_lot::Mutex;
use prost::Message;
use weirgate_protocol::{
    Datatype, Extras, InferRequest, ModelSpec, Parameter, RequestedOutput, Shape, Tensor, given, oip, v2,
};
use weirgate_replicas::remote::Conduct;
use weirgate_replicas::{Along, Described, Job, Parts, Remote};

use crate::jobs::{answers, bound, numbers};
use crate::model::{LENGTH, NOTHING, Speaks, serve, spec};
use crate::server::{Server, answer};

fn request(outputs: &[&str]) -> InferRequest {
    let data: Vec<u8> = [1i32, 2, 3, 4].iter().flat_map(|number| number.to_le_bytes()).collect();
    let x = Tensor::new("x", Datatype::Int32, Shape::from_slice(&[2, 2]), data.into()).unwrap();
    let outputs = outputs.iter().map(|&name| RequestedOutput { name: name.into(), binary: None }).collect();
    InferRequest { inputs: vec![x], outputs, ..InferRequest::default() }
}

fn job(spec: &Arc<ModelSpec>, outputs: &[&str], along: Along) -> (Job, Parts) {
    let (mut job, parts) = bound(spec, request(outputs), Duration::from_secs(60));
    job.along = along;
    (job, parts)
}

/// Decodes what a server was sent by V2.
fn read(request: &Request<Bytes>) -> InferRequest {
    if request.uri().path().starts_with("/inference.") {
        let message = oip::ModelInferRequest::decode(request.body().slice(5..)).unwrap();
        return oip::decode_request(message).unwrap().0;
    }
    let length = request.headers().get(LENGTH).map(|length| length.to_str().unwrap());
    v2::decode_request(request.body(), length).unwrap()
}

/// A server that doubles, and what it was last asked by V2.
async fn doubler(speaks: Speaks, scheme: &str) -> (Server, Arc<Remote>, Arc<Mutex<Option<InferRequest>>>) {
    let last = Arc::new(Mutex::new(None));
    let seen = last.clone();
    let server = Server::start(move |request| {
        if !speaks.v1 {
            *seen.lock() = Some(read(&request));
        }
        serve(speaks, &request)
    })
    .await;
    let remote = server.remote(scheme);
    let Speaks { v1, v2, binary, grpc } = speaks;
    remote.describe(Described { v1, v2, binary, grpc, ..Described::default() });
    (server, remote, last)
}

const V2: [(Speaks, &str); 3] = [
    (Speaks { v2: true, binary: true, ..NOTHING }, "http"),
    (Speaks { v2: true, ..NOTHING }, "http"),
    (Speaks { grpc: true, ..NOTHING }, "grpc"),
];

#[tokio::test]
async fn a_call_of_v2_needs_nobody_who_knows_the_model() {
    for (speaks, scheme) in V2 {
        let (_server, remote, last) = doubler(speaks, scheme).await;
        let (all, a) = job(&given::spec(""), &[], Along::default());
        let (one, b) = job(&given::spec(""), &["same"], Along::default());
        let executed = remote.execute(vec![all, one]).await;
        assert_eq!((executed.conduct, executed.unanswered.len()), (Conduct::Answered, 0));
        let got = answers(executed, vec![a, b]).await;
        let names = |outputs: &[Tensor]| outputs.iter().map(|output| output.name.to_string()).collect::<Vec<_>>();
        let (all, one) = (got[0].as_ref().unwrap(), got[1].as_ref().unwrap());
        assert_eq!(
            (names(all), numbers(&all[0])),
            (vec!["double".into(), "same".into()], vec![2, 4, 6, 8]),
            "{scheme}"
        );
        assert_eq!((names(one), numbers(&one[0])), (vec!["same".into()], vec![1, 2, 3, 4]));
        let asked = last.lock().take().unwrap();
        assert_eq!(asked.outputs.len(), 1, "the server is told what is asked for");
    }
}

#[tokio::test]
async fn a_missing_output_is_told_by_its_name() {
    let (_server, remote, _) = doubler(V2[0].0, "http").await;
    let (call, a) = job(&given::spec(""), &["other"], Along::default());
    let error = answers(remote.execute(vec![call]).await, vec![a]).await.remove(0).unwrap_err();
    assert!(error.row().http == 502 && error.message().contains("it has no output 'other'"), "{error}");
}

#[tokio::test]
async fn rows_of_v1_are_written_and_its_answers_are_read_as_they_look() {
    let speaks = Speaks { v1: true, ..NOTHING };
    let (_server, remote, _) = doubler(speaks, "http").await;
    let (call, a) = job(&given::spec(""), &["same", "double"], Along::default());
    let got = answers(remote.execute(vec![call]).await, vec![a]).await.remove(0).unwrap();
    let same = &got[0];
    assert_eq!((&*same.name, same.datatype, &same.shape[..]), ("same", Datatype::Int64, &[2, 2][..]));
    assert_eq!(same.data, [1i64, 2, 3, 4].map(i64::to_le_bytes).concat());
    assert_eq!(&*got[1].name, "double");
    // What has no name is what is asked for, where that is one.
    for (asked, name) in [(&[][..], "output-0"), (&["y"], "y")] {
        let server = Server::start(|request| {
            assert_eq!(request.uri().path(), "/v1/models/m/versions/7:predict");
            assert_eq!(request.body(), r#"{"instances":[[1,2],[3,4]]}"#);
            answer(200, r#"{"predictions":[0.5,1]}"#)
        })
        .await;
        let remote = server.remote("http");
        remote.describe(Described { v1: true, ..Described::default() });
        let (mut request, timeout) = (request(asked), Duration::from_secs(60));
        let (work, payload) = given::spec("7").bind(&mut request, true).unwrap();
        let (like, _parts) = bound(&given::spec(""), super::given::request(asked), timeout);
        let call = weirgate_protocol::Call { work, payload, ..like.call };
        let (call, a) = Job::new(call, std::time::Instant::now());
        let got = answers(remote.execute(vec![call]).await, vec![a]).await.remove(0).unwrap();
        assert_eq!((&*got[0].name, got[0].datatype, &got[0].shape[..]), (name, Datatype::Fp64, &[2][..]));
    }
}

fn along() -> Along {
    let extras = Extras {
        request: vec![("temperature".into(), Parameter::Double(0.5))],
        inputs: vec![("x".into(), vec![("content_type".into(), Parameter::Text("np".to_owned()))])],
        ..Extras::default()
    };
    Along { id: Some("mine".to_owned()), extras: Some(Box::new(extras)), via: None }
}

#[tokio::test]
async fn ids_and_parameters_go_along_with_a_call_that_goes_alone() {
    for (speaks, scheme) in V2 {
        for spec in [spec(), given::spec("")] {
            let (_server, remote, last) = doubler(speaks, scheme).await;
            let (call, a) = job(&spec, &[], along());
            assert!(answers(remote.execute(vec![call]).await, vec![a]).await[0].is_ok());
            let asked = last.lock().take().unwrap();
            assert_eq!((asked.id.as_deref(), &asked.extras), (Some("mine"), &along().extras), "{scheme}");
            // Without an id of its own, it has that of the request.
            let (call, a) = job(&spec, &[], Along::default());
            assert!(answers(remote.execute(vec![call]).await, vec![a]).await[0].is_ok());
            assert_eq!(last.lock().take().unwrap().id.as_deref(), Some("id-1"));
        }
        // Several share an exchange, and no id.
        let (_server, remote, last) = doubler(speaks, scheme).await;
        let of = |id: &str| Along { id: Some(id.to_owned()), ..Along::default() };
        let ((one, a), (other, b)) = (job(&spec(), &[], of("1")), job(&spec(), &[], of("2")));
        assert!(answers(remote.execute(vec![one, other]).await, vec![a, b]).await.iter().all(Result::is_ok));
        assert_eq!(last.lock().take().unwrap().id, None);
    }
}

#[tokio::test]
async fn what_v1_can_not_carry_is_refused_and_not_lost() {
    let (server, remote, _) = doubler(Speaks { v1: true, ..NOTHING }, "http").await;
    let (call, a) = job(&spec(), &[], along());
    let error = answers(remote.execute(vec![call]).await, vec![a]).await.remove(0).unwrap_err();
    assert!(error.row().http == 501 && error.message().contains("parameter 'temperature'"), "{error}");
    assert!(server.asked.lock().is_empty());
}

/// Where calls have come by different ways, what is written of one is not true of the other.
#[tokio::test]
async fn the_gateways_that_a_call_has_passed_go_along_and_this_one_is_added() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = seen.clone();
    let server = Server::start(move |request| {
        let passed = request.headers().get_all("x-weirgate-via").iter();
        told.lock().push(passed.map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>());
        serve(V2[0].0, &request)
    })
    .await;
    let remote = server.remote("http");
    remote.describe(Described { v2: true, binary: true, ..Described::default() });
    let of = |via: &'static str| Along { via: Some(http::HeaderValue::from_static(via)), ..Along::default() };
    let alongs = [Along::default(), of("1, 2"), of("1, 2"), of("3")];
    let (jobs, callers): (Vec<_>, Vec<_>) = alongs.into_iter().map(|along| job(&spec(), &[], along)).unzip();
    assert!(answers(remote.execute(jobs).await, callers).await.iter().all(Result::is_ok));
    let seen = seen.lock();
    let here = &seen[0][0];
    assert_eq!(here.len(), 16, "{here}");
    let expected = [vec![here.clone()], vec!["1, 2".to_owned(), here.clone()], vec!["3".to_owned(), here.clone()]];
    assert_eq!(*seen, expected);
}
