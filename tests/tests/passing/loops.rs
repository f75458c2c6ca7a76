//! Servers that lead back to the gateway that calls them.

use weirgate_tests::http::{get, post, with};
use weirgate_tests::upstream::{Upstream, far_at, full};
use weirgate_tests::{Http1, Server, Service, eventually};

const CHAT: &str = "/v1/chat/completions";
const ASKS: &str = r#"{"model":"far","messages":[]}"#;
const BACK: &str = "has come back to this gateway";

fn by(service: Service, protocol: &str) -> Service {
    service.annotation("weirgate.dev/upstream-protocol", protocol)
}

/// Its own model is asked for by itself, and can't get ready.
#[tokio::test]
async fn a_gateway_that_is_its_own_server_is_told_so() {
    for protocol in ["v2", "openai"] {
        let server = Server::start([]).await;
        server.write(&by(far_at(&format!("http://{}", server.data)), protocol));
        let mut client = Http1::connect(server.data).await;
        let told = eventually("the loop to be seen", async || {
            let reply = client.send(get("/v1/models/far")).await;
            reply.text().contains("508").then_some(reply)
        })
        .await;
        assert_eq!(told.status, 503, "{told:?}");
        assert!(told.error().contains(&format!("508 Loop Detected: the call {BACK} at once")), "{told:?}");
        let call = client.send(post(CHAT, ASKS)).await;
        assert!(call.status == 503 && call.text().contains(BACK), "{call:?}");
        assert!(server.log().contains(BACK), "the log says it");
    }
}

#[tokio::test]
async fn a_call_that_goes_round_two_gateways_ends_where_it_began() {
    let first = Server::start([]).await;
    let second = Server::start([by(far_at(&format!("http://{}", first.data)), "openai").in_namespace("second")]).await;
    first.write(&by(far_at(&format!("h2c://{}", second.data)), "openai"));
    let mut client = Http1::connect(first.data).await;
    let told = eventually("both to be ready", async || {
        let reply = client.send(post(CHAT, ASKS)).await;
        (reply.status != 503 && reply.status != 404).then_some(reply)
    })
    .await;
    assert_eq!((told.status, told.json()["error"]["code"].as_str()), (508, Some("loop_detected")), "{told:?}");
    assert!(told.text().contains(&format!("{BACK} by way of another")), "{told:?}");
    for server in [&first, &second] {
        eventually("no call goes round any more", async || {
            let metrics = server.metrics().await;
            let running = metrics.sum("weirgate_running_requests", &[]) + metrics.sum("weirgate_queue_requests", &[]);
            (running == 0.0).then_some(())
        })
        .await;
    }
    assert!(first.log().contains("a call goes round"));
    // What a client says of gateways is believed as far as it counts.
    let many = (0..16).map(|number| number.to_string()).collect::<Vec<_>>().join(",");
    let refused = client.send(with(post(CHAT, ASKS), "x-weirgate-via", &many)).await;
    assert!(refused.status == 508 && refused.text().contains("has passed 16 gateways"), "{refused:?}");
}

/// The revision that would close the loop does not get ready, and the one before it goes on.
#[tokio::test]
async fn a_change_that_would_close_a_loop_does_not_come_through() {
    let upstream = Upstream::start(|_, _| async { full(200, "{}") }).await;
    let service = |upstream: String| {
        let annotations = format!("{{weirgate.dev/upstream: '{upstream}', weirgate.dev/upstream-protocol: v2}}");
        Service::passed("far").field("annotations", annotations)
    };
    let second = Server::start([service(upstream.url())]).await;
    let first = Server::start([far_at(&format!("http://{}", second.data))]).await;
    let mut client = Http1::connect(first.data).await;
    assert_eq!(client.send(post("/v2/models/far/infer", "{}")).await.status, 200);
    second.write(&service(format!("http://{}", first.data)));
    eventually("the loop to be seen", async || second.log().contains(BACK).then_some(())).await;
    assert_eq!(client.send(post("/v2/models/far/infer", "{}")).await.status, 200);
}
