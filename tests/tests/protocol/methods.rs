//! Methods, paths and versions of HTTP.

use http::Method;
use weirgate_tests::http::request;
use weirgate_tests::{Http1, Http2, Raw, Server, Service, row};

const GETS: [&str; 7] = [
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models/identity",
    "/v2/models/identity/ready",
    "/default/identity/v2/models/identity",
    "/default/identity/v2/health/ready",
];

#[tokio::test(flavor = "multi_thread")]
async fn head_is_get_without_the_body() {
    let server = Server::start([Service::new("identity")]).await;
    let mut one = Http1::connect(server.data).await;
    let two = Http2::connect(server.data).await;
    for path in GETS {
        let get = one.get(path).await;
        assert_eq!(get.status, 200, "{path}: {get:?}");
        for head in [one.send(request(Method::HEAD, path)).await, two.send(request(Method::HEAD, path)).await] {
            assert_eq!((head.status, head.body.len()), (200, 0), "{path}: {head:?}");
            assert_eq!(head.header("content-length"), Some(&*get.body.len().to_string()), "{path}");
            assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
        }
    }
    let head = one.send(request(Method::HEAD, "/v2/models/nobody")).await;
    assert_eq!((head.status, head.body.len()), (404, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn options_says_what_is_allowed() {
    let server = Server::start([Service::new("identity")]).await;
    let mut client = Http1::connect(server.data).await;
    let posts = ["/v2/models/identity/infer", "/v2/models/identity/versions/1/infer"];
    let others = [
        ("/v1/models/identity:predict", "POST"),
        ("/v1/models/identity", "GET,HEAD"),
        ("/v1/models/identity/versions/1:predict", "POST"),
        ("/v2/logging", "GET,HEAD,POST"),
    ];
    let routes = GETS.map(|path| (path, "GET,HEAD")).into_iter().chain(posts.map(|path| (path, "POST"))).chain(others);
    for (path, allowed) in routes {
        let reply = client.send(request(Method::OPTIONS, path)).await;
        assert_eq!((reply.status, reply.header("allow")), (204, Some(allowed)), "{path}: {reply:?}");
        for method in ["FOO", "PUT", "TRACE"] {
            let reply = client.send(request(method.parse().unwrap(), path)).await;
            assert_eq!((reply.status, reply.header("allow")), (405, Some(allowed)), "{method} {path}: {reply:?}");
            assert!(reply.error().contains(method) && reply.error().contains("'/v"), "{reply:?}");
        }
    }
    assert_eq!(client.send(request(Method::OPTIONS, "/nowhere")).await.status, 404);
    let mut raw = Raw::connect(server.data).await;
    raw.write("OPTIONS * HTTP/1.1\r\nhost: weirgate.test\r\n\r\n").await;
    let (status, head, _) = raw.take_answer().await.unwrap();
    assert!(status == 204 && head.contains("\r\nallow: get,head,post,options\r\n"), "{head}");
    let long = "M".repeat(10_000);
    raw.write(format!("{long} /v2 HTTP/1.1\r\nhost: weirgate.test\r\n\r\n")).await;
    let (status, ..) = raw.read_answer().await.unwrap();
    assert!([400, 405].contains(&status), "{status}");
}

/// The client sends all of its body first, and must still see why it was refused, and call again.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_body_is_read_on_and_the_connection_lives() {
    let server = Server::start([Service::new("identity")]).await;
    let body = " ".repeat(4 << 20);
    let mut raw = Raw::connect(server.data).await;
    for (method, path, expected) in [
        ("POST", "/nowhere", 404),
        ("POST", "/v2/models/identity", 405),
        ("PUT", "/v2/models/identity/infer", 405),
        ("POST", "/default/nobody/v2/models/a/infer", 404),
        ("POST", "/v2/models/nobody/infer", 404),
        ("POST", "/v2/models/%ff/infer", 400),
        ("POST", "/v2/models/%ff/versions/1/infer", 400),
        ("POST", "/v1/models/identity", 405),
        ("POST", "/v2/logging", 501),
        ("POST", "/v2/repository/models/identity/load", 401),
    ] {
        let head = format!("{method} {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len());
        raw.write(head).await;
        raw.write(&body).await;
        let (status, _, text) = raw.take_answer().await.expect("an answer, not a reset");
        assert_eq!(status, expected, "{path}: {text}");
        assert!(text.starts_with(r#"{"error":"#), "{path}: {text}");
        raw.write("GET /v2/health/live HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(raw.take_answer().await.expect("the connection lives").0, 200, "{path}");
    }
    // Who waits to be told to go on is refused at once, and sends nothing.
    let mut raw = Raw::connect(server.data).await;
    raw.write("POST /nowhere HTTP/1.1\r\nhost: a\r\ncontent-length: 9999\r\nexpect: 100-continue\r\n\r\n").await;
    assert_eq!(raw.read_answer().await.unwrap().0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_two_hosts_is_refused() {
    let server = Server::start([Service::new("identity")]).await;
    let mut raw = Raw::connect(server.data).await;
    raw.write("GET /v2 HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n").await;
    let (status, _, text) = raw.take_answer().await.unwrap();
    assert!(status == 400 && text.contains("more than one Host"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_chunks_are_told_from_a_body_that_is_cut_off() {
    let server = Server::start([Service::new("identity")]).await;
    let mut raw = Raw::connect(server.data).await;
    raw.write_head("identity", "transfer-encoding: chunked\r\n").await;
    raw.write("zz\r\n").await;
    let (status, _, text) = raw.take_answer().await.unwrap();
    assert!(status == 400 && text.contains("framing of the request's body is broken"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_that_are_no_routes_are_4xx() {
    let server = Server::start([Service::new("identity")]).await;
    let long = format!("/v2/models/{}/infer", "m".repeat(70 << 10));
    let half = format!("/v2/models/{}/infer", "m".repeat(30 << 10));
    for (path, expected) in [
        ("/v2/", 404),
        ("/v2/models/identity/", 404),
        ("/v2/models/identity/infer/", 404),
        ("//v2/models/identity/infer", 404),
        ("/v2//models/identity/infer", 404),
        ("/v2/models//infer", 404),
        // A model of the name `identity/infer`, which can be asked about.
        ("/v2/models/identity%2Finfer", 405),
        ("/v2/models/a%2Fb/infer", 404),
        ("/v2/models/../models/identity/infer", 404),
        ("/v2/models/./identity/infer", 404),
        ("/v2/models/%2e%2e/infer", 404),
        ("/v2/models/identity%00/infer", 404),
        ("/v2/models/%ff%fe/infer", 400),
        ("/v2/models/%zz/infer", 404),
        ("/v2/models/%/infer", 404),
        ("/v2/models/identity/versions/%2F/infer", 404),
        ("/%", 404),
        ("/a/b/%ff", 404),
        ("/default/identity/", 405),
        ("/default/identity//v2", 404),
        ("/default/identity/default/identity/v2", 404),
        ("/v2/models/id entity/infer", 400),
        ("/v2/models/\u{e9}/infer", 404),
        ("/v2/models/\0/infer", 400),
        (&half, 404),
        (&long, 414),
    ] {
        let shown: String = path.chars().take(60).collect();
        let mut raw = Raw::connect(server.data).await;
        raw.write(format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{{}}")).await;
        let (status, _, text) = raw.read_answer().await.unwrap_or_else(|| panic!("{shown}: no answer"));
        assert_eq!(status, expected, "{shown}: {text}");
        assert!(text.len() < 1_000, "{shown} is answered at length");
    }
    // Percent signs that need not be there change nothing.
    Http1::connect(server.data).await.send(weirgate_tests::calls::json("%69dentity", &row(&[1.0]))).await.response();
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_hosts_and_versions_of_all_kinds() {
    let server = Server::start([Service::new("identity")]).await;
    for (head, expected, lives) in [
        ("GET http://weirgate.test/v2/health/live HTTP/1.1\r\nhost: weirgate.test\r\n\r\n", 200, true),
        ("GET http://weirgate.test HTTP/1.1\r\nhost: weirgate.test\r\n\r\n", 200, true),
        // Without a host nothing is addressed by it.
        ("GET /v2/health/live HTTP/1.1\r\n\r\n", 200, true),
        ("GET /v2/health/live HTTP/1.1\r\nhost:\r\n\r\n", 200, true),
        ("GET /v2/health/live HTTP/1.1\r\nhost: \u{e9}\r\n\r\n", 200, true),
        ("GET /v2/health/live HTTP/1.0\r\n\r\n", 200, false),
        ("GET /v2/health/live HTTP/1.0\r\nconnection: keep-alive\r\n\r\n", 200, true),
        ("GET /v2/health/live HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", 200, false),
        ("CONNECT weirgate.test:80 HTTP/1.1\r\nhost: weirgate.test:80\r\n\r\n", 404, true),
        ("GET /v2/health/live HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n", 200, true),
        // An expectation that nobody knows may be ignored.
        ("GET /v2/health/live HTTP/1.1\r\nhost: a\r\nexpect: the-unexpected\r\n\r\n", 200, true),
        ("GET /v2/health/live HTTP/1.2\r\nhost: a\r\n\r\n", 400, false),
        ("GET /v2/health/live HTTP/3.0\r\nhost: a\r\n\r\n", 400, false),
        ("GET /v2/health/live\r\n\r\n", 400, false),
        ("nonsense\r\n\r\n", 400, false),
    ] {
        let mut raw = Raw::connect(server.data).await;
        raw.write(head).await;
        let (status, ..) = raw.take_answer().await.unwrap_or_else(|| panic!("{head}: no answer"));
        assert_eq!(status, expected, "{head}");
        // A connection that is to end may do so before this is written.
        let _ = raw.try_write("GET /v2/health/live HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(raw.take_answer().await.is_some_and(|(status, ..)| status == 200), lives, "{head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_for_100_continue_is_told_to_go_on() {
    let server = Server::start([Service::new("identity")]).await;
    let mut raw = Raw::connect(server.data).await;
    let body = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[1.5]}]}"#;
    raw.write_head("identity", &format!("content-length: {}\r\nexpect: 100-continue\r\n", body.len())).await;
    assert_eq!(raw.take_answer().await.unwrap().0, 100);
    raw.write(body).await;
    assert_eq!(raw.take_answer().await.unwrap().0, 200);
    raw.write_head("nobody", &format!("content-length: {}\r\nexpect: 100-continue\r\n", body.len())).await;
    assert_eq!(raw.take_answer().await.unwrap().0, 404);
}
