//! TLS to a server: whom we trust, and who we are.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, ClientConfig, ConfigBuilder, RootCertStore};
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

/// What handshakes with one server need.
pub(super) struct Tls {
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
}

impl Tls {
    /// `offers`: protocols, the preferred one first.
    pub fn new(host: &str, files: &TlsFiles, offers: &[&[u8]]) -> Result<Tls, String> {
        let name = ServerName::try_from(host.to_owned()).map_err(|error| format!("host '{host}': {error}"))?;
        let mut config = shown(trusted(files.ca.as_deref())?, files.client.as_ref())?;
        config.alpn_protocols = offers.iter().map(|offer| offer.to_vec()).collect();
        Ok(Tls { name, config: config.into() })
    }

    /// The connection, and whether the server picked h2.
    pub async fn handshake(&self, stream: TcpStream) -> Result<(Box<TlsStream<TcpStream>>, bool), String> {
        match TlsConnector::from(self.config.clone()).connect(self.name.clone(), stream).await {
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

fn trusted(ca: Option<&Path>) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let Some(path) = ca else {
        return builder.with_platform_verifier().map_err(|error| format!("the machine's authorities: {error}"));
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(builder.with_root_certificates(roots))
}

fn shown(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    client: Option<&(PathBuf, PathBuf)>,
) -> Result<ClientConfig, String> {
    let Some((chain, key)) = client else { return Ok(builder.with_no_client_auth()) };
    let pem = read(key)?;
    let private =
        PrivateKeyDer::from_pem_slice(&pem).map_err(|error| format!("{}: no private key: {error}", key.display()))?;
    let config = builder.with_client_auth_cert(certificates(chain)?, private);
    config.map_err(|error| format!("{} and {}: {error}", chain.display(), key.display()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = CertificateDer::pem_slice_iter(&read(path)?).collect::<Result<Vec<_>, _>>();
    match certificates {
        Ok(certificates) if certificates.is_empty() => {
            Err(format!("{}: there is no certificate in it", path.display()))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{}: {}", path.display(), super::transport::why(error)))
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
