//! TLS to a server: whom we trust, and who we are.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Files in PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Authorities to trust instead of the machine's.
    pub ca: Option<PathBuf>,
    /// The certificate that we show, with its chain, and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Between two looks at the files, at least.
const PAUSE: Duration = Duration::from_secs(1);

/// What handshakes with one server need. The files are looked at again before a handshake: what they hold by then counts for
/// it, if it can be used.
pub(super) struct Tls {
    name: ServerName<'static>,
    files: TlsFiles,
    offers: Vec<Vec<u8>>,
    taken: Mutex<Taken>,
}

/// What was read last.
struct Taken {
    config: Arc<ClientConfig>,
    contents: Contents,
    /// What could not be used, which is told once.
    refused: Option<Contents>,
    looked: Instant,
}

/// What the files hold, in the order of [`TlsFiles::paths`].
type Contents = Vec<Result<Vec<u8>, String>>;

impl Tls {
    /// `offers`: protocols, the preferred one first.
    pub fn new(host: &str, files: &TlsFiles, offers: &[&[u8]]) -> Result<Tls, String> {
        let name = ServerName::try_from(host.to_owned()).map_err(|error| format!("host '{host}': {error}"))?;
        let (files, offers) = (files.clone(), offers.iter().map(|offer| offer.to_vec()).collect::<Vec<_>>());
        let contents = files.read();
        let config = files.config(&contents, &offers)?;
        let taken = Taken { config, contents, refused: None, looked: Instant::now() };
        Ok(Tls { name, files, offers, taken: Mutex::new(taken) })
    }

    /// For one handshake.
    async fn config(&self) -> Arc<ClientConfig> {
        if self.files.paths().next().is_some() && self.is_due(Instant::now()) {
            let files = self.files.clone();
            // Fails only where the runtime ends.
            if let Ok(contents) = tokio::task::spawn_blocking(move || files.read()).await {
                self.take(contents);
            }
        }
        self.taken.lock().config.clone()
    }

    /// Whether it is time to look; one of several handshakes does.
    fn is_due(&self, now: Instant) -> bool {
        let mut taken = self.taken.lock();
        let due = now.saturating_duration_since(taken.looked) >= PAUSE;
        if due {
            taken.looked = now;
        }
        due
    }

    fn take(&self, contents: Contents) {
        let mut taken = self.taken.lock();
        if contents == taken.contents {
            taken.refused = None;
            return;
        }
        match self.files.config(&contents, &self.offers) {
            Ok(config) => {
                tracing::info!(host = ?self.name, "files of TLS to a server were read again");
                *taken = Taken { config, contents, refused: None, looked: taken.looked };
            }
            // A certificate and its key are seldom replaced in the same moment.
            Err(error) if taken.refused.as_ref() != Some(&contents) => {
                tracing::error!(host = ?self.name, error, "files of TLS to a server can't be used: what was read before holds on");
                taken.refused = Some(contents);
            }
            Err(_) => {}
        }
    }

    /// The connection, and whether the server picked h2.
    pub async fn handshake(&self, stream: TcpStream) -> Result<(Box<TlsStream<TcpStream>>, bool), String> {
        match TlsConnector::from(self.config().await).connect(self.name.clone(), stream).await {
            Ok(stream) => {
                let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                Ok((Box::new(stream), is_h2))
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err("closed during the TLS handshake".to_owned())
            }
            Err(error) => Err(format!("TLS: {}", super::transport::why(error))),
        }
    }
}

impl TlsFiles {
    fn paths(&self) -> impl Iterator<Item = &Path> {
        let client = self.client.iter().flat_map(|(chain, key)| [chain, key]);
        self.ca.iter().chain(client).map(PathBuf::as_path)
    }

    fn read(&self) -> Contents {
        let read = |path: &Path| {
            fs::read(path).map_err(|error| format!("{}: {}", path.display(), super::transport::why(error)))
        };
        self.paths().map(read).collect()
    }

    /// `contents` are those of the paths, in their order.
    fn config(&self, contents: &[Result<Vec<u8>, String>], offers: &[Vec<u8>]) -> Result<Arc<ClientConfig>, String> {
        let mut contents = contents.iter();
        let mut next = |path: &Path| match contents.next() {
            Some(Ok(pem)) => Ok(pem.as_slice()),
            Some(Err(error)) => Err(error.clone()),
            None => Err(format!("{}: it was not read", path.display())),
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = match &self.ca {
            None => builder.with_platform_verifier().map_err(|error| format!("the machine's authorities: {error}"))?,
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(path, next(path)?)? {
                    roots.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
                }
                builder.with_root_certificates(roots)
            }
        };
        let mut config = match &self.client {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let shown = certificates(chain, next(chain)?)?;
                let private = PrivateKeyDer::from_pem_slice(next(key)?)
                    .map_err(|error| format!("{}: no private key: {error}", key.display()))?;
                let config = builder.with_client_auth_cert(shown, private);
                config.map_err(|error| format!("{} and {}: {error}", chain.display(), key.display()))?
            }
        };
        config.alpn_protocols = offers.to_vec();
        Ok(config.into())
    }
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    match certificates {
        Ok(certificates) if certificates.is_empty() => {
            Err(format!("{}: there is no certificate in it", path.display()))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// Whether it is what a server says that does not take our certificate. With TLS 1.3 it says so when its client has begun to
/// speak already, of which it has read nothing then.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::AlertReceived(alert)) = error else { return false };
    matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::HandshakeFailure
            | AlertDescription::DecryptError
    )
}
