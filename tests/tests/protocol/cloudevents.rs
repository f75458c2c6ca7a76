//! V1 calls as CloudEvents: whoever sends one gets one back, in the same mode.

use http::Request;
use serde_json::{Value, json};
use weirgate_tests::http::{Body, post, with};
use weirgate_tests::{Http1, Server, Service};

const PATH: &str = "/v1/models/sum:predict";

fn binary(attributes: &[(&'static str, &str)]) -> Request<Body> {
    let call = post(PATH, r#"{"instances":[[1]]}"#);
    attributes.iter().fold(call, |call, (name, value)| with(call, name, value))
}

const EVENT: [(&str, &str); 4] =
    [("ce-specversion", "1.0"), ("ce-id", "7-%20"), ("ce-source", "/tests"), ("ce-type", "test.request")];

fn structured(event: &Value) -> Request<Body> {
    with(post(PATH, event.to_string()), "content-type", "application/cloudevents+json; charset=utf-8")
}

fn event() -> Value {
    json!({"specversion": "1.0", "id": "7", "source": "/tests", "type": "test.request", "data": {"instances": [[1]]}})
}

#[tokio::test(flavor = "multi_thread")]
async fn binary_events_are_answered_in_binary() {
    let server = Server::start([Service::sum(1)]).await;
    let mut client = Http1::connect(server.data).await;

    for version in ["1.0", "0.3"] {
        let reply = client.send(with(binary(&EVENT), "ce-specversion", version)).await;
        assert_eq!(reply.json(), json!({"predictions": [[2.0]]}));
        for (name, value) in [
            ("ce-specversion", version),
            ("ce-id", "7-%20"),
            ("ce-source", "io.kserve.inference.sum"),
            ("ce-type", "io.kserve.inference.response"),
        ] {
            assert_eq!(reply.header(name), Some(value), "{reply:?}");
        }
        assert!(reply.header("ce-time").is_some_and(|time| time.ends_with('Z')), "{reply:?}");
        assert!(reply.header("x-weirgate-revision").is_some(), "{reply:?}");
    }
    let reply = client.send(binary(&[])).await;
    assert!(reply.headers.keys().all(|name| !name.as_str().starts_with("ce-")), "no event: {reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn structured_events_are_answered_in_structure() {
    let server = Server::start([Service::sum(1)]).await;
    let mut client = Http1::connect(server.data).await;
    let text = r#"{"instances":[[1]]}"#;
    let mut forms = [event(), event(), event()];
    forms[1]["data"] = text.into();
    forms[2].as_object_mut().unwrap().remove("data");
    forms[2]["data_base64"] = "eyJpbnN0YW5jZXMiOltbMV1dfQ==".into();
    for form in forms {
        let reply = client.send(structured(&form)).await;
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (200, Some("application/cloudevents+json")),
            "{reply:?}"
        );
        let mut answer: Value = serde_json::from_slice(&reply.body).unwrap();
        assert!(answer.as_object_mut().unwrap().remove("time").is_some());
        assert_eq!(
            answer,
            json!({
                "specversion": "1.0", "id": "7", "source": "io.kserve.inference.sum",
                "type": "io.kserve.inference.response", "datacontenttype": "application/json",
                "data": {"predictions": [[2.0]]},
            })
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_an_event_is_an_ordinary_v1_error() {
    let server = Server::start([Service::sum(1)]).await;
    let mut client = Http1::connect(server.data).await;
    for (missing, _) in EVENT {
        let rest: Vec<_> =
            EVENT.into_iter().filter(|(name, _)| *name != missing).map(|(name, _)| (name, "1.0")).collect();
        let reply = client.send(binary(&rest)).await;
        assert_eq!(reply.status, 400, "{reply:?}");
        assert!(reply.error().contains(&format!("has no {}", &missing[3..])), "{reply:?}");
        let mut form = event();
        form.as_object_mut().unwrap().remove(&missing[3..]);
        let reply = client.send(structured(&form)).await;
        assert_eq!(reply.status, 400, "{reply:?}");
        assert!(reply.error().contains(&format!("has no {}", &missing[3..])), "{reply:?}");
    }
    let mut cases = [event(), event(), event()];
    cases[0]["specversion"] = "2.0".into();
    cases[1].as_object_mut().unwrap().remove("data");
    cases[2]["data"] = json!({"instances": [["a"]]});
    for (form, text) in
        cases.iter().zip(["'2.0'", "has no data", "in the event's data: instances[0][0]: expected a number"])
    {
        let reply = client.send(structured(form)).await;
        assert_eq!(reply.status, 400, "{reply:?}");
        assert!(reply.error().contains(text), "{reply:?}");
    }
    let batch = with(post(PATH, "[]"), "content-type", "application/cloudevents-batch+json");
    let reply = client.send(batch).await;
    assert_eq!(reply.status, 415, "{reply:?}");
    assert!(reply.error().contains("cloudevents-batch+json"), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_holds_for_envelopes() {
    let server = Server::with([Service::sum(1)]).flag("--max-body", "64KiB").start().await;
    let mut client = Http1::connect(server.data).await;
    let mut large = event();
    large["extension"] = " ".repeat(64 << 10).into();
    let reply = client.send(structured(&large)).await;
    assert_eq!(reply.status, 413, "{reply:?}");
    assert!(reply.error().contains("--max-body"), "{reply:?}");
    assert_eq!(client.send(structured(&event())).await.status, 200);
}

/// Headers carry ASCII; the binding of CloudEvents to HTTP asks for the rest percent-encoded.
#[tokio::test(flavor = "multi_thread")]
async fn an_attribute_that_is_not_ascii_is_told_from_one_that_is_missing() {
    let server = Server::start([Service::sum(1)]).await;
    let mut client = Http1::connect(server.data).await;
    let mut call = binary(&EVENT);
    call.headers_mut().insert("ce-id", http::HeaderValue::from_bytes("sieben-ü".as_bytes()).unwrap());
    let reply = client.send(call).await;
    assert_eq!(reply.status, 400, "{reply:?}");
    assert_eq!(reply.error(), "header ce-id is not ASCII: write other characters percent-encoded");
}
