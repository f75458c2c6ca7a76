//! Passing a call on that no adapter decodes, whatever becomes of its service meanwhile.

use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use weirgate_protocol::{Error, Result};

use super::{PassCall, Shape, Way, pass, way};
use crate::explain;
use crate::gateway::{Asked, Gateway, Routed};
use crate::pipeline;
use crate::respond::Refusal;
use crate::server::body::BodyReader;
use crate::server::edge::Arrival;

/// Passes a call on that is not decoded here, whatever becomes of its service meanwhile. `decoded` is its error where it
/// turns out that no server is there to pass it to.
pub async fn pass_on(
    gateway: &Gateway,
    mut routed: Routed,
    asked: &Asked<'_>,
    call: &mut PassedCall<'_>,
    decoded: impl Fn(&Routed) -> Error,
) -> Result<Response, Refusal> {
    let deadline = pipeline::deadline(call.arrival, &routed);
    let passed = async {
        for _ in 0..pipeline::MOST_MOVES {
            let way = way(gateway, &routed, call.arrival, deadline).await;
            // A text is asked for in other words than those that the call came in.
            let wanted = if call.shape == Shape::Text { Way::Text } else { Way::Passed };
            let passed = match way {
                Ok(way) if way == wanted => pass(gateway, &routed, call.again(asked), deadline).await,
                Ok(_) => return Err(decoded(&routed)),
                Err(turned) => Err(turned),
            };
            match passed {
                Ok(response) => return Ok(response),
                Err(turned) => pipeline::move_on(gateway, &mut routed, asked, turned, deadline).await?,
            }
        }
        Err(pipeline::moved_too_often(&routed))
    };
    let passed = passed.await;
    passed.map_err(|error| {
        let knows = explain::may_know(call.arrival, &call.parts.headers);
        pipeline::refuse(call.arrival, &routed, error, knows)
    })
}

/// A call that is passed on, as an adapter hands it over.
pub struct PassedCall<'a> {
    pub arrival: &'a Arrival,
    pub parts: &'a Parts,
    pub body: &'a mut BodyReader<Body>,
    pub shape: Shape,
}

impl PassedCall<'_> {
    fn again<'b>(&'b mut self, asked: &Asked<'b>) -> PassCall<'b> {
        let PassedCall { arrival, parts, body, shape } = self;
        PassCall { arrival, address: asked.address, parts, body, shape: *shape }
    }
}
