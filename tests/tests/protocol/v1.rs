//! V1 as KServe's and TensorFlow Serving's clients speak it.

use http::Method;
use serde_json::json;
use weirgate_tests::http::{post, request, with};
use weirgate_tests::{Http1, Http2, Server, Service};

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_predicted_and_answers_carry_what_v2s_do() {
    let server = Server::start([Service::sum(1), Service::new("two_io")]).await;
    let mut client = Http1::connect(server.data).await;
    let call = with(post("/v1/models/sum:predict", r#"{"instances":[[1,2],[3,4]]}"#), "x-request-id", "mine");
    let reply = client.send(call).await;
    assert_eq!(reply.json(), json!({"predictions": [[2.0, 3.0], [4.0, 5.0]]}));
    assert_eq!(reply.header("x-request-id"), Some("mine"));
    for name in ["x-weirgate-revision", "x-weirgate-overhead-us", "server-timing"] {
        assert!(reply.header(name).is_some(), "{name}: {reply:?}");
    }
    let several = r#"{"instances":[{"a":[1,2,3],"b":[1,1,1],"id":[7]},{"id":[8],"b":[0,0,0],"a":[4,5,6]}]}"#;
    let reply = client.send(post("/v1/models/two-io:predict", several)).await;
    assert_eq!(
        reply.json(),
        json!({"predictions": [
            {"sum": [2.0, 3.0, 4.0], "diff": [0.0, 1.0, 2.0], "echo": [7]},
            {"sum": [4.0, 5.0, 6.0], "diff": [4.0, 5.0, 6.0], "echo": [8]},
        ]})
    );
    let requests = [("protocol", "v1_http"), ("code", "ok")];
    assert_eq!(server.metrics().await.sum("weirgate_requests_total", &requests), 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_answered_as_both_servers_do() {
    let server = Server::start([Service::sum(1), Service::new("two_io"), Service::new("fixed")]).await;
    let mut client = Http1::connect(server.data).await;
    for (model, body, expected) in [
        ("sum", json!({"inputs": [[1], [2]]}), json!({"predictions": [[2.0], [3.0]]})),
        (
            "sum",
            json!({"inputs": {"x": [[1], [2]]}, "signature_name": "serving_default"}),
            json!({"outputs": [[2.0], [3.0]], "predictions": [[2.0], [3.0]]}),
        ),
        (
            "two-io",
            json!({"inputs": {"a": [[1, 2, 3]], "b": [[1, 1, 1]], "id": [[7]]}}),
            json!({
                "outputs": {"sum": [[2.0, 3.0, 4.0]], "diff": [[0.0, 1.0, 2.0]], "echo": [[7]]},
                "predictions": [{"sum": [2.0, 3.0, 4.0], "diff": [0.0, 1.0, 2.0], "echo": [7]}],
            }),
        ),
        // A model without a batch: its rows are what makes up its first dimension.
        (
            "fixed",
            json!({"instances": [[1, 2, 3], [4, 5, 6]]}),
            json!({"predictions": [[2.0, 4.0, 6.0], [8.0, 10.0, 12.0]]}),
        ),
    ] {
        let reply = client.send(post(&format!("/v1/models/{model}:predict"), body.to_string())).await;
        assert_eq!(reply.json(), expected, "{model} {body}");
    }
    let reply = client.send(post("/v1/models/fixed:predict", r#"{"instances":[[1,2,3]]}"#)).await;
    assert_eq!(reply.status, 400, "{reply:?}");
    assert!(reply.error().contains("has 1 rows, input 'x' of shape [2, 3] takes 2"), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn complaint_18_bytes_in_json_are_strings() {
    let server = Server::start([Service::new("identity_bytes")]).await;
    let mut client = Http1::connect(server.data).await;
    let v1 = "/v1/models/identity-bytes:predict";
    let reply = client.send(post(v1, r#"{"instances":[["é",{"b64":"YQ=="}],["","\n"]]}"#)).await;
    assert_eq!(reply.json(), json!({"predictions": [["é", "a"], ["", "\n"]]}));
    let v2 = "/v2/models/identity-bytes/infer";
    let body = r#"{"inputs":[{"name":"x","datatype":"BYTES","shape":[1,2],"data":["é","a"]}]}"#;
    assert_eq!(client.send(post(v2, body)).await.json()["outputs"][0]["data"], json!(["é", "a"]));
    for (path, body) in [(v1, r#"{"instances":[[1]]}"#.to_owned()), (v2, body.replace(r#"["é","a"]"#, "[1,2]"))] {
        let reply = client.send(post(path, body)).await;
        assert_eq!(reply.status, 400, "{reply:?}");
        assert!(reply.error().contains("expected a string for BYTES, found 1"), "{reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_content_type_in_utf8_is_read() {
    let server = Server::start([Service::new("identity")]).await;
    let mut client = Http1::connect(server.data).await;
    let call = || post("/v1/models/identity:predict", r#"{"instances":[[1]]}"#);
    for content_type in [
        "application/json; charset=utf-8",
        "application/json;charset=\"UTF-8\"",
        "application/x-www-form-urlencoded",
        "text/plain; charset=US-ASCII",
        "",
    ] {
        let reply = client.send(with(call(), "content-type", content_type)).await;
        assert_eq!(reply.json(), json!({"predictions": [[1.0]]}), "{content_type}");
    }
    let mut without = call();
    without.headers_mut().remove("content-type");
    assert_eq!(client.send(without).await.status, 200);
    let reply = client.send(with(call(), "content-type", "application/json; charset=utf-16")).await;
    assert_eq!(reply.status, 415, "{reply:?}");
    assert!(reply.error().contains("'utf-16'"), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_v1s_and_name_what_is_wrong() {
    let server = Server::start([Service::new("identity"), Service::new("broken")]).await;
    let mut client = Http1::connect(server.data).await;
    let body = r#"{"instances":[[1]]}"#;
    for (path, status, text) in [
        ("/v1/models/nobody:predict", 404, "'nobody'"),
        ("/v1/models/nobody:explain", 404, "'nobody'"),
        ("/v1/models/identity:explain", 501, "explainers are not built yet"),
        ("/v1/models/identity:classify", 501, "':classify'"),
        ("/v1/models/identity:divine", 404, "':divine'"),
        ("/v1/models/identity/versions/7:predict", 404, "'7'"),
        ("/v1/models/broken:predict", 503, "failed to load"),
        ("/v1/models/identity", 405, "POST"),
    ] {
        let reply = client.send(post(path, body)).await;
        assert_eq!(reply.status, status, "{path}: {reply:?}");
        assert!(reply.error().contains(text), "{path}: {reply:?}");
    }
    for (body, text) in [
        ("", "found the end of the body"),
        (r#"{"instances":[]}"#, "instances: is empty"),
        (r#"{"instances":[[1,2],[3]]}"#, "instances[1]: has 1 elements, instances[0] has 2"),
        (r#"{"signature_name":"other","instances":[[1]]}"#, "'other'"),
    ] {
        let reply = client.send(post("/v1/models/identity:predict", body)).await;
        assert_eq!(reply.status, 400, "{body}: {reply:?}");
        assert!(reply.error().contains(text), "{body}: {reply:?}");
    }
    let reply = client.get("/v1/models/identity:predict").await;
    assert_eq!((reply.status, reply.header("allow")), (405, Some("POST")), "{reply:?}");
    let reply = client.send(request(Method::DELETE, "/v1/models/identity")).await;
    assert_eq!(reply.status, 405, "{reply:?}");
    assert_eq!(client.send(post("/v1/models/identity:predict", body)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_may_be_percent_encoded_and_prefixes_come_before() {
    let server = Server::start([Service::new("identity"), Service::sum(1), Service::sum(2).in_namespace("blue")]).await;
    let mut client = Http1::connect(server.data).await;
    let body = r#"{"instances":[[1]]}"#;
    for (path, y) in [
        ("/v1/models/identit%79:predict", 1.0),
        ("/v1/models/identity%3Apredict", 1.0),
        ("/default/sum/v1/models/sum:predict", 2.0),
        ("/blue/sum/v1/models/sum:predict", 3.0),
        ("/blue/sum/v1/models/s%75m:predict", 3.0),
    ] {
        assert_eq!(client.send(post(path, body)).await.json(), json!({"predictions": [[y]]}), "{path}");
    }
    assert_eq!(client.send(post("/v1/models/sum:predict", body)).await.status, 409);
    assert_eq!(client.send(post("/blue/nobody/v1/models/sum:predict", body)).await.status, 404);
    let alive = client.get("/").await;
    assert_eq!((alive.status, alive.text().as_str()), (200, r#"{"status":"alive"}"#));
    assert_eq!(client.get("/blue/sum/").await.status, 200);
    let h2 = Http2::connect(server.data).await;
    let reply = h2.send(post("/v1/models/identity:predict", body)).await;
    assert_eq!(reply.json(), json!({"predictions": [[1.0]]}));
}
