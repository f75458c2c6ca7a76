//! TLS on the data port: the certificate, whom it trusts, and both read again while connections go on.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;

use crate::watched::{Contents, Named, Reload, read};

/// What a connection begins with that speaks TLS: the type of a handshake record.
pub const HANDSHAKE: u8 = 22;

/// Where a certificate, its key and the authorities of clients lie, all in PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate first, and then those it is signed by.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// With these, a client must show a certificate that one of them has signed.
    pub client_authorities: Option<PathBuf>,
}

/// The TLS of a port. New connections take what the files held last and was good.
pub struct Tls {
    files: TlsFiles,
    config: ArcSwap<ServerConfig>,
}

impl Tls {
    /// Reads the files, and also returns what they held.
    pub fn open(files: TlsFiles) -> Result<(Arc<Tls>, Vec<Contents>), String> {
        let contents: Vec<_> = files.named().iter().map(read).collect();
        let config = ArcSwap::from(files.config(&contents)?);
        Ok((Arc::new(Tls { files, config }), contents))
    }

    /// For one connection.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }
}

impl Reload for Tls {
    fn what(&self) -> &'static str {
        "the certificate of the data port"
    }

    fn files(&self) -> Vec<Named> {
        self.files.named()
    }

    fn reload(&self, contents: &[Contents]) -> Result<(), String> {
        self.config.store(self.files.config(contents)?);
        Ok(())
    }
}

impl TlsFiles {
    fn named(&self) -> Vec<Named> {
        let authorities = self.client_authorities.iter().map(|path| Named::new(path, "--tls-client-ca"));
        let own = [Named::new(&self.certificate, "--tls-cert"), Named::new(&self.key, "--tls-key")];
        own.into_iter().chain(authorities).collect()
    }

    /// `contents` are those of the files, in their order.
    fn config(&self, contents: &[Contents]) -> Result<Arc<ServerConfig>, String> {
        let [certificate, key, ..] = contents else { return Err("a certificate and its key are needed".to_owned()) };
        let chain = certificates(certificate.as_ref().map_err(String::clone)?)
            .map_err(|error| format!("{} holds no certificates: {error} (--tls-cert)", self.certificate.display()))?;
        let key = PrivateKeyDer::from_pem_slice(key.as_ref().map_err(String::clone)?)
            .map_err(|error| format!("{} holds no private key: {error} (--tls-key)", self.key.display()))?;
        let refused = |error: rustls::Error| format!("the data port can't speak TLS: {error}");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().map_err(refused)?;
        let config = match self.client_authorities.as_ref().zip(contents.get(2)) {
            None => config.with_no_client_auth(),
            Some((path, pem)) => {
                let wrong = |error: &dyn std::fmt::Display| {
                    format!("{} holds no authorities: {error} (--tls-client-ca)", path.display())
                };
                let mut roots = RootCertStore::empty();
                let pem = pem.as_ref().map_err(String::clone)?;
                for authority in certificates(pem).map_err(|error| wrong(&error))? {
                    roots.add(authority).map_err(|error| wrong(&error))?;
                }
                let provider = Arc::new(ring::default_provider());
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                config.with_client_cert_verifier(verifier.map_err(|error| wrong(&error))?)
            }
        };
        let mut config = config.with_single_cert(chain, key).map_err(|error| {
            let (certificate, key) = (self.certificate.display(), self.key.display());
            format!("{certificate} and {key} don't go together: {error} (--tls-cert, --tls-key)")
        })?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err("there is no BEGIN CERTIFICATE in it".to_owned()),
        Ok(found) => Ok(found),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey, generate_simple_self_signed};

    use super::*;
    use crate::watched::Seen;

    fn seen(bytes: impl Into<Vec<u8>>) -> Contents {
        Ok(Seen { bytes: bytes.into(), mode: 0o600 })
    }

    fn pem() -> [Contents; 2] {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        [seen(cert.pem()), seen(signing_key.serialize_pem())]
    }

    fn files(client_authorities: Option<&str>) -> TlsFiles {
        let client_authorities = client_authorities.map(PathBuf::from);
        TlsFiles { certificate: "cert.pem".into(), key: "key.pem".into(), client_authorities }
    }

    #[test]
    fn a_pair_is_taken_and_a_broken_one_leaves_the_old() {
        let [certificate, key] = pem();
        let config = files(None).config(&[certificate.clone(), key.clone()]).unwrap();
        let tls = Tls { files: files(None), config: ArcSwap::from(config.clone()) };
        let [other, _] = pem();
        for (contents, expected) in [
            ([other, key.clone()], "don't go together"),
            ([seen(""), key.clone()], "cert.pem holds no certificates"),
            ([certificate.clone(), certificate.clone()], "key.pem holds no private key"),
            ([Err("cert.pem can't be read".to_owned()), key.clone()], "can't be read"),
        ] {
            let error = tls.reload(&contents).unwrap_err();
            assert!(error.contains(expected), "{error}");
            assert!(Arc::ptr_eq(&tls.config(), &config));
        }
        tls.reload(&pem()).unwrap();
        assert!(!Arc::ptr_eq(&tls.config(), &config));
    }

    #[test]
    fn authorities_must_be_certificates() {
        let [certificate, key] = pem();
        let with = |authorities: Contents| {
            files(Some("ca.pem")).config(&[certificate.clone(), key.clone(), authorities]).map(drop)
        };
        assert_eq!(with(certificate.clone()), Ok(()));
        assert!(with(seen("nothing")).unwrap_err().contains("ca.pem holds no authorities"));
    }
}
