//! What stands before every route of the admin port but metrics and health.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::access::Access;
use crate::respond;
use crate::server::body::BodyReader;
use crate::server::edge::Arrived;

#[derive(Clone)]
pub(super) struct Guard {
    pub access: Arc<Access>,
    /// The longest pause of a client that is refused.
    pub client_timeout: Duration,
}

/// Lets those through who may use the API.
pub(super) async fn guarded(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let peer = parts.extensions.get::<Arrived>().and_then(|arrived| arrived.peer);
    match guard.access.check(peer, &parts) {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(error) => {
            tracing::debug!(%error, path = parts.uri.path(), "a request to the admin port was refused");
            BodyReader::new(body, 0, guard.client_timeout).discard().await;
            respond::rest_error(&error)
        }
    }
}
