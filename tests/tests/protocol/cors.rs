//! Pages of other origins.

use http::Method;
use weirgate_tests::http::{get, request};
use weirgate_tests::process::run;
use weirgate_tests::{Http1, Reply, Server, Service, calls, environment, row};

const PAGE: &str = "https://app.example.com";

async fn preflight(client: &mut Http1, origin: &str) -> Reply {
    let mut call = request(Method::OPTIONS, "/v2/models/identity/infer");
    for (name, value) in [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type,inference-header-content-length,authorization"),
    ] {
        call.headers_mut().insert(name, value.parse().unwrap());
    }
    client.send(call).await
}

async fn infer(client: &mut Http1, origin: &str) -> Reply {
    let (builder, body) = calls::rest("identity", &row(&[1.0]), false);
    let reply = client.send(builder.header("origin", origin).body(body).unwrap()).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply
}

#[tokio::test(flavor = "multi_thread")]
async fn named_origins_may_call_and_others_may_not() {
    let server = Server::with([Service::new("identity")])
        .flag("--cors-origin", PAGE)
        .flag("--cors-origin", "http://localhost:3000")
        .start()
        .await;
    let mut client = Http1::connect(server.data).await;
    for origin in [PAGE, "http://localhost:3000"] {
        let reply = preflight(&mut client, origin).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(reply.header("access-control-allow-origin"), Some(origin));
        let (methods, headers) = ["methods", "headers"]
            .map(|what| reply.header(&format!("access-control-allow-{what}")).unwrap_or_default().to_owned())
            .into();
        assert!(["GET", "HEAD", "POST"].iter().all(|method| methods.contains(method)), "{methods}");
        assert!(["inference-header-content-length", "authorization"].iter().all(|name| headers.contains(name)));
        assert!(reply.header("access-control-max-age").is_some() && reply.header("vary").is_some(), "{reply:?}");
        let reply = infer(&mut client, origin).await;
        assert_eq!(reply.header("access-control-allow-origin"), Some(origin));
        let exposed = reply.header("access-control-expose-headers").unwrap();
        for name in [
            "x-request-id",
            "x-weirgate-revision",
            "x-weirgate-overhead-us",
            "server-timing",
            "inference-header-content-length",
            "retry-after",
            "ce-id",
            "ce-time",
        ] {
            assert!(exposed.contains(name), "{exposed}");
        }
    }
    for reply in
        [preflight(&mut client, "https://evil.example").await, infer(&mut client, "https://evil.example").await]
    {
        assert_eq!(reply.header("access-control-allow-origin"), None, "{reply:?}");
    }
    // What an answer depends on is said by both who look at the request.
    let (builder, body) = calls::rest("identity", &row(&[1.0]), false);
    let call = builder.header("origin", PAGE).header("accept-encoding", "gzip").body(body).unwrap();
    let reply = client.send(call).await;
    let vary: Vec<_> = reply.headers.get_all("vary").iter().map(|value| value.to_str().unwrap()).collect();
    assert!(["accept-encoding", "origin"].iter().all(|name| vary.join(", ").contains(name)), "{vary:?}");
    // A refusal can be read by the page too.
    let mut unknown = get("/v2/models/nobody");
    unknown.headers_mut().insert("origin", PAGE.parse().unwrap());
    let reply = client.send(unknown).await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (404, Some(PAGE)));
    // What is no preflight is answered as without the flag.
    for (path, status, allow) in [("/v2/models/identity/infer", 204, Some("POST")), ("/nowhere", 404, None)] {
        let reply = client.send(request(Method::OPTIONS, path)).await;
        assert_eq!((reply.status, reply.header("allow")), (status, allow), "{path}: {reply:?}");
    }
    // The admin port knows no other origins.
    assert_eq!(
        preflight(&mut Http1::connect(server.admin).await, PAGE).await.header("access-control-allow-origin"),
        None
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn any_origin_goes_without_credentials_and_none_is_the_default() {
    let server = Server::with([Service::new("identity")]).variable("WEIRGATE_CORS_ORIGIN", "*").start().await;
    let mut client = Http1::connect(server.data).await;
    for reply in [preflight(&mut client, PAGE).await, infer(&mut client, PAGE).await] {
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"), "{reply:?}");
        assert_eq!(reply.header("access-control-allow-credentials"), None);
    }
    let closed = Server::start([Service::new("identity")]).await;
    let mut client = Http1::connect(closed.data).await;
    for reply in [preflight(&mut client, PAGE).await, infer(&mut client, PAGE).await] {
        assert_eq!(reply.header("access-control-allow-origin"), None, "{reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_origin_is_refused_at_start() {
    let mut command = std::process::Command::new(environment::binary());
    let output = run(command.args(["serve", "--cors-origin", "app.example.com"]));
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("SCHEME://HOST"), "{output:?}");
}
