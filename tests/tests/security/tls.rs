//! TLS on the data port, with certificates made for each test; curl is the client.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use weirgate_tests::process::{Folder, run};
use weirgate_tests::{Raw, Server, Service, eventually};

use super::private;

/// An authority, and what it signs.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Authority {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // Clients tell authorities, and what they sign, apart by name.
        let name = format!("authority {}", NEXT.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate for localhost and its key.
    fn sign(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    fn file(&self, folder: &Folder, name: &str) -> PathBuf {
        folder.file(name, &self.0.pem())
    }
}

fn write(folder: &Folder, name: &str, (certificate, key): &(String, String)) -> [String; 2] {
    let certificate = folder.replace(&format!("{name}.pem"), certificate);
    let key = private(folder, &format!("{name}.key"), key);
    [certificate, key].map(|path| path.to_str().unwrap().to_owned())
}

fn curl(address: SocketAddr, authority: &Path, words: &[&str]) -> Output {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "30", "--cacert"]).arg(authority).args(words);
    run(command.arg(format!("https://{address}/v2/health/live")))
}

async fn server(folder: &Folder, authority: &Authority, more: &[(&str, &str)]) -> Server {
    let [certificate, key] = write(folder, "server", &authority.sign());
    let start = Server::with([Service::new("identity")]).flag("--tls-cert", &certificate).flag("--tls-key", &key);
    more.iter().fold(start, |start, (flag, value)| start.flag(flag, value)).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_http_go_over_tls_and_cleartext_is_told_so() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let trusted = authority.file(&folder, "ca.pem");
    let server = server(&folder, &authority, &[]).await;
    for (flag, version) in [("--http1.1", "1.1"), ("--http2", "2"), ("--tls-max=1.2", "2")] {
        let words = match flag.split_once('=') {
            Some((flag, value)) => vec![flag, value],
            None => vec![flag],
        };
        let output =
            curl(server.data, &trusted, &[&words[..], &["--write-out", " %{http_version} %{http_code}"]].concat());
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(told.ends_with(&format!(" {version} 200")), "{flag}: {output:?}");
    }
    let stranger = Authority::new().file(&folder, "stranger.pem");
    assert!(!curl(server.data, &stranger, &[]).status.success());
    let mut raw = Raw::connect(server.data).await;
    raw.write("GET /v2/health/live HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    let told = raw.read_until(|read| read.ends_with(b"}").then(|| String::from_utf8_lossy(read).into_owned())).await;
    assert!(
        told.as_deref().is_some_and(|told| told.starts_with("HTTP/1.1 400") && told.contains("https://")),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_taken_under_load_and_a_broken_one_is_not() {
    let (folder, before, after) = (Folder::new(), Authority::new(), Authority::new());
    let both = folder.file("both.pem", &(before.0.pem() + &after.0.pem()));
    let only_after = after.file(&folder, "after.pem");
    let server = server(&folder, &before, &[]).await;
    let works = |authority: &Path| curl(server.data, authority, &[]).status.success();
    assert!(works(&both) && !works(&only_after));
    // Half of a change: the certificate no longer goes with the key.
    folder.replace("server.pem", &after.sign().0);
    eventually("the error in the log", async || {
        assert!(works(&both));
        server.log().contains("don't go together").then_some(())
    })
    .await;
    write(&folder, "server", &after.sign());
    server.signal("HUP");
    eventually("the new certificate", async || {
        assert!(works(&both), "no handshake fails meanwhile");
        works(&only_after).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_must_show_a_certificate_where_authorities_are_named() {
    let (folder, authority, clients) = (Folder::new(), Authority::new(), Authority::new());
    let trusted = authority.file(&folder, "ca.pem");
    let client_ca = clients.file(&folder, "clients.pem");
    let server = server(&folder, &authority, &[("--tls-client-ca", client_ca.to_str().unwrap())]).await;
    let [certificate, key] = write(&folder, "client", &clients.sign());
    let [other, other_key] = write(&folder, "other", &Authority::new().sign());
    assert!(curl(server.data, &trusted, &["--cert", &certificate, "--key", &key]).status.success());
    assert!(!curl(server.data, &trusted, &["--cert", &other, "--key", &other_key]).status.success());
    assert!(!curl(server.data, &trusted, &[]).status.success());
}

/// Whoever connects and says nothing holds up nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_does_not_come_holds_up_no_other() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let trusted = authority.file(&folder, "ca.pem");
    let server = server(&folder, &authority, &[("--client-timeout", "1")]).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        let mut raw = Raw::connect(server.data).await;
        // The begin of a handshake record, and no more.
        raw.write([22, 3, 1]).await;
        silent.push(raw);
    }
    assert!(curl(server.data, &trusted, &[]).status.success());
    for mut raw in silent {
        let read = raw.read_until(|_| None::<()>).await;
        assert!(read.is_none(), "the server closes it");
    }
}
