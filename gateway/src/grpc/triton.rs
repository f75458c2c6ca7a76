//! Triton's extensions of the protocol: configuration and statistics; and those that are known but not built.

use axum::extract::{Request, State};
use axum::response::Response;
use weirgate_protocol::oip;

use super::Shared;
use super::unary::unary;
use crate::gateway::Asked;
use crate::respond;
use crate::server::address::Address;
use crate::triton::not_built;

/// The rpcs of Triton's that are not built.
pub(super) const NOT_BUILT: [&str; 8] = [
    "SystemSharedMemoryStatus",
    "SystemSharedMemoryRegister",
    "SystemSharedMemoryUnregister",
    "CudaSharedMemoryStatus",
    "CudaSharedMemoryRegister",
    "CudaSharedMemoryUnregister",
    "TraceSetting",
    "LogSettings",
];

pub(super) async fn model_config(State(gateway): Shared, request: Request) -> Response {
    let answer = |asked: oip::ModelConfigRequest, &address: &Address<'_>| {
        let config = gateway.config_of(&Asked { model: &asked.name, version: &asked.version, address })?;
        Ok(oip::ModelConfigResponse { config: Some(config) })
    };
    unary(&gateway, request, answer).await
}

pub(super) async fn model_statistics(State(gateway): Shared, request: Request) -> Response {
    let answer = |asked: oip::ModelStatisticsRequest, &address: &Address<'_>| {
        if asked.name.is_empty() {
            return gateway.all_statistics(&address);
        }
        gateway.statistics_of(&Asked { model: &asked.name, version: &asked.version, address })
    };
    unary(&gateway, request, answer).await
}

pub(super) async fn refuse(rpc: &'static str) -> Response {
    respond::grpc_error(&not_built(rpc)).into_http()
}
