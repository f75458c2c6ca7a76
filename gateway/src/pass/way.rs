//! Which way a call goes.

use std::time::Instant;

use weirgate_protocol::{Error, Priority, Protocol};

use crate::dispatch::{Readiness, Turned};
use crate::gateway::Routed;

/// How a call is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It is decoded: for engines of this process, to be batched for a server, or to be translated.
    Decoded,
    /// Its bytes are passed to a server that speaks its protocol.
    Passed,
}

/// The way of a call for tensors. Where no server has been there yet, it waits for the first.
pub async fn way(routed: &Routed, protocol: Protocol, deadline: Instant) -> Result<Way, Turned> {
    let lane = routed.lane();
    let Some(mut spoken) = lane.spoken() else { return Ok(Way::Decoded) };
    if !spoken.known {
        // Its place is that of a call which is held for its model, and its body stays with its client.
        let _place = lane.admit(0, Priority::default(), deadline, Instant::now())?;
        lane.ready(deadline).await?;
        spoken = lane.spoken().unwrap_or_default();
    }
    let decodes = matches!(protocol, Protocol::V1Http | Protocol::V2Http | Protocol::V2Grpc) && spoken.tensors();
    if spoken.speaks(protocol) && !(decodes && lane.batches()) {
        return Ok(Way::Passed);
    }
    // What a model takes and gives must be known to translate for it.
    if decodes && matches!(lane.readiness(), Readiness::Ready(model) if !model.newest().inputs.is_empty()) {
        return Ok(Way::Decoded);
    }
    Err(Turned::Refused(unspoken(routed, protocol)))
}

/// The error of a protocol that a service's servers don't speak.
pub fn unspoken(routed: &Routed, protocol: Protocol) -> Error {
    let service = routed.service();
    let spoken = routed.lane().spoken().unwrap_or_default();
    Error::unsupported(format!(
        "service '{}/{}' can't be called by {}: its servers speak {spoken}",
        service.namespace,
        service.name,
        protocol_name(protocol)
    ))
}

fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::V1Http => "V1",
        Protocol::V2Http => "V2 over HTTP",
        Protocol::V2Grpc => "V2 over gRPC",
        Protocol::OpenAi => "OpenAI's protocol",
        Protocol::Other => "other paths",
    }
}
