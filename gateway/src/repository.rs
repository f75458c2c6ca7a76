//! The model repository: which models there are, and loading and unloading them by name, for every protocol that can ask.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use http::{Extensions, HeaderMap};
use weirgate_deploy::Control;
use weirgate_deploy::control::{Named, Refused};
use weirgate_protocol::{Error, ErrorCode, Result, RetryClass};
use weirgate_router::{Service, Wanted};

use crate::admin::Access;
use crate::dispatch::{Lane, Readiness};
use crate::explain;
use crate::gateway::{Asked, Gateway, ServiceRoute};
use crate::server::address::Address;

/// How long a load may take whose caller names no timeout.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// What those are told of a model that can't answer who may not know its servers.
const NO_SERVER: &str = "it has no server that is ready: the gateway's log says why";

/// Who may load and unload models on the data port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ModelControl {
    /// Who sends the control API's token.
    Token,
    /// Everybody who reaches the data port.
    Open,
    /// Nobody.
    Off,
}

/// The repository of one gateway.
pub struct Repository {
    gateway: Arc<Gateway>,
    control: Control,
    access: Arc<Access>,
}

/// One version of a model, as Triton's index has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    pub name: String,
    /// Empty where the model has no versions, or none is loaded.
    pub version: String,
    /// `READY`, `LOADING` or `UNAVAILABLE`.
    pub state: &'static str,
    /// Why it is not ready.
    pub reason: String,
}

/// Shows that a caller may load and unload models.
pub struct Allowed(());

/// What is to become of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Load,
    Unload,
}

impl Repository {
    pub fn new(gateway: Arc<Gateway>, control: Control, access: Arc<Access>) -> Repository {
        Repository { gateway, control, access }
    }

    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Loads or unloads the model asked for. A load is answered when the model has loaded, or `patience` has passed: then it
    /// goes on all the same.
    pub async fn change(
        &self,
        _: Allowed,
        change: Change,
        asked: &Asked<'_>,
        peer: Option<IpAddr>,
        patience: Duration,
    ) -> Result<()> {
        let service = self.gateway.service(asked)?;
        let named = Named { namespace: service.namespace.to_string(), name: service.name.to_string() };
        tracing::info!(service = %named, ?change, ?peer, "asked on the data port");
        let done = async {
            match change {
                Change::Load => self.control.load(named).await,
                Change::Unload => self.control.unload(named).await,
            }
        };
        let (has_not, goes_on) = match change {
            Change::Load => ("has not loaded", "loading"),
            Change::Unload => ("is not unloaded", "unloading"),
        };
        tokio::select! {
            done = tokio::time::timeout(patience, done) => match done {
                Ok(done) => done.map_err(|error| discreet(refused(error), &service)),
                Err(_) => {
                    let text = format!("model '{}' {has_not} within {patience:?}: it goes on {goes_on}", asked.model);
                    Err(Error::deadline(text, RetryClass::MayHaveExecuted))
                }
            },
            () = self.gateway.closes() => {
                Err(Error::unavailable(format!("the server is stopping: model '{}' {has_not}", asked.model)))
            }
        }
    }

    /// An error as whoever changes models is told it: who has the control API's token may know all.
    pub fn told(&self, extensions: &Extensions, headers: &HeaderMap, error: Error) -> Error {
        match self.gateway.config.model_control {
            ModelControl::Token => error.opened(),
            ModelControl::Open | ModelControl::Off => explain::told(extensions, headers, error),
        }
    }

    /// Whether a request with this head may load and unload models. To be asked before its body is read.
    pub fn allow(&self, address: &Address<'_>, headers: &HeaderMap) -> Result<Allowed> {
        // A browser sends such a request for any page, asked or not; only its answer it would keep from the page.
        if let Some(origin) = address.foreign_origin()
            && !self.gateway.config.cors_origins.iter().any(|named| named.is(origin))
        {
            let origin: String = String::from_utf8_lossy(origin.as_bytes()).chars().take(128).collect();
            return Err(Error::forbidden(format!(
                "Origin is '{origin}': models are loaded and unloaded by this host's own pages and by those of \
                 --cors-origin"
            )));
        }
        match self.gateway.config.model_control {
            ModelControl::Open => {}
            ModelControl::Token => self.access.check_token(headers).map_err(no_token)?,
            ModelControl::Off => {
                return Err(Error::forbidden(
                    "models are not loaded or unloaded on this port (flag --model-control off)",
                ));
            }
        }
        Ok(Allowed(()))
    }
}

/// Says of a missing token what clients of the data port can do.
fn no_token(error: Error) -> Error {
    if error.code() != ErrorCode::Unauthenticated {
        return error;
    }
    Error::unauthenticated(
        "loading and unloading models needs a token: send 'Authorization: Bearer TOKEN' with the one in the file token of \
         the server's state folder, or start the server with --model-control open",
    )
}

/// Parameters of Triton's would change what is loaded, and are not acted on. A model has no dependents here.
pub fn check_parameters<'a>(change: Change, names: impl IntoIterator<Item = &'a String>) -> Result<()> {
    let harmless = |name: &&String| change == Change::Unload && *name == "unload_dependents";
    match names.into_iter().find(|name| !harmless(name)) {
        None => Ok(()),
        Some(name) => {
            let name: String = name.chars().take(64).collect();
            Err(Error::invalid(format!(
                "parameter '{name}' is not supported: a model is loaded as its manifest says, so leave it out"
            )))
        }
    }
}

/// The models that can be asked for at an address, by name; `ready`: only those that can answer. `knows`: whoever asks may
/// know the servers that calls are passed to.
pub fn index(gateway: &Gateway, address: &Address<'_>, ready: bool, knows: bool) -> Result<Vec<IndexEntry>> {
    let services = gateway.services(address)?;
    let mut entries: Vec<_> = services.iter().flat_map(|(model, route)| entries(model, route, knows)).collect();
    entries.retain(|entry| !ready || entry.state == "READY");
    Ok(entries)
}

fn entries(model: &str, route: &Result<ServiceRoute>, knows: bool) -> Vec<IndexEntry> {
    let entry = |version: &str, state, reason: &str| IndexEntry {
        name: model.to_owned(),
        version: version.into(),
        state,
        reason: reason.into(),
    };
    let base = route.as_ref().map_err(Error::clone).and_then(|route| {
        let base = route.represent(Wanted::Any)?;
        Ok(&route.service.revisions[base].lane)
    });
    let base = match base {
        Ok(base) => base,
        Err(error) => return vec![entry("", "UNAVAILABLE", error.message())],
    };
    match base.readiness() {
        Readiness::Loading => vec![entry("", "LOADING", "")],
        // Why servers are not ready names them.
        Readiness::Failed(_) if base.is_remote() && !knows => vec![entry("", "UNAVAILABLE", NO_SERVER)],
        Readiness::Failed(reason) => vec![entry("", "UNAVAILABLE", &reason)],
        Readiness::Ready(model) => match &model.versions()[..] {
            [] => vec![entry("", "READY", "")],
            versions => versions.iter().map(|version| entry(version, "READY", "")).collect(),
        },
    }
}

/// Why servers are not ready names them.
fn discreet(error: Error, service: &Service<Arc<Lane>>) -> Error {
    let remote = service.revisions.iter().any(|revision| revision.lane.is_remote());
    if !remote || error.code() != ErrorCode::Unavailable {
        return error;
    }
    let text = format!("model '{}' did not load: {NO_SERVER}", service.model);
    let discreet = Error::unavailable(text).with_inside(error.message());
    match error.retry_after() {
        Some(after) => discreet.with_retry_after(after),
        None => discreet,
    }
}

/// What a platform's refusal is to whoever asked.
pub fn refused(refused: Refused) -> Error {
    let text = refused.to_string();
    match refused {
        Refused::NotFound(_) => Error::not_found(text),
        Refused::Owned(_) => Error::conflict(text),
        Refused::Invalid(_) => Error::invalid(text),
        Refused::Busy(_) => Error::queue_full(text, Duration::from_secs(1)),
        Refused::Failed(_) | Refused::NotStored(_) | Refused::Stopping => Error::unavailable(text),
        Refused::Replaced => Error::unavailable(text).with_retry_after(Duration::from_secs(2)),
    }
}
