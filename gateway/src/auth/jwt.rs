//! Tokens of an issuer (JWT): signature, issuer, audience and times are checked, and `sub` names the caller.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use parking_lot::Mutex;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use weirgate_protocol::{Error, Result};
use weirgate_router::limits::Meter;

use super::caller::{Caller, Reason, count};
use super::jwks::{Jwks, KeySet};
use super::policy::Policy;
use super::recent::Recent;
use super::ring_provider;

/// What clocks may differ by.
const LEEWAY: u64 = 60;
/// Tokens that are known to be good, and subjects whose use is counted. Of more, those that did not call lately are
/// forgotten.
const MOST: usize = 10_000;
const LONGEST_TOKEN: usize = 16 << 10;
const LONGEST_SUBJECT: usize = 256;
/// What callers with tokens are called in metrics.
const LABEL: &str = "(token)";

const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];

/// What tokens must say, and what their bearers may use.
#[derive(Clone, Debug)]
pub struct TokensConfig {
    pub issuer: String,
    pub audience: String,
    /// For what a token's own claim does not say.
    pub defaults: Policy,
}

/// Knows callers by their tokens.
pub struct Tokens {
    config: TokensConfig,
    jwks: Arc<Jwks>,
    /// By the hash of the token.
    good: Mutex<Recent<[u8; 32], Good>>,
    /// What each subject has used, whatever its tokens say.
    used: Mutex<Recent<Arc<str>, Arc<Mutex<Meter>>>>,
    label: Arc<str>,
}

#[derive(Clone)]
struct Good {
    caller: Arc<Caller>,
    expires: SystemTime,
    /// The keys that it was verified by. Where they have changed it is verified anew.
    by: Arc<KeySet>,
}

/// The claims that are read here; those of the standard are checked before.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: f64,
    #[serde(default)]
    weirgate: Option<Policy>,
}

/// Whether it looks like a token. The keys made here have no dots.
pub(super) fn is_token(shown: &[u8]) -> bool {
    shown.iter().filter(|&&byte| byte == b'.').count() == 2
}

impl Tokens {
    pub fn new(config: TokensConfig, jwks: Arc<Jwks>) -> Tokens {
        ring_provider::install();
        Tokens {
            config,
            jwks,
            good: Mutex::new(Recent::new(MOST)),
            used: Mutex::new(Recent::new(MOST)),
            label: LABEL.into(),
        }
    }

    /// The caller that a token belongs to.
    pub(super) async fn caller(&self, token: &[u8], now: SystemTime) -> Result<Arc<Caller>> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        let known = self.good.lock().get(&digest);
        if let Some(Good { caller, expires, by }) = known
            && now < expires
            && self.jwks.keys().is_some_and(|keys| Arc::ptr_eq(&keys, &by))
        {
            self.keep_counting(&caller);
            return Ok(caller);
        }
        let good = match self.verify(token) {
            Err(Refused::UnknownKey) => {
                self.jwks.look_again().await;
                self.verify(token)
            }
            verified => verified,
        };
        let good = good.map_err(Refused::into_error)?;
        self.good.lock().put(digest, good.clone());
        Ok(good.caller)
    }

    /// Who calls is not forgotten, however many others there are: with another token it would begin anew.
    fn keep_counting(&self, caller: &Caller) {
        let mut used = self.used.lock();
        let subject = &caller.identity().name;
        if used.get(subject).is_none() {
            used.put(subject.clone(), caller.meter().clone());
        }
    }

    fn verify(&self, token: &[u8]) -> Result<Good, Refused> {
        let bad = |text: &'static str| Refused::Bad(text);
        if token.len() > LONGEST_TOKEN {
            return Err(bad("it has more than 16 KiB"));
        }
        let Some(keys) = self.jwks.keys() else { return Err(Refused::NoKeys) };
        let header = decode_header(token)
            .map_err(|_| bad("its header can't be read, or names an algorithm other than RS256, ES256 and EdDSA"))?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(bad("its algorithm is none of RS256, ES256 and EdDSA"));
        }
        if header.crit.is_some() {
            return Err(bad("it asks for extensions (crit) that are not known here"));
        }
        let key = keys.find(header.kid.as_deref(), header.alg).ok_or(Refused::UnknownKey)?;
        let mut validation = Validation::new(key.algorithm);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.set_issuer(&[&self.config.issuer]);
        validation.set_audience(&[&self.config.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let Claims { sub, exp, weirgate } = decode::<Claims>(token, &key.key, &validation)
            .map_err(|error| match error.kind() {
                ErrorKind::ExpiredSignature => Refused::Expired,
                ErrorKind::ImmatureSignature => bad("it is not valid yet"),
                ErrorKind::InvalidIssuer => bad("it is of another issuer"),
                ErrorKind::InvalidAudience => bad("it is for another audience"),
                ErrorKind::MissingRequiredClaim(_) => bad("it lacks one of exp, iss, aud and sub"),
                ErrorKind::Json(_) => {
                    bad("its claims can't be read: sub is a text, exp a time, and weirgate an object of services and limits")
                }
                _ => bad("its signature is not that of the issuer's key"),
            })?
            .claims;
        if sub.is_empty() || sub.len() > LONGEST_SUBJECT || sub.chars().any(char::is_control) {
            return Err(bad("its sub is empty, or longer than 256 bytes"));
        }
        let policy = weirgate.unwrap_or_default().or(&self.config.defaults);
        let now = Instant::now();
        let subject: Arc<str> = sub.as_str().into();
        let mut used = self.used.lock();
        let caller = Arc::new(Caller::new(&sub, self.label.clone(), policy, used.get(&subject), now));
        used.put(subject, caller.meter().clone());
        let life = Duration::try_from_secs_f64(exp).unwrap_or(Duration::ZERO) + Duration::from_secs(LEEWAY);
        Ok(Good { caller, expires: UNIX_EPOCH.checked_add(life).unwrap_or(UNIX_EPOCH), by: keys.clone() })
    }
}

/// Why a token is no good.
#[derive(Debug, PartialEq, Eq)]
enum Refused {
    UnknownKey,
    Expired,
    /// The issuer's keys could not be fetched yet.
    NoKeys,
    Bad(&'static str),
}

impl Refused {
    fn into_error(self) -> Error {
        let text = match self {
            Refused::NoKeys => {
                let text = "the keys of the tokens' issuer could not be fetched yet: ask again in a moment";
                return Error::unavailable(text).with_retry_after(Duration::from_secs(2));
            }
            Refused::UnknownKey => "it is signed by a key that the issuer does not publish",
            Refused::Expired => "it has expired",
            Refused::Bad(text) => text,
        };
        count(if self == Refused::Expired { Reason::Expired } else { Reason::Unknown }, LABEL);
        Error::unauthenticated(format!("the token is not valid: {text}"))
    }
}

#[cfg(test)]
#[path = "jwt_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "jwt_url_tests.rs"]
mod url_tests;
