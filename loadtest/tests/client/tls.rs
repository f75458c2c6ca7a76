//! Certificates that are trusted, and those that are not.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedKey, IsCa, KeyPair, date_time_ymd, generate_simple_self_signed,
};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use weirgate_loadtest::client::{Client, Failure, TlsOptions};
use weirgate_loadtest::request::Protocol;

use crate::server::{listen, post, request, run, seen};

/// A server for `name` that names what it speaks if it has `alpn`, and answers two requests of each connection; without an
/// orderly end after this head if it has one.
async fn serve(name: &str, alpn: bool, cuts: Option<&'static str>) -> (SocketAddr, JoinSet<()>, Vec<u8>) {
    serve_with(generate_simple_self_signed([name.to_owned()]).unwrap(), alpn, cuts).await
}

async fn serve_with(
    certificate: CertifiedKey<KeyPair>,
    alpn: bool,
    cuts: Option<&'static str>,
) -> (SocketAddr, JoinSet<()>, Vec<u8>) {
    let CertifiedKey { cert, signing_key } = certificate;
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    if alpn {
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
    }
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (address, tasks) = listen(move |_, stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            for _ in 0..2 {
                let Some((_, body)) = request(&mut stream).await else { return };
                let length = body.len();
                let head = match cuts {
                    Some(head) => head.to_owned(),
                    None => format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n"),
                };
                stream.write_all(head.as_bytes()).await.unwrap();
                stream.write_all(&body).await.unwrap();
                stream.flush().await.unwrap();
                if cuts.is_some() {
                    return;
                }
            }
            stream.shutdown().await.unwrap();
        }
    })
    .await;
    (address, tasks, cert.pem().into_bytes())
}

fn client(address: SocketAddr, host: &str, tls: &TlsOptions) -> Client {
    Client::new(format!("https://{host}:{}", address.port()).parse().unwrap(), tls).unwrap()
}

#[test]
fn trusted_or_whatever_it_is() {
    run(async {
        let (address, _server, pem) = serve("127.0.0.1", false, None).await;
        for tls in [TlsOptions { roots: Some(pem), insecure: false }, TlsOptions { roots: None, insecure: true }] {
            let client = client(address, "127.0.0.1", &tls);
            let mut connection = client.connect(Protocol::V2, &mut JoinSet::new()).await.unwrap();
            for body in [b"hi".repeat(3), b"hi".repeat(1 << 20), b"anew".to_vec()] {
                let answer = connection.call(&post(body.clone()), true).await.result.unwrap();
                assert_eq!(seen(&answer), (200, String::from_utf8(body.clone()).unwrap(), body.len() as u64));
                // The server's orderly end comes between calls, and is no failure.
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
    });
}

#[test]
fn unknown_misnamed_or_without_http2() {
    run(async {
        let (address, _server, pem) = serve("models.example", true, None).await;
        let (silent, _silent, other) = serve("127.0.0.1", false, None).await;
        let trust = |roots: &[u8]| TlsOptions { roots: Some(roots.to_vec()), insecure: false };
        let any = || TlsOptions { roots: None, insecure: true };
        for (address, tls, protocol, part) in [
            (address, TlsOptions::default(), Protocol::V2, "certificate"),
            (address, trust(&other), Protocol::V2, "certificate"),
            (address, trust(&pem), Protocol::V2, "not valid for name"),
            (address, any(), Protocol::Grpc, "ALPN"),
            (silent, any(), Protocol::Grpc, "ALPN"),
        ] {
            let client = client(address, "127.0.0.1", &tls);
            match client.connect(protocol, &mut JoinSet::new()).await {
                Err(Failure::Tls(why)) => assert!(why.to_lowercase().contains(&part.to_lowercase()), "{part}: {why}"),
                other => panic!("{part}: {other:?}"),
            }
        }
        let none = TlsOptions { roots: Some(b"no certificate".to_vec()), insecure: false };
        assert!(Client::new("https://models.example".parse().unwrap(), &none).is_err());
    });
}

/// As `openssl req -x509` makes it.
#[test]
fn a_servers_own_certificate_is_trusted_though_it_says_to_be_an_authoritys() {
    run(async {
        for (name, until, part) in [
            ("127.0.0.1", 4000, None),
            ("models.example", 4000, Some("not valid for name")),
            ("127.0.0.1", 2001, Some("expired")),
        ] {
            let mut params = CertificateParams::new([name.to_owned()]).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(until, 1, 1));
            let signing_key = KeyPair::generate().unwrap();
            let cert = params.self_signed(&signing_key).unwrap();
            let (address, _server, pem) = serve_with(CertifiedKey { cert, signing_key }, false, None).await;
            let trust = |roots: &[u8]| TlsOptions { roots: Some(roots.to_vec()), insecure: false };
            let connected = async |tls: &TlsOptions| {
                client(address, "127.0.0.1", tls).connect(Protocol::Grpc, &mut JoinSet::new()).await.map(|_| ())
            };
            match (connected(&trust(&pem)).await, part) {
                // That far it comes only with a certificate that is taken.
                (Err(Failure::Tls(why)), None) => assert!(why.contains("ALPN"), "{why}"),
                (Err(Failure::Tls(why)), Some(part)) => assert!(why.contains(part), "{part}: {why}"),
                other => panic!("{name} {until}: {other:?}"),
            }
            let (_, _other, other) = serve("127.0.0.1", false, None).await;
            assert!(matches!(connected(&trust(&other)).await, Err(Failure::Tls(why)) if !why.contains("ALPN")));
        }
    });
}

#[test]
fn an_end_that_tls_did_not_announce_cuts_what_has_a_length() {
    let whole = Ok("all of it".to_owned());
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\n";
    for (head, expected) in [
        ("HTTP/1.1 200 OK\r\n\r\n", whole),
        ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n", Err(Failure::Cut)),
        (chunked, Err(Failure::Cut)),
    ] {
        run(async {
            let (address, _server, pem) = serve("127.0.0.1", true, Some(head)).await;
            let client = client(address, "127.0.0.1", &TlsOptions { roots: Some(pem), insecure: false });
            let mut connection = client.connect(Protocol::V2, &mut JoinSet::new()).await.unwrap();
            let result = connection.call(&post("all of it"), true).await.result;
            assert_eq!(result.map(|answer| seen(&answer).1), expected, "{head}");
            assert!(!connection.is_open());
        });
    }
}
