//! Server reflection, by which grpcurl and its like list and describe the services.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use futures_util::StreamExt;
use http_body_util::{BodyStream, StreamBody};
use tonic_reflection::server::Builder;
use tower::{Service, ServiceExt};
use weirgate_protocol::oip;

use super::Shared;
use crate::gateway::Gateway;

const OURS: &str = "the descriptors are made by the build";

/// Both versions of the service: most clients still ask for the older one.
pub(super) fn router() -> Router<Arc<Gateway>> {
    let builder = || {
        Builder::configure()
            .register_encoded_file_descriptor_set(oip::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let (v1, v1alpha) = (builder().build_v1().expect(OURS), builder().build_v1alpha().expect(OURS));
    Router::new()
        .route(
            "/grpc.reflection.v1.ServerReflection/{method}",
            post(move |State(gateway): Shared, request| answer(v1.clone(), gateway, request)),
        )
        .route(
            "/grpc.reflection.v1alpha.ServerReflection/{method}",
            post(move |State(gateway): Shared, request| answer(v1alpha.clone(), gateway, request)),
        )
}

async fn answer<S>(service: S, gateway: Arc<Gateway>, request: Request) -> Response
where
    S: Service<Request, Response = http::Response<tonic::body::Body>, Error = std::convert::Infallible>,
{
    // Clients that stay would hold up a server that stops, so then their side of the stream ends.
    let until_closed = |body: Body| {
        let closes = async move { gateway.closes().await };
        Body::new(StreamBody::new(BodyStream::new(body).take_until(closes)))
    };
    match service.oneshot(request.map(until_closed)).await {
        Ok(response) => response.map(Body::new),
        Err(never) => match never {},
    }
}
