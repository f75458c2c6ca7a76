//! What of a request's head reaches the server, and what of an answer's the client.

use serde_json::Value;
use weirgate_tests::{Http1, calls, http::with, row};

use crate::scene::{NAME, upstreams};

/// Who asks, and as part of what, is known behind the gateway too; what is between two hops is not.
#[tokio::test(flavor = "multi_thread")]
async fn complaint_26_ids_traces_and_credentials_reach_the_server() {
    let scene = upstreams(1, |service| service).await;
    let passed = [
        ("x-request-id", "id-7"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "vendor=1"),
        ("authorization", "Bearer of-the-server"),
        ("x-tenant", "blue"),
    ];
    let kept = [("connection", "x-hop"), ("x-hop", "1"), ("keep-alive", "timeout=5"), ("proxy-connection", "close")];
    let mut request = with(calls::json(NAME, &row(&[1.0])), "x-show-headers", "1");
    for (name, value) in passed.into_iter().chain(kept) {
        request = with(request, name, value);
    }
    let reply = Http1::connect(scene.server.data).await.send(request).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let seen: Value = reply.json()["parameters"]["headers"].take();
    let seen: Vec<(&str, &str)> =
        seen.as_array().unwrap().iter().map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap())).collect();
    for header in passed {
        assert!(seen.contains(&header), "{header:?} is missing: {seen:?}");
    }
    for (name, _) in &kept[1..] {
        assert!(!seen.iter().any(|(seen, _)| seen == name), "{name} was passed on: {seen:?}");
    }
    assert!(!seen.contains(&kept[0]), "{seen:?}");
}
