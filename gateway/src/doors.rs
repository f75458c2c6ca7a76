//! What keeps others out of the data port, made of the flags: its TLS, and whom it knows; and what reads both again.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::auth::{Auth, Jwks, KeyFile, Tokens};
use crate::config::ServeConfig;
use crate::repository::ModelControl;
use crate::server::tls::Tls;
use crate::watched::{Reload, Watched, watch};

/// TLS and callers of the data port.
pub struct Doors {
    pub tls: Option<Arc<Tls>>,
    /// None: everybody may call.
    pub auth: Option<Auth>,
    watched: Vec<Watched>,
    jwks: Option<Arc<Jwks>>,
}

impl Doors {
    /// Reads the files that the flags name. An error is one of theirs.
    pub fn open(config: &ServeConfig) -> Result<Doors, String> {
        let mut doors = Doors { tls: None, auth: None, watched: Vec::new(), jwks: None };
        if let Some(files) = config.tls.files() {
            let (tls, contents) = Tls::open(files)?;
            doors.keep(tls.clone(), contents);
            doors.tls = Some(tls);
        }
        let mut keys = None;
        if let Some(path) = config.auth.api_keys.clone() {
            let (file, contents) = KeyFile::open(path)?;
            doors.keep(file.clone(), contents);
            keys = Some(file);
        }
        let mut tokens = None;
        if let Some((source, config)) = config.auth.jwt_jwks.clone().zip(config.auth.tokens()) {
            let (jwks, contents) = Jwks::open(source)?;
            if jwks.is_file() {
                doors.keep(jwks.clone(), contents);
            } else {
                doors.jwks = Some(jwks.clone());
            }
            tokens = Some(Arc::new(Tokens::new(config, jwks)));
        }
        if config.auth.is_on() {
            let models_have_a_token = config.model_control != ModelControl::Open;
            doors.auth = Some(Auth { keys, tokens, models_have_a_token });
        }
        Ok(doors)
    }

    fn keep(&mut self, target: Arc<dyn Reload>, taken: Vec<crate::watched::Contents>) {
        self.watched.push(Watched::new(target, taken));
    }

    /// Goes on reading, on `tasks`; at once when `now` is sent.
    pub fn watch(&mut self, tasks: &mut JoinSet<bool>, now: watch::Receiver<()>) {
        let watched = std::mem::take(&mut self.watched);
        if !watched.is_empty() {
            tasks.spawn(async move {
                watch(watched, now).await;
                true
            });
        }
        if let Some(jwks) = self.jwks.take() {
            tasks.spawn(async move {
                jwks.refresh().await;
                true
            });
        }
    }
}
