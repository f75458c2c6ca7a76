//! `grpc.health.v1`: the server (empty name or the inference service's) and each model by its name.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::gateway::Gateway;
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

/// The state of a name; `None` where nothing has it.
fn status(gateway: &Gateway, name: &str) -> Option<ServingStatus> {
    let serving = if SERVER_NAMES.contains(&name) {
        !gateway.is_draining()
    } else {
        gateway.route(name, "").ok()?;
        !gateway.is_draining() && gateway.loaded(name, "").is_ok()
    };
    Some(if serving { ServingStatus::Serving } else { ServingStatus::NotServing })
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let name = request.into_inner().service;
        match status(&self.gateway, &name) {
            Some(status) => Ok(Response::new(answer(status))),
            None => Err(respond::grpc_error(&match self.gateway.route(&name, "") {
                Err(error) => error,
                Ok(_) => weirgate_protocol::Error::not_found(format!("service '{name}' is not known")),
            })),
        }
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    /// Sends the state now and at each change. A name that nothing has is `SERVICE_UNKNOWN` and may come to be.
    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let name = request.into_inner().service;
        let gateway = self.gateway.clone();
        let mut last = None;
        let states = WatchStream::new(gateway.watch_changes()).filter_map(move |_| {
            let now = status(&gateway, &name).unwrap_or(ServingStatus::ServiceUnknown);
            let changed = last.replace(now) != Some(now);
            std::future::ready(changed.then(|| Ok(answer(now))))
        });
        Ok(Response::new(Box::pin(states)))
    }
}
