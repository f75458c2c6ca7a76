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

use crate::gateway::{Asked, Gateway};
use crate::respond;

const SERVER_NAMES: [&str; 2] = ["", "inference.GRPCInferenceService"];

pub(super) struct Health {
    gateway: Arc<Gateway>,
}

impl Health {
    pub(super) fn new(gateway: Arc<Gateway>) -> Self {
        Health { gateway }
    }
}

/// The state of a name, or an error where nothing has it.
fn status(gateway: &Gateway, name: &str) -> Result<ServingStatus, Error> {
    let ready = SERVER_NAMES.contains(&name) || gateway.model_ready(&Asked { model: name, ..Asked::default() })?;
    let serving = ready && !gateway.is_draining();
    Ok(if serving { ServingStatus::Serving } else { ServingStatus::NotServing })
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let name = request.into_inner().service;
        match status(&self.gateway, &name) {
            Ok(status) => Ok(Response::new(answer(status))),
            Err(error) => Err(respond::grpc_error(&error)),
        }
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    /// Sends the state now and at each change. A name that nothing has is `SERVICE_UNKNOWN` and may come to be.
    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let name = request.into_inner().service;
        let watch = Watch { gateway: self.gateway.clone(), changes: self.gateway.watch_changes(), name, last: None };
        Ok(Response::new(Box::pin(unfold(watch, |mut watch| async { Some((Ok(watch.next().await?), watch)) }))))
    }
}

/// One watcher of one name.
struct Watch {
    gateway: Arc<Gateway>,
    changes: watch::Receiver<u64>,
    name: String,
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
                self.changes.changed().await.ok()?;
            }
            self.changes.mark_unchanged();
            let now = status(&self.gateway, &self.name).unwrap_or(ServingStatus::ServiceUnknown);
            if self.last.replace(now) != Some(now) {
                return Some(answer(now));
            }
        }
    }
}
