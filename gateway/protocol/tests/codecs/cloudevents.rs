//! The envelope of structured mode, and what every event must have.

use bytes::Bytes;
use weirgate_protocol::cloudevents::{self, Event};

const HEAD: &str = r#""specversion":"1.0","id":"7","source":"/s","type":"t""#;

fn decode(text: &str) -> Result<(Event, Bytes), String> {
    cloudevents::decode(&Bytes::copy_from_slice(text.as_bytes())).map_err(|error| {
        assert_eq!(error.row().http, 400);
        error.message().to_owned()
    })
}

#[test]
fn data_is_found_in_every_form() {
    let event = Event { version: "1.0", id: "7".to_owned() };
    for (data, expected) in [
        (r#""data": {"instances":[[1]]} "#, r#"{"instances":[[1]]}"#),
        (r#""data":"{\"a\":\"\u00e9\"}""#, r#"{"a":"é"}"#),
        (r#""data_base64":"eyJhIjoxfQ==""#, r#"{"a":1}"#),
        (r#""data_base64":null,"data":[1]"#, "[1]"),
        (r#""data":null,"data_base64":"eyJhIjoxfQ==""#, r#"{"a":1}"#),
        (r#""datacontentencoding":"base64","data":"eyJhIjoxfQ==""#, r#"{"a":1}"#),
        (r#""comexampleext":{"a":[1]},"time":null,"data":{}"#, "{}"),
    ] {
        for text in [format!("{{{HEAD},{data}}}"), format!(" {{{data},{HEAD}}} ")] {
            assert_eq!(decode(&text), Ok((event.clone(), Bytes::copy_from_slice(expected.as_bytes()))), "{text}");
        }
    }
    let old = HEAD.replace("1.0", "0.3");
    assert_eq!(decode(&format!("{{{old},\"data\":1}}")).unwrap().0.version, "0.3");
}

#[test]
fn data_that_is_json_is_not_copied() {
    let body = Bytes::from(format!("{{{HEAD},\"data\":[1]}}"));
    let (_, data) = cloudevents::decode(&body).unwrap();
    assert_eq!(data.as_ptr(), body[body.len() - 4..].as_ptr());
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    for name in cloudevents::REQUIRED {
        let expected = format!("the cloud event has no {name}: give specversion, id, source, type");
        let without = format!("{{{},\"data\":1}}", HEAD.replace(&format!("\"{name}\""), "\"other\""));
        assert_eq!(decode(&without), Err(expected.clone()), "{without}");
        let attributes = cloudevents::REQUIRED.map(|known| Some(if known == name { "" } else { "1.0" }));
        assert_eq!(Event::new(attributes).unwrap_err().message(), expected);
    }
    for (text, expected) in [
        ("[]".to_owned(), "body: expected an object, found an array (byte 0)"),
        (format!("{{{HEAD}}}"), "the cloud event has no data: give the V1 request as data"),
        (format!("{{{HEAD},\"data\":null}}"), "the cloud event has no data: give the V1 request as data"),
        (
            format!("{{{HEAD},\"data\":1,\"data_base64\":\"\"}}"),
            "the cloud event has both data and data_base64: give one of them",
        ),
        (format!("{{{HEAD},\"data\":1,\"data\":2}}"), "data: is given twice (byte 71)"),
        (
            format!("{{{},\"data\":1}}", HEAD.replace("1.0", "2.0")),
            "the cloud event has specversion '2.0': 1.0 and 0.3 are understood",
        ),
        (format!("{{{},\"data\":1}}", HEAD.replace("\"7\"", "7")), "id: expected a string, found 7 (byte 26)"),
    ] {
        assert_eq!(decode(&text).as_ref().map_err(String::as_str), Err(expected), "{text}");
    }
    let refused = decode(&format!("{{{HEAD},\"data_base64\":\"%\"}}")).unwrap_err();
    assert!(refused.starts_with("data_base64: is not base64: "), "{refused}");
}

#[test]
fn an_answer_keeps_the_id_and_takes_kserves_type_and_source() {
    let event = Event { version: "0.3", id: "a\"b".to_owned() };
    let body = cloudevents::encode(&event, "digits", "2026-01-02T03:04:05.678Z", br#"{"predictions":[1]}"#);
    let expected = concat!(
        r#"{"specversion":"0.3","id":"a\"b","source":"io.kserve.inference.digits","type":"io.kserve.inference.response","#,
        r#""time":"2026-01-02T03:04:05.678Z","datacontenttype":"application/json","data":{"predictions":[1]}}"#
    );
    assert_eq!(body, expected);
    assert_eq!(cloudevents::decode(&body).unwrap(), (event, Bytes::from_static(br#"{"predictions":[1]}"#)));
}
