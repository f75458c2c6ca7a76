//! Binary tensors whose header is missing, wrong, or at odds with the body.

use super::{Case, case, refused};

const HEAD: &str = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}}]}"#;

/// A call with this JSON, so many bytes behind it, and this for the header.
fn call(name: &str, json: &str, bytes: usize, length: &str, words: &'static [&'static str]) -> Case {
    let body = [json.as_bytes(), &vec![0; bytes]].concat();
    case(name, body, 400, words).lines(format!("inference-header-content-length: {length}\r\n"))
}

fn sized(shape: &str, size: &str) -> String {
    format!(
        r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":{shape},"parameters":{{"binary_data_size":{size}}}}}]}}"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn complaint_21_a_missing_or_wrong_header_is_named() {
    const HEADER: &[&str] = &["Inference-Header-Content-Length"];
    let right = HEAD.len().to_string();
    let mut cases = vec![
        case("no header", [HEAD.as_bytes(), &[0; 8]].concat(), 400, HEADER),
        case("no header and no bytes", HEAD, 400, HEADER),
        call("0", HEAD, 8, "0", &["body"]),
        call("one too short", HEAD, 8, &(HEAD.len() - 1).to_string(), &["byte"]),
        call("one too long", HEAD, 8, &(HEAD.len() + 1).to_string(), &["byte"]),
        call("half", HEAD, 8, &(HEAD.len() / 2).to_string(), &["byte"]),
        call("no bytes behind it", HEAD, 0, &right, &["binary_data_size", "8"]),
        call("a byte missing", HEAD, 7, &right, &["binary_data_size", "8"]),
        call("a byte too many", HEAD, 9, &right, &["1"]),
        call("a megabyte too many", HEAD, 1 << 20, &right, &["1048568"]),
    ];
    let wrong = [
        "",
        " ",
        "-1",
        "+5",
        "1.5",
        "1e2",
        "0x10",
        "many",
        "12 34",
        "12,34",
        "\u{e9}",
        "2147483648",
        "4294967296",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999999999999999",
    ];
    cases.extend(wrong.map(|length| call(&format!("header '{length}'"), HEAD, 8, length, HEADER)));
    refused(cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn complaint_21_sizes_beyond_31_and_63_bits_are_read_and_refused() {
    let of = |name: &str, json: String, bytes: usize, words: &'static [&'static str]| {
        call(name, &json, bytes, &json.len().to_string(), words)
    };
    let mut cases = vec![
        of("another size than the shape's", sized("[1,2]", "4"), 4, &["4", "8"]),
        of("a size without elements", sized("[1,2]", "0"), 0, &["0", "8"]),
        of("2 GiB", sized("[1,536870912]", "2147483648"), 8, &["2147483648", "8"]),
        of("16 GiB", sized("[1,4294967296]", "17179869184"), 8, &["17179869184", "8"]),
        of("both binary and data", HEAD.replace("}}]", r#"},"data":[1,2]}]"#), 8, &["data"]),
        of("a shape that overflows", sized("[4611686018427387904,4]", "0"), 0, &["shape"]),
        of("two of one name", HEAD.replace("}}]", &format!("}}}},{}]", &HEAD[11..HEAD.len() - 2])), 16, &["x"]),
    ];
    for size in ["-1", "1.5", "\"8\"", "null", "true", "[8]", "9223372036854775808", "18446744073709551616", "1e300"] {
        let json = sized("[1,2]", size);
        cases.push(of(&format!("size {size}"), json, 8, &["binary_data_size"]));
    }
    refused(cases).await;
}

/// What is announced is believed before it is read, so that nothing waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn complaint_27_announced_sizes_above_the_limit_are_413_and_name_it() {
    let lengths = [(64_u64 << 20) + 1, 1 << 31, (1 << 32) + 1, (1 << 63) - 1];
    let announced = |length: u64| {
        case(format!("{length} bytes"), "", 413, &["67108864", "--max-body"])
            .framed(format!("connection: close\r\ncontent-length: {length}\r\nexpect: 100-continue\r\n"))
    };
    refused(lengths.map(announced).into()).await;
}
