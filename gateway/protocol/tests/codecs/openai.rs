//! OpenAI's small bodies, and the model of a body that is still on its way.

use std::time::Duration;

use proptest::prelude::*;
use weirgate_protocol::Error;
use weirgate_protocol::openai::{self, Peeked};

fn model(name: &str) -> Peeked {
    Peeked::Model(name.to_owned())
}

#[test]
fn the_model_is_found_wherever_it_stands() {
    let prompt = "p\\\"{}[]".repeat(10_000);
    for (body, expected) in [
        (r#"{"model":"a"}"#.to_owned(), model("a")),
        (format!(r#"{{"messages":[{{"model":"no","content":"{prompt}"}}],"model":"\u00e9"}}"#), model("é")),
        (r#"{"model":"first","model":"second"}"#.to_owned(), model("first")),
        (r#"{ "a\"b" : { "x y" : "é" , "" : [ "" ] } , "mod\u0065l" : "a" }"#.to_owned(), model("a")),
        (r#"{"prompt":"model"}"#.to_owned(), Peeked::Missing),
        (r#"{"model":null}"#.to_owned(), Peeked::Missing),
        ("{}".to_owned(), Peeked::Missing),
    ] {
        assert_eq!(openai::peek(body.as_bytes(), true), Ok(expected));
    }
    for (body, expected) in [
        ("", "body: expected an object, found the end of the body (byte 0)"),
        ("[]", "body: expected an object, found an array (byte 0)"),
        (r#"{"model":1}"#, "model: expected a string, found 1 (byte 9)"),
        (r#"{"a":"#, "a: expected a value, found the end of the body (byte 5)"),
        (r#"{"a":{"b c":tru}}"#, "a.b c: expected a value, found tru (byte 12)"),
        (r#"{"a":{"b" 1}}"#, "a.b: expected ':', found 1 (byte 10)"),
        (r#"{"a":1} x"#, "body: expected the end of the JSON, found x (byte 8)"),
    ] {
        let error = openai::peek(body.as_bytes(), true).expect_err(body);
        assert_eq!((error.message(), error.row().http), (expected, 400));
    }
    for body in [&b"{\"a\":\"\xff\",\"model\":\"a\"}"[..], b"{\"\xff\":0}", b"{\"a\":{\"\xff\":0}}", b"{\"a\":\"\n\"}"]
    {
        assert!(openai::peek(body, true).is_err(), "what is passed over is JSON, too: {body:?}");
    }
}

proptest! {
    #[test]
    fn a_head_finds_the_same_model_or_asks_for_more(cut in 0usize..70, prompt in any::<String>()) {
        let prompt = serde_json::to_string(&prompt).unwrap();
        let body = format!(r#"{{"n":12,"prompt":{prompt},"model":"m\n","stop":["a"]}}"#);
        let head = &body.as_bytes()[..cut.min(body.len() - 1)];
        let peeked = openai::peek(head, false).unwrap();
        prop_assert!(peeked == Peeked::More || peeked == model("m\n"), "{:?}", peeked);
        prop_assert_eq!(openai::peek(body.as_bytes(), false).unwrap(), model("m\n"));
    }
}

#[test]
fn lists_of_models_serve_both_protocols() {
    let models = [openai::Model::new("a", 7, "ns"), openai::Model::new("b", 8, "ns")];
    let expected = concat!(
        r#"{"models":["a","b"],"object":"list","data":["#,
        r#"{"id":"a","object":"model","created":7,"owned_by":"ns"},{"id":"b","object":"model","created":8,"owned_by":"ns"}]}"#
    );
    assert_eq!(openai::model_list(&models), expected);
    assert_eq!(openai::model_list(&[]), r#"{"models":[],"object":"list","data":[]}"#);
    let expected = r#"{"name":"a","ready":true,"id":"a","object":"model","created":7,"owned_by":"ns"}"#;
    assert_eq!(openai::model(models[0].clone(), true), expected);
    let expected = r#"{"id":"a","object":"model","created":7,"owned_by":"ns"}"#;
    assert_eq!(openai::model(models[0].clone(), false), expected, "it says nothing of V1");
}

#[test]
fn errors_are_objects_that_name_the_field() {
    let unknown = Error::not_found("no \"x\"");
    assert_eq!(
        openai::error_body(&unknown, Some("model")),
        r#"{"error":{"message":"no \"x\"","type":"not_found_error","param":"model","code":"model_not_found"}}"#
    );
    assert_eq!(
        openai::error_body(&unknown, None),
        r#"{"error":{"message":"no \"x\"","type":"not_found_error","param":null,"code":"not_found"}}"#
    );
    assert_eq!(
        openai::error_body(&Error::queue_full("full", Duration::from_secs(1)), None),
        r#"{"error":{"message":"full","type":"rate_limit_error","param":null,"code":"queue_full"}}"#
    );
}
