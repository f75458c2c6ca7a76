//! What a V2 request says besides its tensors, from one protocol to the other.

use proptest::prelude::*;
use weirgate_protocol::{Extras, InferRequest, Parameter, oip, v2};

use crate::support::{Elements, request};

fn decode(json: &str) -> InferRequest {
    let body = json.replace('\'', "\"");
    v2::decode_request(&body.into(), None).unwrap_or_else(|error| panic!("{json}: {error}"))
}

const INPUT: &str = "{'name':'x','datatype':'INT8','shape':[1],'data':[1]}";

proptest! {
    /// What V2 over HTTP says, V2 over gRPC says too.
    #[test]
    fn parameters_survive_the_way_through_grpc(asked in request(Elements::Json)) {
        let message = oip::encode_request("m", None, asked.clone(), true).unwrap();
        let (read, _) = oip::decode_request(message).unwrap();
        prop_assert_eq!(read.extras, asked.extras);
    }
}

#[test]
fn parameters_are_read_wherever_they_stand() {
    let json = format!(
        "{{'parameters':{{'t':1.5,'n':null,'big':18446744073709551615,'binary_data_output':true}},\
         'inputs':[{},{}],'outputs':[{{'name':'y','parameters':{{'binary_data':false,'k':'v'}}}}]}}",
        INPUT.replace("'data'", "'parameters':{'content_type':'np','l':[1, 2]},'data'"),
        INPUT.replace("'x'", "'z'")
    );
    let request = decode(&json);
    let (name, value) = (|name: &str| name.into(), |text: &str| Parameter::Text(text.to_owned()));
    let expected = Extras {
        request: vec![(name("t"), Parameter::Double(1.5)), (name("big"), Parameter::Unsigned(u64::MAX))],
        inputs: vec![(
            name("x"),
            vec![(name("content_type"), value("np")), (name("l"), Parameter::Json("[1, 2]".into()))],
        )],
        outputs: vec![(name("y"), vec![(name("k"), value("v"))])],
        unknown: false,
    };
    assert_eq!(request.extras.as_deref(), Some(&expected));
    assert!(request.binary_outputs && request.outputs[0].binary == Some(false));
    // And they are written as they were read.
    let written = v2::encode_request(&request, false).unwrap().into_bytes();
    assert_eq!(v2::decode_request(&written, None).unwrap(), request);
}

#[test]
fn what_says_nothing_is_nothing() {
    for more in [
        "",
        "'parameters':{},",
        "'parameters':{'binary_data_output':false},",
        "'parameters':{'sequence_id':0},",
        "'parameters':{'n':null},",
    ] {
        assert_eq!(decode(&format!("{{{more}'inputs':[{INPUT}]}}")).extras, None, "{more}");
    }
    for unknown in
        [format!("{{'more':1,'inputs':[{INPUT}]}}"), format!("{{'inputs':[{}]}}", INPUT.replace("{'", "{'k':1,'"))]
    {
        assert!(decode(&unknown).extras.is_some_and(|extras| extras.unknown), "{unknown}");
    }
}

#[test]
fn what_a_protocol_can_not_carry_is_refused_by_name() {
    let with = |value: &str| decode(&format!("{{'parameters':{{'p':{value}}},'inputs':[{INPUT}]}}"));
    for value in ["[1]", "{'a':1}", "1e999"] {
        let error = oip::encode_request("m", None, with(value), true).unwrap_err();
        assert_eq!(error.row().http, 501, "{error}");
        assert!(error.message().contains("parameter 'p' is no bool"), "{error}");
    }
    let nan = Extras { request: vec![("p".into(), Parameter::Double(f64::NAN))], ..Extras::default() };
    let error =
        v2::encode_request(&InferRequest { extras: Some(Box::new(nan)), ..Default::default() }, true).unwrap_err();
    assert!(error.message().contains("parameter 'p' is no finite number"), "{error}");
    let error = with("1").extras.unwrap().refuse_for("V1").unwrap_err();
    assert!(error.row().http == 501 && error.message().contains("'p' can't be written in V1"), "{error}");
    let many: Vec<_> = (0..1_025).map(|number| format!("'p{number}':1")).collect();
    let body = format!("{{'parameters':{{{}}},'inputs':[]}}", many.join(",")).replace('\'', "\"");
    let error = v2::decode_request(&body.into(), None).unwrap_err();
    assert!(error.message().contains("is one more than the 1024 parameters that are taken"), "{error}");
}
