//! `grpc.health.v1`: the server (empty name or the inference service's) and each model by its name.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use weirgate_protocol::Error;

use crate::auth::Caller;
use crate::gateway::{Asked, Gateway};
use crate::respond;
use crate::server::address::Address;

const SERVER_NAMES: [&str; 2] = ["", "inference.GRPCInferenceService"];

pub(super) struct Health {
    gateway: Arc<Gateway>,
}

impl Health {
    pub(super) fn new(gateway: Arc<Gateway>) -> Self {
        Health { gateway }
    }
}

/// The state of a name, or an error where nothing has it. The server's own is told to everybody.
fn status(gateway: &Gateway, name: &str, caller: Option<&Arc<Caller>>) -> Result<ServingStatus, Error> {
    let ready = SERVER_NAMES.contains(&name) || {
        if gateway.asks_for_keys() && caller.is_none() {
            return Err(Error::unauthenticated("a key is needed to ask for the health of a model by its name"));
        }
        let address = caller.map(|caller| Address::of_caller(caller)).unwrap_or_default();
        gateway.model_ready(&Asked { model: name, address, ..Asked::default() })?
    };
    let serving = ready && !gateway.is_draining();
    Ok(if serving { ServingStatus::Serving } else { ServingStatus::NotServing })
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let caller = request.extensions().get::<Arc<Caller>>().cloned();
        let name = request.into_inner().service;
        match status(&self.gateway, &name, caller.as_ref()) {
            Ok(status) => Ok(Response::new(answer(status))),
            Err(error) => Err(respond::grpc_error(&error)),
        }
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    /// Sends the state now and at each change. A name that nothing has is `SERVICE_UNKNOWN` and may come to be.
    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let caller = request.extensions().get::<Arc<Caller>>().cloned();
        let name = request.into_inner().service;
        let (gateway, changes) = (self.gateway.clone(), self.gateway.watch_changes());
        let watch = Watch { gateway, changes, name, caller, last: None };
        Ok(Response::new(Box::pin(unfold(watch, |mut watch| async { Some((Ok(watch.next().await?), watch)) }))))
    }
}

/// One watcher of one name.
struct Watch {
    gateway: Arc<Gateway>,
    changes: watch::Receiver<u64>,
    name: String,
    caller: Option<Arc<Caller>>,
    last: Option<ServingStatus>,
}

impl Watch {
    /// The next state that differs from the last. Ends when the server drains, after saying so: a stream that stays open
    /// would hold up the drain.
    async fn next(&mut self) -> Option<HealthCheckResponse> {
        loop {
            if self.last.is_some() {
                if self.gateway.is_draining() && self.last != Some(ServingStatus::Serving) {
                    return None;
                }
                tokio::select! {
                    changed = self.changes.changed() => changed.ok()?,
                    // Another process may take over, to which the client is to turn.
                    () = self.gateway.closes() => return None,
                }
            }
            self.changes.mark_unchanged();
            let now = status(&self.gateway, &self.name, self.caller.as_ref()).unwrap_or(ServingStatus::ServiceUnknown);
            if self.last.replace(now) != Some(now) {
                return Some(answer(now));
            }
        }
    }
}
