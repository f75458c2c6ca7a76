//! Wrong JSON.

use super::{Case, case, refused};
use weirgate_tests::{Http1, Server, Service, calls, values};

/// The one input with these fields.
fn input(fields: &str) -> String {
    format!(r#"{{"inputs":[{{{fields}}}]}}"#)
}

fn shaped(shape: &str, data: &str) -> String {
    input(&format!(r#""name":"x","datatype":"FP32","shape":{shape},"data":{data}"#))
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_no_call() {
    let rows: Vec<(&str, &str, &'static [&'static str])> = vec![
        ("nothing", "", &["body"]),
        ("spaces", "   \n\t ", &["body"]),
        ("null", "null", &["body", "object"]),
        ("a number", "1", &["object"]),
        ("a string", "\"text\"", &["object"]),
        ("an array", "[]", &["object"]),
        ("an empty object", "{}", &["inputs"]),
        ("a lone brace", "{", &["byte"]),
        ("no colon", r#"{"inputs" []}"#, &["byte"]),
        ("no quotes", "{inputs:[]}", &["byte"]),
        ("single quotes", "{'inputs':[]}", &["byte"]),
        ("a comment", "/* */ {}", &["object"]),
        ("a comma too many", r#"{"inputs":[],}"#, &["body", "byte 13"]),
        ("two documents", r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[1]}]}{}"#, &["byte"]),
        ("a byte order mark", "\u{feff}{}", &["object"]),
        ("inputs null", r#"{"inputs":null}"#, &["inputs"]),
        ("inputs an object", r#"{"inputs":{}}"#, &["inputs"]),
        ("inputs of numbers", r#"{"inputs":[1]}"#, &["inputs[0]"]),
        ("inputs of arrays", r#"{"inputs":[[]]}"#, &["inputs[0]"]),
        ("an id that is a number", r#"{"id":1,"inputs":[]}"#, &["id"]),
        ("parameters an array", r#"{"parameters":[],"inputs":[]}"#, &["parameters"]),
        ("outputs a string", r#"{"outputs":"y","inputs":[]}"#, &["outputs"]),
        ("form fields", "inputs=1&name=x", &["object"]),
        ("XML", "<inputs/>", &["object"]),
    ];
    let mut cases: Vec<Case> = rows.into_iter().map(|(name, body, words)| case(name, body, 400, words)).collect();
    let deep = |open: &str, count: usize| open.repeat(count);
    cases.extend([
        case("a million open arrays", deep("[", 1_000_000), 400, &["object"]),
        case("a million open objects", deep("{\"a\":", 1_000_000), 400, &["nest"]),
        case("deep data", shaped("[1,1]", &deep("[", 1_000_000)), 400, &["data", "nest"]),
        case("deep parameters", format!(r#"{{"parameters":{}"#, deep("{\"a\":", 100_000)), 400, &["parameters"]),
        case("a NUL", b"{\"inputs\":\0[]}".to_vec(), 400, &["byte"]),
        case("bytes that are no UTF-8", b"{\"\xff\xfe\":1}".to_vec(), 400, &["byte"]),
        case("a name that is no UTF-8", b"{\"inputs\":[{\"name\":\"\xff\"}]}".to_vec(), 400, &["name"]),
        case("a string over two lines", b"{\"id\":\"a\nb\"}".to_vec(), 400, &["id"]),
        case("a string without an end", b"{\"id\":\"abc".to_vec(), 400, &["id"]),
        case("an escape that is none", br#"{"id":"\x41"}"#.to_vec(), 400, &["id"]),
        case("half a surrogate pair", br#"{"id":"\ud800"}"#.to_vec(), 400, &["id"]),
        case("random bytes", (0..=255).cycle().take(1_000_000).collect::<Vec<u8>>(), 400, &["object"]),
    ]);
    refused(cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tensors_that_are_none() {
    let mut cases = Vec::new();
    for (name, fields, words) in [
        ("no name", r#""datatype":"FP32","shape":[1,1],"data":[1]"#, &["inputs[0]", "name"][..]),
        ("no datatype", r#""name":"x","shape":[1,1],"data":[1]"#, &["inputs[0]", "datatype"]),
        ("no shape", r#""name":"x","datatype":"FP32","data":[1]"#, &["inputs[0]", "shape"]),
        ("no data", r#""name":"x","datatype":"FP32","shape":[1,1]"#, &["data"]),
        ("a name that is null", r#""name":null,"datatype":"FP32","shape":[1,1],"data":[1]"#, &["name"]),
        ("a name that is empty", r#""name":"","datatype":"FP32","shape":[1,1],"data":[1]"#, &["''"]),
        ("a name nobody knows", r#""name":"nobody","datatype":"FP32","shape":[1,1],"data":[1]"#, &["nobody"]),
        ("a datatype nobody knows", r#""name":"x","datatype":"FP33","shape":[1,1],"data":[1]"#, &["FP33"]),
        ("a datatype in small letters", r#""name":"x","datatype":"fp32","shape":[1,1],"data":[1]"#, &["fp32"]),
        ("a datatype that is a number", r#""name":"x","datatype":32,"shape":[1,1],"data":[1]"#, &["datatype"]),
        ("another datatype", r#""name":"x","datatype":"INT64","shape":[1,1],"data":[1]"#, &["INT64", "FP32"]),
        ("a name twice in it", r#""name":"x","name":"x","datatype":"FP32","shape":[1,1],"data":[1]"#, &["name"]),
        ("data twice", r#""name":"x","datatype":"FP32","shape":[1,1],"data":[1],"data":[2]"#, &["data"]),
        ("a shape twice", r#""name":"x","shape":[1,1],"datatype":"FP32","shape":[1,1],"data":[1]"#, &["shape"]),
        (
            "parameters of a number",
            r#""name":"x","datatype":"FP32","shape":[1,1],"parameters":1,"data":[1]"#,
            &["parameters"],
        ),
    ] {
        cases.push(case(name, input(fields), 400, words));
    }
    for (shape, words) in [
        ("[-1,1]", &["shape"][..]),
        ("[1,-9223372036854775808]", &["shape"]),
        ("[1.5,1]", &["shape"]),
        ("[1e400,1]", &["shape"]),
        ("[9223372036854775807,9223372036854775807]", &["shape"]),
        ("[99999999999999999999999999,1]", &["shape"]),
        ("[4294967296,4294967296]", &["shape"]),
        ("[0,9223372036854775807]", &["shape"]),
        ("\"-1\"", &["shape"]),
        ("1", &["shape"]),
        ("null", &["shape"]),
        ("{}", &["shape"]),
        ("[[1,1]]", &["shape"]),
        ("[null]", &["shape"]),
        ("[true,1]", &["shape"]),
        ("[]", &["x"]),
        ("[1]", &["x"]),
        ("[1,1,1]", &["x"]),
        ("[2,2]", &["data", "[2, 2]"]),
        ("[1,2000000000]", &["data"]),
    ] {
        cases.push(case(format!("shape {shape}"), shaped(shape, "[1]"), 400, words));
    }
    let many = vec!["1"; 1_000].join(",");
    cases.push(case("a thousand dimensions", shaped(&format!("[{many}]"), "[1]"), 400, &["dimensions"]));
    for data in [
        "null",
        "1",
        "\"1\"",
        "{}",
        "[null]",
        "[\"1\"]",
        "[true]",
        "[{}]",
        "[1,2]",
        "[]",
        "[[]]",
        "[[1],[2]]",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[NaN]",
        "[Infinity]",
        "[0x10]",
        "[+1]",
        "[01]",
        "[.5]",
        "[1.]",
        "[1e]",
        "[1e400]",
        "[--1]",
        "[1",
        "[1]]",
    ] {
        let words: &'static [&'static str] = if data == "[1]]" { &["byte"] } else { &["data"] };
        cases.push(case(format!("data {data}"), shaped("[1,1]", data), 400, words));
    }
    refused(cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_too_much() {
    let right = r#"{"name":"x","datatype":"FP32","shape":[1,1],"data":[1]}"#;
    let tiny = |count: usize| format!(r#"{{"inputs":[{}{right}]}}"#, "{},".repeat(count));
    let outputs =
        |count: usize| format!(r#"{{"inputs":[{right}],"outputs":[{}]}}"#, vec![r#"{"name":"y"}"#; count].join(","));
    let digits = "9".repeat(1_000_000);
    let cases = vec![
        case("ten million tiny inputs", tiny(10_000_000), 400, &["inputs"]),
        case("a thousand right inputs", format!(r#"{{"inputs":[{}]}}"#, vec![right; 1_000].join(",")), 400, &["x"]),
        case("a million outputs", outputs(1_000_000), 400, &["'y'", "twice"]),
        case(
            "an output nobody knows",
            format!(r#"{{"inputs":[{right}],"outputs":[{{"name":"nobody"}}]}}"#),
            400,
            &["nobody"],
        ),
        case(
            "an output without a name",
            format!(r#"{{"inputs":[{right}],"outputs":[{{}}]}}"#),
            400,
            &["outputs[0]", "name"],
        ),
        case("an output twice", outputs(2), 400, &["y"]),
        case(
            "a name of a megabyte",
            input(&format!(r#""name":"{}","datatype":"FP32","shape":[1,1],"data":[1]"#, "n".repeat(1 << 20))),
            400,
            &["nnn"],
        ),
        case(
            "a datatype of a megabyte",
            input(&format!(r#""name":"x","datatype":"{}","shape":[1,1],"data":[1]"#, "n".repeat(1 << 20))),
            400,
            &["nnn"],
        ),
        case(
            "an output's name of a megabyte",
            format!(r#"{{"inputs":[{right}],"outputs":[{{"name":"{}"}}]}}"#, "o".repeat(1 << 20)),
            400,
            &["ooo"],
        ),
        case("a size of a million digits", shaped(&format!("[{digits}]"), "[1]"), 400, &["shape"]),
        case("a number of a million digits", shaped("[1,1]", &format!("[{digits}]")), 400, &["data"]),
        case("a million numbers for one", shaped("[1,1]", &format!("[{}1]", "1,".repeat(1_000_000))), 400, &["data"]),
        case(
            "a hundred thousand parameters",
            format!(
                r#"{{"parameters":{{{}"z":1}}}}"#,
                (0..100_000).map(|n| format!(r#""p{n}":1,"#)).collect::<String>()
            ),
            400,
            &["parameters", "1024"],
        ),
        case("more than the limit", " ".repeat((64 << 20) + 1), 413, &["67108865", "67108864", "--max-body"]),
    ];
    refused(cases).await;
}

/// An id is the caller's own, and comes back whole.
#[tokio::test(flavor = "multi_thread")]
async fn an_id_of_a_megabyte_is_echoed() {
    let server = Server::start([Service::new("identity")]).await;
    let id = "i\u{e9}\\\"\n".repeat(1 << 18);
    let request = calls::with_id(id.clone(), weirgate_tests::row(&[1.0]));
    let reply = Http1::connect(server.data).await.infer("identity", &request).await.response();
    assert_eq!(reply.id.as_deref(), Some(&*id));
}

/// Flat, nested evenly or not: the elements are in row-major order anyhow, and only their number must fit.
#[tokio::test(flavor = "multi_thread")]
async fn complaint_19_nested_or_flat_data() {
    let server = Server::start([Service::new("identity")]).await;
    let mut client = Http1::connect(server.data).await;
    for data in ["[1,2,3,4]", "[[1,2],[3,4]]", "[[1],[2],[3],[4]]", "[[[1,2]],[[3,4]]]", "[[1,2,3,4]]"] {
        let reply = client.send(calls::post_text("identity", shaped("[2,2]", data))).await;
        assert_eq!(values(&reply.response().outputs[0]), [1.0, 2.0, 3.0, 4.0], "{data}");
    }
    let reply = client.send(calls::post_text("identity", shaped("[2,2]", "[[1,2],[3]]"))).await;
    assert_eq!(reply.status, 400, "{reply:?}");
}
