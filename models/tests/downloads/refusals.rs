//! What is not fetched, and why; and that no secret is told.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::origin::{Origin, Reply};
use crate::{World, content};

#[test]
fn a_refusal_of_the_server_is_final_and_told() {
    for (status, text) in [("404 Not Found", "check the URL"), ("403 Forbidden", "signature")] {
        let origin = Origin::start(move |_, _| Reply::status(status));
        let error = World::new().refusal(&origin.url("/m.onnx"));
        assert!(error.contains(status) && error.contains(text) && error.contains("/m.onnx"), "{error}");
        assert_eq!(origin.seen().len(), 1, "it is not asked again");
    }
}

#[test]
fn a_length_beyond_the_limit_is_refused_before_a_byte_is_kept() {
    let origin = Origin::start(|_, seen| Reply::file(&content(1_001), "a", seen));
    let world = World::with(|config| config.max_model_size = 1_000);
    let error = world.refusal(&origin.url("/m.onnx"));
    assert!(error.contains("1001 bytes") && error.contains("--max-model-size"), "{error}");
    assert_eq!(world.files(), Vec::<String>::new());
    let world = World::with(|config| config.max_model_size = 1_001);
    assert_eq!(world.fetch(&origin.url("/m.onnx")).unwrap(), content(1_001));
}

#[test]
fn a_body_without_a_length_stops_at_the_limit() {
    let origin = Origin::start(|_, _| Reply {
        head: "200 OK\r\nconnection: close".to_owned(),
        body: content(1_001),
        hold: false,
    });
    let world = World::with(|config| config.max_model_size = 1_000);
    let error = world.refusal(&origin.url("/m.onnx"));
    assert!(error.contains("--max-model-size"), "{error}");
    assert_eq!(world.files(), Vec::<String>::new());
    let world = World::with(|config| config.max_model_size = 1_001);
    assert_eq!(world.fetch(&origin.url("/m.onnx")).unwrap(), content(1_001));
}

#[test]
fn redirects_are_followed_to_a_bound() {
    let origin = Origin::start(|_, seen| match seen.path.as_str() {
        "/a/start?sig=1" => Reply::status("302 Found\r\nlocation: next.onnx?sig=2"),
        "/a/next.onnx?sig=2" => Reply::file(b"model", "a", seen),
        _ => Reply::status("307 Temporary Redirect\r\nlocation: /loop?secret"),
    });
    let world = World::new();
    assert_eq!(world.fetch(&origin.url("/a/start?sig=1")).unwrap(), b"model");
    let error = world.refusal(&origin.url("/loop"));
    assert!(error.contains("redirected more than 10 times") && !error.contains("secret"), "{error}");
    assert_eq!(origin.seen().len(), 2 + 11);
}

#[test]
fn redirects_lead_neither_to_other_schemes_nor_out_of_what_is_allowed() {
    let other = Origin::start(|_, seen| Reply::file(b"model", "a", seen));
    let to = other.url("/m.onnx?secret");
    let origin = Origin::start(move |_, seen| match seen.path.as_str() {
        "/file" => Reply::status("302 Found\r\nlocation: file:///etc/passwd"),
        "/out" => Reply::status(&format!("302 Found\r\nlocation: {to}")),
        _ => Reply::file(b"model", "a", seen),
    });
    let error = World::new().refusal(&origin.url("/file"));
    assert!(error.contains("redirected to file:"), "{error}");
    let own = origin.url("/");
    let world = World::with(|config| config.allowed = vec![own.parse().unwrap()].into());
    assert_eq!(world.fetch(&origin.url("/m.onnx")).unwrap(), b"model");
    let error = world.refusal(&origin.url("/out"));
    assert!(error.contains("--model-url") && error.contains(&other.address.to_string()), "{error}");
    assert!(!error.contains("secret"), "{error}");
    let error = world.refusal(&other.url("/m.onnx"));
    assert!(error.contains("--model-url"), "{error}");
    assert_eq!(other.seen(), [], "nobody came there");
}

#[test]
fn a_password_goes_to_its_own_host_only() {
    let other = Origin::start(|_, seen| Reply::file(b"model", "a", seen));
    let to = other.url("/m.onnx");
    let origin = Origin::start(move |_, seen| match seen.path.as_str() {
        "/in" => Reply::status("302 Found\r\nlocation: /m.onnx"),
        "/out" => Reply::status(&format!("302 Found\r\nlocation: {to}")),
        "/m.onnx" => Reply::file(b"model", "a", seen),
        _ => Reply::status("401 Unauthorized"),
    });
    let url = |path: &str| format!("http://user:p%40ss@{}{path}", origin.address);
    let world = World::new();
    for path in ["/in", "/out"] {
        assert_eq!(world.fetch(&url(path)).unwrap(), b"model");
    }
    let expected = Some(format!("Basic {}", STANDARD.encode("user:p@ss")));
    assert!(origin.seen().iter().all(|seen| seen.authorization == expected), "{:?}", origin.seen());
    assert_eq!(other.seen()[0].authorization, None);
    let error = world.refusal(&url("/closed"));
    assert!(error.contains("401") && error.contains("***@") && !error.contains("p%40ss"), "{error}");
}

#[test]
fn an_encoding_that_was_not_asked_for_is_refused() {
    let origin = Origin::start(|_, _| Reply {
        head: "200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4".to_owned(),
        body: b"\x1f\x8b00".to_vec(),
        hold: false,
    });
    let error = World::new().refusal(&origin.url("/m.onnx"));
    assert!(error.contains("gzip"), "{error}");
    // Of an archive it says what it is.
    let error = World::new().refusal(&origin.url("/m.tgz"));
    assert!(error.contains("can't be unpacked"), "{error}");
}

#[test]
fn a_folder_that_can_not_be_written_is_told() {
    let origin = Origin::start(|_, seen| Reply::file(b"model", "a", seen));
    let world = World::new();
    std::fs::write(world.folder.path().join("models"), b"in the way").unwrap();
    let error = world.refusal(&origin.url("/m.onnx"));
    assert!(error.contains("can't be written to") && error.contains("models"), "{error}");
}

#[test]
fn a_page_is_no_model() {
    let origin = Origin::start(|_, _| Reply {
        head: "200 OK\r\ncontent-type: Text/HTML; charset=utf-8\r\ncontent-length: 6".to_owned(),
        body: b"<html>".to_vec(),
        hold: false,
    });
    let world = World::new();
    let error = world.refusal(&origin.url("/files/m.onnx?secret"));
    assert!(error.contains("/files/m.onnx") && error.contains("text/html, which is no model"), "{error}");
    assert!(!error.contains("secret"), "{error}");
    assert_eq!((origin.seen().len(), world.files()), (1, vec![]));
}

#[test]
fn a_port_without_tls_says_so() {
    // Whatever it is asked, it answers as a server of plain HTTP does.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let plain = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut hello = [0; 64];
        std::io::Read::read(&mut stream, &mut hello).unwrap();
        std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").unwrap();
        // Until the client has gone.
        while std::io::Read::read(&mut stream, &mut hello).is_ok_and(|read| read > 0) {}
    });
    let error = World::new().refusal(&format!("https://{address}/m.onnx"));
    assert!(error.contains("speaks no TLS on this port: write http") && !error.contains("SSL_CERT_FILE"), "{error}");
    plain.join().unwrap();
}
