//! Open Inference Protocol V2 over gRPC, and the standard health service.
//!
//! The unary calls read their message with the same [`BodyReader`](crate::server::body::BodyReader) as HTTP, so that one
//! limit and one text hold for both, and a call is routed by a peek at its first bytes and admitted before it is parsed.

mod compression;
mod health;
mod infer;
mod messages;
mod reflection;
mod repository;
mod stream;
mod texts;
mod triton;
mod unary;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use tonic_health::pb::health_server::HealthServer;
use tower_http::catch_panic::CatchPanicLayer;
use weirgate_protocol::Protocol;
use weirgate_protocol::oip::{self, model_metadata};

use crate::gateway::{Asked, Gateway, SERVER};
use crate::respond;
use crate::server::address::Address;
pub use infer::{infer_model, peek_model};
pub use repository::{is_model_control, repository_router};
use unary::unary;

type Shared = State<Arc<Gateway>>;

/// The path of `ModelInfer`.
pub const MODEL_INFER: &str = "/inference.GRPCInferenceService/ModelInfer";
/// The path of `ModelStreamInfer`.
pub const MODEL_STREAM_INFER: &str = "/inference.GRPCInferenceService/ModelStreamInfer";
const SERVER_LIVE: &str = "/inference.GRPCInferenceService/ServerLive";
const SERVER_READY: &str = "/inference.GRPCInferenceService/ServerReady";

/// Whether a call asks for the health of the server as a whole.
pub fn is_server_health(path: &str) -> bool {
    matches!(path, SERVER_LIVE | SERVER_READY)
}

/// Routes of the gRPC services.
pub fn router() -> Router<Arc<Gateway>> {
    let router = Router::new()
        .route(MODEL_INFER, post(infer::model_infer))
        .route(MODEL_STREAM_INFER, post(stream::model_stream_infer))
        .route(SERVER_LIVE, post(server_live))
        .route(SERVER_READY, post(server_ready))
        .route("/inference.GRPCInferenceService/ServerMetadata", post(server_metadata))
        .route("/inference.GRPCInferenceService/ModelReady", post(model_ready))
        .route("/inference.GRPCInferenceService/ModelMetadata", post(model_info))
        .route("/inference.GRPCInferenceService/ModelConfig", post(triton::model_config))
        .route("/inference.GRPCInferenceService/ModelStatistics", post(triton::model_statistics))
        .route("/grpc.health.v1.Health/{method}", post(health_call))
        .merge(reflection::router());
    let not_built = |router: Router<Arc<Gateway>>, rpc: &&'static str| {
        let rpc = *rpc;
        router.route(&format!("/inference.GRPCInferenceService/{rpc}"), post(move || triton::refuse(rpc)))
    };
    triton::NOT_BUILT.iter().fold(router, not_built).layer(CatchPanicLayer::custom(panicked))
}

/// A panic of ours costs the one call that met it.
pub fn panicked(panic: Box<dyn std::any::Any + Send>) -> http::Response<Body> {
    respond::grpc_error(&respond::panic_error(panic.as_ref())).into_http()
}

async fn server_live(State(gateway): Shared, request: Request) -> Response {
    unary(&gateway, request, |_: oip::ServerLiveRequest, _: &Address<'_>| Ok(oip::ServerLiveResponse { live: true }))
        .await
}

async fn server_ready(State(gateway): Shared, request: Request) -> Response {
    let answer = |_: oip::ServerReadyRequest, &address: &Address<'_>| {
        Ok(oip::ServerReadyResponse { ready: gateway.ready(&address)? })
    };
    unary(&gateway, request, answer).await
}

async fn server_metadata(State(gateway): Shared, request: Request) -> Response {
    let answer = |_: oip::ServerMetadataRequest, _: &Address<'_>| {
        let (name, version) = SERVER;
        Ok(oip::ServerMetadataResponse {
            name: name.to_owned(),
            version: version.to_owned(),
            extensions: gateway.extensions().iter().map(|&extension| extension.to_owned()).collect(),
        })
    };
    unary(&gateway, request, answer).await
}

async fn model_ready(State(gateway): Shared, request: Request) -> Response {
    let answer = |asked: oip::ModelReadyRequest, &address: &Address<'_>| {
        Ok(oip::ModelReadyResponse {
            ready: gateway.model_ready(&Asked { model: &asked.name, version: &asked.version, address })?,
        })
    };
    unary(&gateway, request, answer).await
}

async fn model_info(State(gateway): Shared, request: Request) -> Response {
    let answer = |asked: oip::ModelMetadataRequest, &address: &Address<'_>| {
        let named = Asked { model: &asked.name, version: &asked.version, address };
        let model = gateway.model_by(&named, Protocol::V2Grpc)?;
        Ok(model_metadata(&asked.name, &model.versions(), model.version(&asked.version)?))
    };
    unary(&gateway, request, answer).await
}

async fn health_call(State(gateway): Shared, request: Request) -> Response {
    use tower::ServiceExt;
    match HealthServer::new(health::Health::new(gateway)).oneshot(request).await {
        Ok(response) => response.map(Body::new),
        Err(never) => match never {},
    }
}
