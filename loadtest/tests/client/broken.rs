//! What is no answer, and requests that are not let finish.

use std::net::TcpListener;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use weirgate_loadtest::client::{Client, Failure};
use weirgate_loadtest::request::{Protocol, Request};

use crate::server::{call, connect, fixed, listen, post, request, run, seen};

#[test]
fn what_is_no_answer_is_malformed() {
    let header = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(1 << 20));
    let headers = format!("HTTP/1.1 200 OK\r\n{}", "x: y\r\n".repeat(1 << 14));
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let size = format!("{chunked}{}", "0".repeat(1 << 16));
    let continues = "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000);
    let trailers = format!("{chunked}0\r\n{}", "x: y\r\n".repeat(1 << 16));
    run(async {
        for (bytes, part) in [
            ("220 mail.example ESMTP\r\n", "head"),
            ("HTTP/1.1 abc OK\r\n\r\n", "head"),
            ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "head"),
            ("HTTP/1.1 101 Switching Protocols\r\n\r\n", "101"),
            ("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", "content-length"),
            (&format!("{chunked}zz\r\n"), "size of a chunk"),
            (&format!("{chunked}1\r\nab"), "longer than its size"),
            (&header, "more than 65536 bytes"),
            (&headers, "more than 128 headers"),
            (&size, "more than 4096 bytes"),
            (&continues, "more than 16 heads"),
            (&trailers, "more than 65536 bytes"),
        ] {
            for cuts in [&[][..], &[7, 20, 30]] {
                let (address, _server) = fixed(bytes.as_bytes(), cuts).await;
                let mut connection = connect(address).await;
                let shown: String = bytes.chars().take(80).collect();
                match connection.call(&post("{}"), true).await.result {
                    Err(Failure::Malformed(why)) => assert!(why.contains(part), "{shown:?}: {why}"),
                    other => panic!("{shown:?}: {other:?}"),
                }
                assert!(!connection.is_open());
            }
        }
    });
}

#[test]
fn an_answer_before_the_request_is_whole_is_that_answer() {
    // More than the system's buffers hold, so that the client can't send all of it.
    let big = vec![b'x'; 32 << 20];
    let refusal = "HTTP/1.1 413 Too Large\r\ncontent-length: 7\r\n\r\ntoo big";
    run(async {
        let (address, _server) = listen(move |number, mut stream| async move {
            let mut some = [0; 1000];
            stream.read_exact(&mut some).await.unwrap();
            stream.write_all(refusal.as_bytes()).await.unwrap();
            if number == 0 {
                // Goes on without reading more; the next one closes, which resets.
                std::future::pending::<()>().await;
            }
        })
        .await;
        for _ in 0..2 {
            let mut connection = connect(address).await;
            let answered = connection.call(&post(big.clone()), true).await.result.unwrap();
            assert_eq!(seen(&answered), (413, "too big".to_owned(), 7));
            assert!(!connection.is_open(), "half of a request lies on the connection");
        }
    });
}

#[test]
fn a_big_body_arrives_as_it_is() {
    let body: Vec<u8> = (0..5_000_000u32).map(|i| (i % 251) as u8).collect();
    let expected = body.clone();
    run(async {
        let (address, _server) = listen(move |_, mut stream| {
            let expected = expected.clone();
            async move {
                let (_, body) = request(&mut stream).await.unwrap();
                let status = if body == expected { "200 OK" } else { "400 Bad" };
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        })
        .await;
        assert_eq!(call(address, &post(body)).await.result.unwrap().status, 200);
    });
}

#[test]
fn a_request_is_written_as_it_should() {
    run(async {
        let (address, _server) = listen(|_, mut stream| async move {
            let (head, body) = request(&mut stream).await.unwrap();
            let said = format!("{head}{}", String::from_utf8(body).unwrap());
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{said}", said.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        })
        .await;
        let client = Client::new(format!("{address}/team").parse().unwrap(), &Default::default()).unwrap();
        let said = async |request: &Request| {
            let mut connection = client.connect(Protocol::V2, &mut JoinSet::new()).await.unwrap();
            String::from_utf8(connection.call(request, true).await.result.unwrap().body.to_vec()).unwrap()
        };
        assert_eq!(
            said(&post("{}")).await,
            format!(
                "POST /team/v2/models/m/infer HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
                 content-length: 2\r\n\r\n{{}}"
            )
        );
        let mut get = post("");
        get.method = http::Method::GET;
        get.headers.clear();
        assert_eq!(said(&get).await, format!("GET /team/v2/models/m/infer HTTP/1.1\r\nhost: {address}\r\n\r\n"));
        let get = get.with_header("host", http::HeaderValue::from_static("models.example"));
        assert_eq!(said(&get).await, "GET /team/v2/models/m/infer HTTP/1.1\r\nhost: models.example\r\n\r\n");

        let mut injected = post("{}");
        injected.path = "/a HTTP/1.1\r\nx: y".to_owned();
        let result =
            client.connect(Protocol::V2, &mut JoinSet::new()).await.unwrap().call(&injected, true).await.result;
        assert!(matches!(result, Err(Failure::Unsendable(_))), "{result:?}");
    });
}

#[test]
fn who_speaks_another_protocol_is_told_by_it() {
    run(async {
        let (old, _old) = listen(|_, mut stream| async move {
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n").await.unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        })
        .await;
        match Client::plain(old).unwrap().connect(Protocol::Grpc, &mut JoinSet::new()).await {
            Err(Failure::Malformed(why)) => assert_eq!(why, "this server does not speak HTTP/2"),
            other => panic!("{other:?}"),
        }
        let (tls, _tls) = fixed(b"\x15\x03\x01\x00\x02\x02\x46", &[]).await;
        match call(tls, &post("{}")).await.result {
            Err(Failure::Malformed(why)) => assert!(why.contains("https://"), "{why}"),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn nobody_there() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let client = Client::plain(address).unwrap();
        let failure = client.connect(Protocol::V2, &mut JoinSet::new()).await.unwrap_err();
        assert_eq!(failure, Failure::Connect(std::io::ErrorKind::ConnectionRefused));
    });
}
