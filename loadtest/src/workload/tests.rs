//! From flags to requests, and from answers to outcomes.

use std::fs;
use std::time::Duration;

use prost::Message as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use weirgate_protocol::{Datatype, Dim, TensorSpec, oip, v2};

use super::build::{Ask, Prepared};
use super::fixtures::{answer, chat, payload, streamed};
use super::samples::Samples;
use super::{Sizes, Workload};
use crate::outcome::Outcome;
use crate::request::{Protocol, Request};

/// One input of open rows.
fn inputs() -> Vec<TensorSpec> {
    let shape = vec![Dim::Dynamic("".into()), Dim::Fixed(4)];
    vec![TensorSpec { name: "x".into(), datatype: Datatype::Fp32, shape }]
}

fn try_build(protocol: Protocol, flags: &[&str], expect: &[&str], sizes: Vec<Sizes>) -> Result<Workload, String> {
    let expect: Vec<_> = expect.iter().map(|&text| text.to_owned()).collect();
    let version = matches!(protocol, Protocol::V2 | Protocol::Grpc).then_some("3");
    let think = Duration::from_secs(2);
    let payload = payload(flags);
    let ask = Ask { protocol, model: Some("my model"), version, payload: &payload, expect: &expect, think, sizes };
    Prepared::of(ask)?.workload(inputs())
}

fn build(protocol: Protocol, flags: &[&str], expect: &[&str]) -> Workload {
    try_build(protocol, flags, expect, vec![]).unwrap()
}

fn file(folder: &TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn json_of(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

#[test]
fn random_tensors_are_distinct_and_sent_in_turn() {
    let workload = build(Protocol::V2, &["--distinct", "5", "--rows", "8", "-H", "x-user: a"], &[]);
    let requests = workload.requests();
    assert_eq!(requests.len(), 5);
    for (index, request) in requests.iter().enumerate() {
        assert_eq!((request.index, request.path.as_str()), (index, "/v2/models/my%20model/versions/3/infer"));
        assert_eq!(request.headers["x-user"], "a");
        assert_eq!(v2::decode_request(&request.body, None).unwrap().inputs[0].shape[..], [8, 4]);
        assert!(requests.iter().filter(|other| other.body == request.body).count() == 1);
        assert!(!request.wants_body());
    }
    assert_eq!(workload.request(0, 12).body, requests[2].body);
    let summary = &workload.summary;
    assert_eq!(summary.what, "random tensors from the server's metadata: x [8, 4]");
    let bytes: usize = requests.iter().map(|request| request.body.len()).sum();
    assert_eq!((summary.distinct_requests, summary.mean_bytes), (Some(5), bytes as f64 / 5.0));
    let v1 = build(Protocol::V1, &["--rows", "2"], &[]);
    assert_eq!(v1.requests()[0].path, "/v1/models/my%20model:predict");
    assert_eq!(json_of(&v1.requests()[0])["instances"].as_array().map(Vec::len), Some(2));
}

#[test]
fn one_file_of_v2_serves_all_of_its_forms() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"{ "inputs": [{"name":"x","datatype":"FP32","shape":[1,2],"data":[[1.5, 2]]}] }"#;
    let path = file(&folder, "a.json", text);
    let request = |protocol| build(protocol, &["--body", &path], &[]).request(0, 0);
    assert_eq!(request(Protocol::V2).body, text);
    let wanted = v2::decode_request(&text.as_bytes().to_vec().into(), None).unwrap();
    let binary = request(Protocol::V2Binary);
    let length = binary.headers["inference-header-content-length"].to_str().unwrap();
    assert_eq!(v2::decode_request(&binary.body, Some(length)).unwrap().inputs, wanted.inputs);
    let message = oip::ModelInferRequest::decode(&request(Protocol::Grpc).body[5..]).unwrap();
    assert_eq!((message.model_name.as_str(), message.model_version.as_str()), ("my model", "3"));
    assert_eq!(oip::decode_request(message).unwrap().0.inputs, wanted.inputs);
    let other = file(&folder, "b.json", r#"{"messages":[]}"#);
    let error = try_build(Protocol::Grpc, &["--body", &other], &[], vec![]).unwrap_err();
    assert!(error.contains("b.json: is not a request of V2 in JSON"), "{error}");
    let chat = build(Protocol::Chat, &["--body", &other, "--stream"], &[]).request(0, 0);
    assert!(chat.streams && json_of(&chat)["model"] == "my model");
}

#[test]
fn prompts_become_requests_and_conversations() {
    let folder = tempfile::tempdir().unwrap();
    let lines = [
        json!("one").to_string(),
        json!({ "messages": [
            { "role": "user", "content": "a" }, { "role": "assistant", "content": "recorded" },
            { "role": "user", "content": "b" },
        ], "max_tokens": 3, "expect": "bye", "temperature": 0.5 })
        .to_string(),
    ];
    let path = file(&folder, "p.jsonl", &lines.join("\n"));
    let workload = build(Protocol::Chat, &["--prompts", &path], &[]);
    assert!(workload.summary.what.ends_with("p.jsonl, of them 1 conversation"), "{}", workload.summary.what);
    assert!(workload.next(&workload.request(0, 0), &chat("A")).is_none());
    let first = workload.request(0, 1);
    assert_eq!(
        workload.judge(&first, &chat("A"), &mut Samples::default()),
        Outcome::Ok,
        "only the last answer must say bye"
    );
    let next = workload.next(&first, &chat("A")).unwrap();
    assert_eq!((next.after, next.request.index), (Duration::from_secs(2), 1));
    let body = json_of(&next.request);
    assert_eq!((body["messages"][1]["content"].as_str(), body["max_tokens"].as_u64()), (Some("A"), Some(3)));
    assert_eq!((&body["temperature"], &json_of(&first)["temperature"]), (&json!(0.5), &json!(0.5)));
    assert_eq!(workload.judge(&next.request, &chat("good bye"), &mut Samples::default()), Outcome::Ok);
    let mut samples = Samples::default();
    let wrong = workload.judge(&next.request, &chat("hello"), &mut samples);
    assert_eq!(wrong, Outcome::Wrong("does not contain 'bye'".to_owned()));
    assert_eq!(samples.into_all()[&*wrong.kind()], "got hello");

    for (protocol, line, part) in [
        (Protocol::Chat, r#"{"input":"a"}"#, "input is of embeddings, not of chat"),
        (Protocol::Embeddings, r#"{"messages":[{"role":"user","content":"a"}]}"#, "messages are of chat"),
        (Protocol::Completions, r#"{"messages":[{"role":"user","content":[]}]}"#, "a message of parts"),
        (Protocol::Chat, r#"{"body":[]}"#, "not a JSON object"),
        (Protocol::Chat, r#"{"prompt":"a","stream":true}"#, "give --stream"),
    ] {
        let path = file(&folder, "wrong.jsonl", &format!("\n{line}"));
        let error = try_build(protocol, &["--prompts", &path], &[], vec![]).unwrap_err();
        assert!(error.contains("wrong.jsonl:2: ") && error.contains(part), "{line}: {error}");
    }
}

#[test]
fn synthetic_prompts_for_each_endpoint() {
    let flags = ["--distinct", "3", "--prompt-words", "6", "--max-tokens", "9"];
    let count = |value: &Value| value.as_str().unwrap().split(' ').count();
    let chat = json_of(&build(Protocol::Chat, &flags, &[]).request(0, 0));
    assert_eq!((count(&chat["messages"][0]["content"]), chat["max_tokens"].as_u64()), (6, Some(9)));
    assert_eq!(count(&json_of(&build(Protocol::Completions, &flags, &[]).request(0, 1))["prompt"]), 6);
    assert_eq!(count(&json_of(&build(Protocol::Embeddings, &flags, &[]).request(0, 2))["input"]), 6);
    let turns = build(Protocol::Chat, &[&flags[..], &["--turns", "3", "--stream"]].concat(), &[]);
    let first = turns.request(0, 0);
    let second = turns.next(&first, &streamed("A")).unwrap().request;
    let third = turns.next(&second, &streamed("B")).unwrap().request;
    assert_eq!(json_of(&third)["messages"].as_array().map(Vec::len), Some(5));
    assert!(third.streams && turns.next(&third, &streamed("C")).is_none());
}

#[test]
fn no_prompt_is_asked_twice_unless_repetition_is_asked_for() {
    let flags = ["--prompt-words", "8", "--shared-prefix", "4", "--turns", "2"];
    let fresh = build(Protocol::Chat, &flags, &[]);
    let opening = |workload: &Workload, run, arrival| {
        let body = json_of(&workload.request(run, arrival));
        body["messages"][0]["content"].as_str().unwrap().to_owned()
    };
    let mut seen = std::collections::HashSet::new();
    for run in 0..3 {
        for arrival in 0..200 {
            assert!(seen.insert(opening(&fresh, run, arrival)), "run {run} asks {arrival} again");
        }
    }
    let begins: std::collections::HashSet<_> =
        seen.iter().map(|text| text.split(' ').take(4).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(begins.len(), 1, "all share their beginning");
    assert_eq!(opening(&fresh, 2, 7), opening(&build(Protocol::Chat, &flags, &[]), 2, 7), "one seed, one workload");
    assert!(fresh.requests().is_empty() && fresh.summary.distinct_requests.is_none());
    let first = fresh.request(0, 0);
    let second = fresh.next(&first, &chat("A")).unwrap().request;
    assert_eq!(json_of(&second)["messages"].as_array().map(Vec::len), Some(3));

    let repeated = build(Protocol::Chat, &[&flags[..], &["--distinct", "3"]].concat(), &[]);
    assert_eq!(repeated.summary.distinct_requests, Some(3));
    assert_eq!(opening(&repeated, 0, 1), opening(&repeated, 1, 4));
    let error = try_build(Protocol::Chat, &[], &["same"], vec![]).unwrap_err();
    assert!(error.contains("--expect same") && error.contains("--distinct"), "{error}");
}

#[test]
fn what_would_not_fit_in_memory_is_refused_before_it_is_made() {
    for (protocol, flags) in [
        (Protocol::Chat, &["--prompt-words", "18446744073709551615"][..]),
        (Protocol::Chat, &["--prompt-words", "1", "--shared-prefix", "1000000"]),
        (Protocol::Chat, &["--turns", "1000", "--prompt-words", "1..1001"]),
        (Protocol::Chat, &["--distinct", "1000000", "--prompt-words", "1000"]),
        (Protocol::V2, &["--rows", "1000000000"]),
        (Protocol::V2, &["--rows", "1000000", "--distinct", "1000000"]),
    ] {
        let error = try_build(protocol, flags, &[], vec![]).unwrap_err();
        assert!(
            error.contains("the limit is 1024 MiB: lower") || error.contains("the limit is 1000000: lower"),
            "{error}"
        );
    }
}

#[test]
fn a_trace_is_made_when_it_is_due() {
    let sizes = |prompt_tokens, blocks| Sizes { prompt_tokens, output_tokens: Some(4), blocks };
    let all = vec![sizes(600, vec![1]), sizes(20, vec![])];
    let workload = try_build(Protocol::Chat, &["--stream"], &["contains:x"], all).unwrap();
    assert!(workload.requests().is_empty() && workload.summary.streams);
    assert_eq!(workload.summary.distinct_requests, Some(2));
    let request = workload.request(0, 3);
    assert_eq!((request.index, json_of(&request)["max_tokens"].as_u64()), (1, Some(4)));
    assert_eq!(
        workload.judge(&request, &streamed("y"), &mut Samples::default()),
        Outcome::Wrong("does not contain 'x'".to_owned())
    );
    let times_alone = try_build(Protocol::V2, &[], &[], vec![sizes(1, vec![])]).unwrap();
    assert!(times_alone.summary.what.ends_with(": x [1, 4], at the trace's times, without its sizes"));
}

#[test]
fn same_is_asked_of_each_request_by_itself() {
    let workload = build(Protocol::Chat, &["--distinct", "2"], &["same", "contains:e"]);
    let (one, other) = (workload.request(0, 0), workload.request(0, 1));
    assert!(one.wants_body());
    assert_eq!(workload.judge(&one, &chat("one"), &mut Samples::default()), Outcome::Ok);
    assert_eq!(workload.judge(&other, &chat("other"), &mut Samples::default()), Outcome::Ok);
    assert_eq!(workload.judge(&workload.request(0, 2), &chat("one"), &mut Samples::default()), Outcome::Ok);
    let wrong = |kind: &str| Outcome::Wrong(kind.to_owned());
    let not_same = workload.judge(&one, &chat("other"), &mut Samples::default());
    assert_eq!(not_same, wrong("not the same as the first answer"));
    assert_eq!(
        workload.judge(&build(Protocol::Chat, &[], &["contains:e"]).request(0, 0), &chat("x"), &mut Samples::default()),
        wrong("does not contain 'e'")
    );
}

#[test]
fn the_first_answer_that_counts_is_a_good_one() {
    let workload = build(Protocol::Chat, &["--distinct", "1"], &["same"]);
    let request = workload.request(0, 0);
    let refused = answer(Protocol::Chat, 503, r#"{"error":{"message":"busy"}}"#);
    let mut samples = Samples::default();
    assert_eq!(workload.judge(&request, &refused, &mut samples), Outcome::Shed("503".to_owned()));
    assert_eq!(workload.judge(&request, &chat("one"), &mut samples), Outcome::Ok);
    assert_eq!(samples.into_all()["503"], "busy");
}
