//! Routes, methods and forms over HTTP.

use http::Method;
use weirgate_protocol::v2;
use weirgate_tests::http::request;
use weirgate_tests::{Http1, Http2, Server, Service, calls, row, values};

#[tokio::test(flavor = "multi_thread")]
async fn unknown_routes_and_models_are_404_in_json() {
    let server = Server::start([Service::new("identity")]).await;
    let mut client = Http1::connect(server.data).await;
    for path in [
        "/nothing",
        "/v2/nothing",
        "/v2/models/identity/versions/7/ready",
        "/v2/models/nobody",
        "/v2/models/nobody/ready",
    ] {
        let reply = client.get(path).await;
        assert_eq!(reply.status, 404, "{path}: {reply:?}");
        assert!(!reply.error().is_empty());
    }
    let reply = client.infer("nobody", &row(&[1.0])).await;
    assert_eq!(reply.status, 404, "{reply:?}");
    assert!(reply.error().contains("nobody"), "{reply:?}");
    let metrics = server.metrics().await;
    let unrouted = [("code", "not_found"), ("service", "")];
    assert_eq!(metrics.sum("weirgate_requests_total", &unrouted), 1.0, "made-up names are no labels");
    assert_eq!(server.admin_get("/nowhere").await.unwrap().status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_methods_are_405_and_say_which_are_allowed() {
    let server = Server::start([Service::new("identity")]).await;
    let mut client = Http1::connect(server.data).await;
    for (method, path, allowed) in [
        (Method::GET, "/v2/models/identity/infer", "POST"),
        (Method::DELETE, "/v2/models/identity", "GET"),
        (Method::POST, "/v2/health/ready", "GET"),
    ] {
        let reply = client.send(request(method, path)).await;
        assert_eq!(reply.status, 405, "{path}: {reply:?}");
        assert!(reply.header("allow").is_some_and(|allow| allow.contains(allowed)), "{path}: {reply:?}");
        assert!(reply.error().contains(path), "{reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_json_is_400_and_says_where() {
    let server = Server::start([Service::new("identity")]).await;
    let mut client = Http1::connect(server.data).await;
    let cases = [
        ("", "body"),
        ("{nonsense", "byte"),
        ("[]", "body"),
        (r#"{"inputs":[]}"#, "inputs"),
        (r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1]}]}"#, "inputs[0].data"),
        (r#"{"inputs":[{"name":"x","datatype":"FP33","shape":[1,1],"data":[1]}]}"#, "FP33"),
        (r#"{"inputs":[{"name":"x","datatype":"FP32","shape":"-1","data":[1]}]}"#, "shape"),
        (r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":["1"]}]}"#, "data"),
        (r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[1]}]} trailing"#, "byte"),
    ];
    for (body, expected) in cases {
        let reply = client.send(calls::post_text("identity", body)).await;
        assert_eq!(reply.status, 400, "{body}: {reply:?}");
        assert!(reply.error().contains(expected), "{body}: {reply:?}");
    }
    client.infer("identity", &row(&[1.0])).await.response();
}

#[tokio::test(flavor = "multi_thread")]
async fn rest_works_over_h2_with_prior_knowledge() {
    let server = Server::start([Service::new("identity")]).await;
    let client = Http2::connect(server.data).await;
    for binary in [false, true] {
        let (builder, body) = calls::rest("identity", &row(&[1.5, -2.0]), binary);
        let reply = client.send(builder.body(body).unwrap()).await;
        assert_eq!(values(&reply.response().outputs[0]), [1.5, -2.0]);
    }
    assert_eq!(client.send(calls::post_text("identity", "{")).await.status, 400);
    assert_eq!(client.send(request(Method::GET, "/v2/health/ready")).await.text(), r#"{"ready":true}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn binary_tensors_travel_behind_the_json() {
    let server = Server::start([Service::new("identity")]).await;
    let mut client = Http1::connect(server.data).await;
    let json = r#"{"id":"b","parameters":{"binary_data_output":true},"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}}]}"#;
    let data = [1.5_f32.to_le_bytes(), f32::NAN.to_le_bytes()].concat();
    let body = [json.as_bytes(), &data].concat();
    let call = |length: &str| {
        let body = http_body_util::Full::new(body.clone().into());
        calls::post("identity").header("inference-header-content-length", length).body(body).unwrap()
    };
    let reply = client.send(call(&json.len().to_string())).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.header("content-type"), Some("application/octet-stream"));
    let length: usize = reply.header(v2::HEADER_LENGTH).unwrap().parse().unwrap();
    assert_eq!(reply.body[length..], data[..], "the bytes behind the JSON are the tensor's, bit for bit");
    let head: serde_json::Value = serde_json::from_slice(&reply.body[..length]).unwrap();
    assert_eq!(head["id"], "b");
    assert_eq!(head["outputs"][0]["parameters"]["binary_data_size"], 8);
    assert!(head["outputs"][0].get("data").is_none());
    // NaN has no JSON form, and a header that is wrong is named.
    for wrong in ["99999999999999999999999", "-1", "many", &(json.len() - 1).to_string()] {
        let reply = client.send(call(wrong)).await;
        assert_eq!(reply.status, 400, "{wrong}: {reply:?}");
    }
    for wrong in ["99999", "-1", "many"] {
        let text = client.send(call(wrong)).await.error();
        assert!(text.contains(v2::HEADER_LENGTH), "{wrong}: {text}");
    }
}

/// The status of a service gives its address without a slash at the end.
#[tokio::test(flavor = "multi_thread")]
async fn the_address_of_a_service_answers_as_it_is_printed() {
    let server = Server::start([Service::new("identity")]).await;
    let mut client = Http1::connect(server.data).await;
    for path in ["/", "/default/identity/", "/default/identity", "/default/identity?from=a-browser"] {
        let reply = client.get(path).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, r#"{"status":"alive"}"#), "{path}");
    }
    assert_eq!(client.get("/default/nobody").await.status, 404);
}
