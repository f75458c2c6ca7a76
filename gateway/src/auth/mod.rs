//! Who may call on the data port, and how much.
//!
//! ```text
//! credential  what a caller shows, taken out of the request's head
//! keys        the file of API keys
//! jwt, jwks   tokens, and the keys of their issuer
//! policy      what a caller may use, as files and claims write it
//! caller      one who calls, and what it has used
//! recent      a bounded map of those who called lately
//! ring_provider  signatures by ring
//! refusals    those that were refused, in the log
//! usage       the answer, which holds the call's place and counts its tokens
//! ```
//!
//! Without keys and tokens the port is open. All of it is asked before a request is routed; which services a caller may use
//! is asked where one is looked up, so that there is no way around it.

pub mod caller;
mod credential;
mod jwks;
mod jwt;
pub mod keys;
pub mod policy;
mod recent;
pub mod refusals;
mod ring_provider;
mod usage;

use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Body;
use http::{Method, Request, Response, header};
use weirgate_protocol::{Error, Result};

pub use caller::Caller;
use caller::{Place, Reason, count};
pub use jwks::{Jwks, KeySource};
pub use jwt::{Tokens, TokensConfig};
pub use keys::KeyFile;

use crate::grpc;

/// Bytes of a request for each token it is taken for until its answer says how many there were.
const BYTES_PER_TOKEN: f64 = 4.0;

/// Whom the data port lets in.
pub struct Auth {
    pub keys: Option<Arc<KeyFile>>,
    pub tokens: Option<Arc<Tokens>>,
    /// Loading and unloading models asks for the control API's token, and not for a key.
    pub models_have_a_token: bool,
}

/// A request that was let in.
pub struct Admitted {
    /// None: what it asks for is open to all.
    pub caller: Option<Arc<Caller>>,
    place: Option<Place>,
    counts_tokens: bool,
}

/// Why a request was not let in, and whose it is where that is known.
pub struct Denied {
    pub error: Error,
    pub caller: Option<Arc<Caller>>,
}

impl From<Error> for Denied {
    fn from(error: Error) -> Denied {
        Denied { error, caller: None }
    }
}

impl Auth {
    /// Lets a request in, or says why not, before anything else of it is looked at. `openai`: its answer says how many tokens
    /// it used.
    pub async fn admit(&self, request: &mut Request<Body>, openai: bool) -> Result<Admitted, Denied> {
        let (path, post) = (request.uri().path(), request.method() == Method::POST);
        let open = is_health(path) || (self.models_have_a_token && is_model_control(path));
        // Each message of a stream is a call, and counted there.
        let counted = !open && path != grpc::MODEL_STREAM_INFER;
        let credential = if is_model_control(path) && open { None } else { credential::take(request.headers_mut()) };
        let caller = match credential {
            Some(shown) => self.caller(shown.as_bytes()).await.map(Some),
            None if open => Ok(None),
            None => {
                count(Reason::Missing, "");
                Err(Error::unauthenticated(self.asks()))
            }
        };
        let caller = match caller {
            Ok(caller) => caller,
            // Health is told to everybody, whatever they show.
            Err(_) if open => None,
            Err(error) => return Err(error.into()),
        };
        let Some(known) = caller.as_ref().filter(|_| counted) else {
            return Ok(Admitted { caller, place: None, counts_tokens: false });
        };
        let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let denied = |error| Denied { error, caller: Some(known.clone()) };
        known.check_length(length.unwrap_or_default()).map_err(denied)?;
        let counts_tokens = openai && post && known.counts_tokens();
        let estimated = if counts_tokens {
            // An encoded answer could not be looked through.
            request.headers_mut().remove(header::ACCEPT_ENCODING);
            (length.unwrap_or_default() as f64 / BYTES_PER_TOKEN).ceil().max(1.0)
        } else {
            0.0
        };
        let place = known.enter(estimated).map_err(denied)?;
        Ok(Admitted { caller, place: Some(place), counts_tokens })
    }

    async fn caller(&self, shown: &[u8]) -> Result<Arc<Caller>> {
        let now = SystemTime::now();
        if let Some(keys) = &self.keys
            && let Some(caller) = keys.find(shown, now)?
        {
            return Ok(caller);
        }
        match &self.tokens {
            Some(tokens) if jwt::is_token(shown) => tokens.caller(shown, now).await,
            _ => {
                count(Reason::Unknown, "");
                Err(Error::unauthenticated(format!("what was shown is not known here: {}", self.asks())))
            }
        }
    }

    fn asks(&self) -> &'static str {
        match (&self.keys, &self.tokens) {
            (Some(_), None) => "send an API key, as 'Authorization: Bearer KEY' or 'x-api-key: KEY'",
            (None, _) => "send a token of the issuer, as 'Authorization: Bearer TOKEN'",
            (Some(_), Some(_)) => {
                "send an API key or a token of the issuer, as 'Authorization: Bearer KEY' or 'x-api-key: KEY'"
            }
        }
    }
}

impl Admitted {
    /// Has the answer hold the call's place to its end.
    pub fn hold(self, response: Response<Body>) -> Response<Body> {
        match self.place {
            Some(place) => usage::hold(response, place, self.counts_tokens),
            None => response,
        }
    }
}

/// What load balancers ask, which have no keys. Of models by name only callers are told, where gRPC's health is asked.
fn is_health(path: &str) -> bool {
    path.starts_with("/v2/health/") || path.starts_with("/grpc.health.v1.Health/") || grpc::is_server_health(path)
}

fn is_model_control(path: &str) -> bool {
    let rest = path.strip_prefix("/v2/repository/models/").and_then(|rest| rest.split_once('/'));
    matches!(rest, Some((_, "load" | "unload"))) || grpc::is_model_control(path)
}
