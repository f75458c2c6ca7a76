//! TLS: whom we trust, and who we are.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use weirgate_replicas::remote::{Fault, FaultKind, TlsFiles, Transport};

use crate::server::{Scripted, call, config, post};

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Of its certificate.
    file: PathBuf,
}

impl Authority {
    fn new(folder: &Path, name: &str) -> Authority {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = folder.join(format!("{name}.pem"));
        std::fs::write(&file, issuer.pem()).unwrap();
        Authority { issuer, file }
    }

    /// A certificate and its key, as files.
    fn signs(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let signed = params.signed_by(&key, &self.issuer).unwrap();
        let (certificate, private) = (folder.join(format!("{name}.crt")), folder.join(format!("{name}.key")));
        std::fs::write(&certificate, signed.pem()).unwrap();
        std::fs::write(&private, key.serialize_pem()).unwrap();
        (certificate, private)
    }
}

/// A server that picks one of `protocols`, and wants to see a certificate of `clients`.
async fn start(
    tasks: &mut JoinSet<()>,
    (certificate, key): &(PathBuf, PathBuf),
    protocols: &[&str],
    clients: Option<&Authority>,
) -> u16 {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(&authority.file).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
    let mut config = builder.with_single_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap()).unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let accepted = acceptor.accept(stream);
            connections.spawn(async move {
                if let Ok(stream) = accepted.await {
                    crate::real::serve(stream, Arc::default()).await;
                }
            });
        }
    });
    port
}

async fn try_call(url: &str, tls: TlsFiles) -> Result<Transport, Fault> {
    let mut config = config(url);
    config.tls = tls;
    let transport = Transport::new(config).unwrap();
    for text in ["one", "two"] {
        assert_eq!(call(&transport, post(text)).await?, (200, text.into()));
    }
    Ok(transport)
}

#[tokio::test]
async fn the_server_picks_h2_or_http1() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    let server = authority.signs(folder.path(), "localhost");
    let trust = TlsFiles { ca: Some(authority.file.clone()), client: None };
    let mut tasks = JoinSet::new();
    for (protocols, idle) in [(&["h2", "http/1.1"][..], 0), (&["http/1.1"], 1), (&[], 1)] {
        let port = start(&mut tasks, &server, protocols, None).await;
        let transport = try_call(&format!("https://localhost:{port}"), trust.clone()).await.unwrap();
        assert_eq!((transport.stats().connects, transport.stats().idle), (1, idle), "{protocols:?}");
        let grpc = try_call(&format!("grpcs://localhost:{port}"), trust.clone()).await;
        assert_eq!(grpc.is_ok(), protocols.contains(&"h2"));
        if let Err(fault) = grpc {
            assert_eq!(fault.kind, FaultKind::Connect);
        }
    }
}

#[tokio::test]
async fn servers_that_are_not_trusted_are_sent_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, other) = (Authority::new(folder.path(), "ca"), Authority::new(folder.path(), "other"));
    let mut tasks = JoinSet::new();
    let port = start(&mut tasks, &authority.signs(folder.path(), "localhost"), &["http/1.1"], None).await;
    let url = format!("https://localhost:{port}");
    for (url, ca, part) in [
        (&url, Some(&other), "UnknownIssuer"),
        (&url, None, "certificate"),
        (&format!("https://127.0.0.1:{port}"), Some(&authority), "not valid for"),
    ] {
        let files = TlsFiles { ca: ca.map(|authority| authority.file.clone()), client: None };
        let fault = try_call(url, files).await.err().expect("it is trusted");
        assert_eq!((fault.kind, fault.not_executed()), (FaultKind::Connect, true));
        assert!(fault.to_string().contains(part), "{fault}");
    }
    let plain = Scripted::new(|mut peer, _| {
        assert!(!peer.take(5).starts_with(b"POST"), "it was sent in the clear");
        peer.say("HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let files = TlsFiles { ca: Some(authority.file.clone()), client: None };
    let fault = try_call(&format!("https://{}", plain.address), files).await.err().unwrap();
    assert_eq!(fault.kind, FaultKind::Connect);
}

#[tokio::test]
async fn servers_that_want_to_know_us_are_shown_our_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, other) = (Authority::new(folder.path(), "ca"), Authority::new(folder.path(), "other"));
    let server = authority.signs(folder.path(), "localhost");
    let mut tasks = JoinSet::new();
    for protocols in [&["h2"][..], &["http/1.1"]] {
        let port = start(&mut tasks, &server, protocols, Some(&authority)).await;
        let url = format!("https://localhost:{port}");
        let files = |client| TlsFiles { ca: Some(authority.file.clone()), client };
        try_call(&url, files(Some(authority.signs(folder.path(), "gateway")))).await.unwrap();
        for client in [None, Some(other.signs(folder.path(), "stranger"))] {
            let fault = try_call(&url, files(client)).await.err().expect("it was let in");
            assert_eq!((fault.kind, fault.not_executed()), (FaultKind::Connect, true), "{fault}");
        }
    }
}

#[test]
fn files_that_are_not_what_they_should_be() {
    let folder = tempfile::tempdir().unwrap();
    let (none, empty) = (folder.path().join("none"), folder.path().join("empty"));
    std::fs::write(&empty, "").unwrap();
    let authority = Authority::new(folder.path(), "ca");
    let (certificate, key) = authority.signs(folder.path(), "a");
    let (_, other_key) = authority.signs(folder.path(), "b");
    for (ca, client, part) in [
        (Some(&none), None, "none: entity not found"),
        (Some(&empty), None, "empty: there is no certificate in it"),
        (None, Some((&certificate, &empty)), "empty: no private key"),
        (None, Some((&certificate, &other_key)), "b.key: "),
        (None, Some((&key, &key)), "a.key: there is no certificate in it"),
    ] {
        let mut config = config("https://localhost");
        let client = client.map(|(certificate, key)| (certificate.clone(), key.clone()));
        config.tls = TlsFiles { ca: ca.cloned(), client };
        let error = Transport::new(config).err().expect("it was taken");
        assert!(error.contains(part), "{error}");
    }
}

/// Looks are a second apart.
const NEXT_LOOK: Duration = Duration::from_millis(1_200);

#[tokio::test]
async fn files_are_looked_at_again_before_a_handshake() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, other) = (Authority::new(folder.path(), "ca"), Authority::new(folder.path(), "other"));
    let mut tasks = JoinSet::new();
    let server = authority.signs(folder.path(), "localhost");
    let port = start(&mut tasks, &server, &["http/1.1"], Some(&authority)).await;
    let (certificate, key) = other.signs(folder.path(), "gateway");
    let mut config = config(&format!("https://localhost:{port}"));
    config.tls = TlsFiles { ca: Some(authority.file.clone()), client: Some((certificate.clone(), key.clone())) };
    // No connection is kept: each call has its own handshake.
    config.max_idle = 0;
    let transport = Transport::new(config).unwrap();
    let refused = async || call(&transport, post("a")).await.err().map(|fault| fault.kind);
    assert_eq!(refused().await, Some(FaultKind::Connect), "a stranger has signed it");
    // The certificate is there, and its key is not yet: what was read before holds on.
    let good = authority.signs(folder.path(), "good");
    std::fs::copy(&good.0, &certificate).unwrap();
    tokio::time::sleep(NEXT_LOOK).await;
    assert_eq!(refused().await, Some(FaultKind::Connect));
    std::fs::copy(&good.1, &key).unwrap();
    tokio::time::sleep(NEXT_LOOK).await;
    assert_eq!(call(&transport, post("a")).await.unwrap(), (200, "a".into()));
    std::fs::remove_file(&key).unwrap();
    tokio::time::sleep(NEXT_LOOK).await;
    assert_eq!(call(&transport, post("a")).await.unwrap(), (200, "a".into()), "what was read is still there");
    assert!(transport.stats().connects >= 4, "each had a handshake: {:?}", transport.stats());
}
