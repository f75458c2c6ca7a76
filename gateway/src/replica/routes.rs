//! The data port of a replica: what a gateway needs to know of a refusal, and where it asks for its credits.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderName, HeaderValue, Method, header};
use weirgate_protocol::Error;
use weirgate_replicas::remote::credits;

use super::grants::Grants;
use crate::gateway::Gateway;
use crate::http::DataRoutes;
use crate::respond::{Dialect, NotExecuted};
use crate::server::address::REVISION;
use crate::server::edge::{Arrived, Routes};

/// Says `1` of a refusal that came before the call was executed: it can be executed elsewhere.
pub const NOT_EXECUTED: HeaderName = HeaderName::from_static("x-weirgate-not-executed");

/// The routes of the data port behind those of a replica.
#[derive(Clone)]
pub struct ReplicaRoutes {
    data: DataRoutes,
    gateway: Arc<Gateway>,
    grants: Arc<Grants>,
}

impl ReplicaRoutes {
    pub fn new(data: DataRoutes, gateway: Arc<Gateway>, grants: Arc<Grants>) -> ReplicaRoutes {
        ReplicaRoutes { data, gateway, grants }
    }
}

impl Routes for ReplicaRoutes {
    async fn answer(self, arrived: Arrived, mut request: Request) -> Response {
        let asks = request.method() == Method::GET;
        let mut response = if asks && request.uri().path() == credits::PATH {
            self.grants.stream()
        } else if !asks && self.gateway.is_draining() {
            drains(&request)
        } else {
            // The gateway has picked the revision, and knows others by name.
            request.headers_mut().remove(REVISION);
            self.data.answer(arrived, request).await
        };
        if response.extensions_mut().remove::<NotExecuted>().is_some() {
            response.headers_mut().insert(NOT_EXECUTED, HeaderValue::from_static("1"));
        }
        response
    }
}

fn drains(request: &Request) -> http::Response<Body> {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let is_grpc = content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    let dialect = if is_grpc { Dialect::Grpc } else { Dialect::Rest };
    dialect.error(&Error::unavailable("the replica stops, and takes no more calls"))
}
