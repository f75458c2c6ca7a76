//! TLS: which certificates are trusted, and what is spoken inside.

use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Host;

use super::Failure;
use crate::Result;

/// How certificates of an `https` target are judged.
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    /// Certificates in PEM to trust instead of the platform's.
    pub roots: Option<Vec<u8>>,
    /// Take any certificate.
    pub insecure: bool,
}

/// What handshakes with one server need.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    name: ServerName<'static>,
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
}

impl Tls {
    pub(super) fn new(host: &Host, options: &TlsOptions) -> Result<Tls> {
        let name = match host {
            Host::Domain(name) => ServerName::try_from(name.clone()).map_err(crate::error)?,
            Host::Ipv4(address) => ServerName::from(std::net::IpAddr::from(*address)),
            Host::Ipv6(address) => ServerName::from(std::net::IpAddr::from(*address)),
        };
        let mut http1 = config(options)?;
        let mut http2 = http1.clone();
        http1.alpn_protocols = vec![b"http/1.1".to_vec()];
        http2.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Tls { name, http1: http1.into(), http2: http2.into() })
    }

    pub(super) async fn handshake(
        &self,
        stream: TcpStream,
        http2: bool,
    ) -> std::result::Result<TlsStream<TcpStream>, Failure> {
        let config = if http2 { &self.http2 } else { &self.http1 };
        let connected = TlsConnector::from(config.clone()).connect(self.name.clone(), stream).await;
        match connected {
            // A server that does not take part in ALPN picks none.
            Ok(stream) if http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") => Err(no_http2()),
            Ok(stream) => Ok(stream),
            Err(error) if http2 && has_no_protocol(&error) => Err(no_http2()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(Failure::Tls("closed during the handshake".to_owned()))
            }
            Err(error) => Err(Failure::connect(&error)),
        }
    }
}

fn no_http2() -> Failure {
    Failure::Tls("the server does not offer HTTP/2 (ALPN h2)".to_owned())
}

/// Whether the server speaks none of the protocols that were offered.
fn has_no_protocol(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    matches!(error, Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)))
}

fn config(options: &TlsOptions) -> Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(crate::error)?;
    let trust = match &options.roots {
        _ if options.insecure => Trust::Any,
        Some(pem) => Trust::given(pem, provider.clone())?,
        None => return Ok(builder.with_platform_verifier().map_err(crate::error)?.with_no_client_auth()),
    };
    let verifier = Arc::new(Verifier { provider, trust });
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// Judges certificates otherwise than the platform does. Whatever it trusts, the server must prove that it has the key.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    trust: Trust,
}

#[derive(Debug)]
enum Trust {
    Any,
    /// What certificates that were given have signed, and those certificates themselves: an ordinary self-signed one says
    /// that it is an authority's, which no server's may be.
    Given {
        certificates: Vec<CertificateDer<'static>>,
        signed: Arc<WebPkiServerVerifier>,
    },
}

impl Trust {
    fn given(pem: &[u8], provider: Arc<CryptoProvider>) -> Result<Trust> {
        let wrong = |why: &dyn std::fmt::Display| crate::error(format!("certificates to trust: {why}"));
        let certificates = CertificateDer::pem_slice_iter(pem).collect::<std::result::Result<Vec<_>, _>>();
        let certificates = certificates.map_err(|error| wrong(&error))?;
        if certificates.is_empty() {
            return Err(wrong(&"there is none in the PEM"));
        }
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots.add(certificate.clone()).map_err(|error| wrong(&error))?;
        }
        let signed = WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build();
        Ok(Trust::Given { certificates, signed: signed.map_err(|error| wrong(&error))? })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        let Trust::Given { certificates, signed } = &self.trust else { return Ok(ServerCertVerified::assertion()) };
        match signed.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            // Its time is looked at first, before what it says of itself.
            Err(error) if certificates.iter().any(|given| given == certificate) && !is_out_of_time(&error) => {
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn is_out_of_time(error: &rustls::Error) -> bool {
    use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    matches!(
        error,
        rustls::Error::InvalidCertificate(Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. })
    )
}
