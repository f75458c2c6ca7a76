//! The public keys of a tokens' issuer: from a file, or from a URL that is asked again now and then.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use tokio::sync::watch;
use tokio::time::Instant;
use url::Url;

use crate::watched::{Contents, Named, Reload, read};

/// A URL is asked again after this time, and after a token with an unknown key, but not sooner than [`AT_MOST_EVERY`].
const REFRESH: Duration = Duration::from_secs(600);
const AT_MOST_EVERY: Duration = Duration::from_secs(10);
/// After a failure, doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// How long a request waits for the keys to be asked for on its behalf.
const PATIENCE: Duration = Duration::from_secs(5);
const FETCH_TIME: Duration = Duration::from_secs(10);
const LARGEST: u64 = 1 << 20;
const MOST_KEYS: usize = 100;

/// Where the keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    File(PathBuf),
    Url(Url),
}

impl std::str::FromStr for KeySource {
    type Err = String;

    fn from_str(text: &str) -> Result<KeySource, String> {
        if !text.contains("://") {
            return Ok(KeySource::File(text.into()));
        }
        let url: Url = text.parse().map_err(|error| format!("'{text}' is no URL: {error}"))?;
        let loopback = url.host_str().is_some_and(|host| matches!(host, "localhost" | "127.0.0.1" | "[::1]"));
        match url.scheme() {
            "https" => Ok(KeySource::Url(url)),
            "http" if loopback => Ok(KeySource::Url(url)),
            _ => Err(format!(
                "'{text}' can't be trusted: whoever is on the way could put keys of his own there, give a file or https://"
            )),
        }
    }
}

/// A key that verifies signatures, by one algorithm alone: what a token says of itself does not choose it.
pub(super) struct VerifyingKey {
    id: Option<String>,
    pub algorithm: Algorithm,
    pub key: DecodingKey,
}

/// The keys of one version of the set.
pub(super) struct KeySet(Vec<VerifyingKey>);

impl KeySet {
    /// Reads a JWK set. Keys for other purposes, and of kinds that are not read here, are left out.
    fn parse(bytes: &[u8]) -> Result<KeySet, String> {
        let set: JwkSet = serde_json::from_slice(bytes).map_err(|error| format!("it is no JWK set: {error}"))?;
        let keys: Vec<_> = set.keys.iter().filter_map(verifying).take(MOST_KEYS).collect();
        if keys.is_empty() {
            return Err("it holds no key for RS256, ES256 or EdDSA".to_owned());
        }
        Ok(KeySet(keys))
    }

    /// The key that a token names. A token that names none is taken for the only key of its algorithm, where there is one.
    pub fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&VerifyingKey> {
        let mut keys = self.0.iter().filter(|key| key.algorithm == algorithm);
        match id {
            Some(id) => keys.find(|key| key.id.as_deref() == Some(id)),
            None => keys.next().filter(|_| keys.next().is_none()),
        }
    }
}

fn verifying(jwk: &Jwk) -> Option<VerifyingKey> {
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        _ => return None,
    };
    let told = jwk.common.key_algorithm;
    let other_use = jwk.common.public_key_use.as_ref().is_some_and(|its_use| *its_use != PublicKeyUse::Signature);
    if other_use || told.is_some_and(|told| told != algorithm.into()) {
        return None;
    }
    let key = DecodingKey::from_jwk(jwk).ok()?;
    Some(VerifyingKey { id: jwk.common.key_id.clone(), algorithm, key })
}

/// The keys as they are now, and who gets new ones.
pub struct Jwks {
    source: KeySource,
    keys: ArcSwapOption<KeySet>,
    attempts: watch::Sender<Attempts>,
}

/// Attempts to get new keys from a URL.
#[derive(Default)]
struct Attempts {
    /// One is asked for or runs. All who come meanwhile wait for the same.
    running: bool,
    ended: u64,
    last_end: Option<Instant>,
}

impl Attempts {
    fn just_ended(&self) -> bool {
        self.last_end.is_some_and(|end| end.elapsed() < AT_MOST_EVERY)
    }

    fn end(&mut self) {
        *self = Attempts { running: false, ended: self.ended + 1, last_end: Some(Instant::now()) };
    }
}

impl Jwks {
    /// Reads a file, which must be there, and also returns what it held. A URL is asked by [`Jwks::refresh`].
    pub fn open(source: KeySource) -> Result<(Arc<Jwks>, Vec<Contents>), String> {
        let jwks = Jwks { source, keys: ArcSwapOption::empty(), attempts: watch::Sender::default() };
        let contents: Vec<_> = jwks.files().iter().map(read).collect();
        if !contents.is_empty() {
            jwks.reload(&contents)?;
        }
        Ok((Arc::new(jwks), contents))
    }

    pub fn is_file(&self) -> bool {
        matches!(self.source, KeySource::File(_))
    }

    pub(super) fn keys(&self) -> Option<Arc<KeySet>> {
        self.keys.load_full()
    }

    /// Has a URL asked again for a key that is not known, unless that was done just now, and waits for the answer: of the
    /// attempt that runs already, where there is one.
    pub(super) async fn look_again(&self) {
        if self.is_file() {
            return;
        }
        let mut attempts = self.attempts.subscribe();
        let mut waits_for = None;
        self.attempts.send_if_modified(|attempts| {
            let begins = !attempts.running && !attempts.just_ended();
            attempts.running |= begins;
            waits_for = attempts.running.then_some(attempts.ended + 1);
            begins
        });
        let Some(waits_for) = waits_for else { return };
        // Who has waited in vain is told that the key is not known.
        let _ = tokio::time::timeout(PATIENCE, attempts.wait_for(|attempts| attempts.ended >= waits_for)).await;
    }

    /// As if some time had passed.
    #[cfg(test)]
    pub(super) fn forget_last_attempt(&self) {
        self.attempts.send_modify(|attempts| attempts.last_end = None);
    }

    /// Asks the URL, and again and again, until dropped.
    pub async fn refresh(self: Arc<Self>) {
        let KeySource::Url(url) = &self.source else { return };
        let mut wanted = self.attempts.subscribe();
        let mut failures = 0;
        loop {
            self.attempts.send_modify(|attempts| attempts.running = true);
            let asked = url.clone();
            let fetched = tokio::task::spawn_blocking(move || fetch(&asked)).await;
            let keys = fetched.unwrap_or_else(|error| Err(error.to_string())).and_then(|bytes| KeySet::parse(&bytes));
            let pause = match keys {
                Ok(keys) => {
                    self.keys.store(Some(Arc::new(keys)));
                    failures = 0;
                    REFRESH
                }
                Err(error) => {
                    let has_keys = self.keys.load().is_some();
                    tracing::error!(
                        host = url.host_str(),
                        error,
                        has_keys,
                        "the keys of the tokens' issuer can't be fetched"
                    );
                    let pause = FIRST_PAUSE.saturating_mul(1 << failures.min(16)).min(LONGEST_PAUSE);
                    failures += 1;
                    pause
                }
            };
            self.attempts.send_modify(Attempts::end);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = wanted.wait_for(|attempts| attempts.running) => {}
            }
        }
    }
}

impl Reload for Jwks {
    fn what(&self) -> &'static str {
        "the file of the tokens' keys"
    }

    fn files(&self) -> Vec<Named> {
        match &self.source {
            KeySource::File(path) => vec![Named::new(path, "--jwt-jwks")],
            KeySource::Url(_) => Vec::new(),
        }
    }

    fn reload(&self, contents: &[Contents]) -> Result<(), String> {
        for (Named { path, .. }, bytes) in self.files().iter().zip(contents) {
            let keys = KeySet::parse(bytes.as_ref().map_err(String::clone)?);
            let keys = keys.map_err(|error| format!("{}: {error} (--jwt-jwks)", path.display()))?;
            self.keys.store(Some(Arc::new(keys)));
        }
        Ok(())
    }
}

fn fetch(url: &Url) -> Result<Vec<u8>, String> {
    let tls = ureq::tls::TlsConfig::builder()
        .root_certs(ureq::tls::RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    // A redirect could lead from https to http, or to a stranger.
    let config = ureq::Agent::config_builder()
        .max_redirects(0)
        .max_idle_connections(0)
        .timeout_global(Some(FETCH_TIME))
        .user_agent(concat!("weirgate/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls)
        .build();
    let answer = config.new_agent().get(url.as_str()).call().map_err(|error| match error {
        // Its text is the URL, which may hold a secret.
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => "it can't be asked for: check the URL".to_owned(),
        error => error.to_string(),
    })?;
    if answer.status() != 200 {
        return Err(format!("the server answered {}", answer.status()));
    }
    let mut bytes = Vec::new();
    let read = answer.into_body().into_with_config().limit(LARGEST).reader().read_to_end(&mut bytes);
    read.map_err(|error| format!("the answer can't be read: {error}"))?;
    Ok(bytes)
}
