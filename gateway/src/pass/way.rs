//! Which way a call goes.

use std::sync::Arc;
use std::time::Instant;

use weirgate_protocol::{Error, ErrorCode, Protocol};
use weirgate_router::Service;

use super::answer::note_refusal;
use crate::dispatch::{Lane, Readiness, Spoken, Turned};
use crate::gateway::{Gateway, Routed};
use crate::server::edge::Arrival;

/// How a call is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It is decoded: for engines of this process, or to be translated for a server.
    Decoded,
    /// It is decoded and translated as it is, for a server that does not say what its model takes: the call says it itself.
    AsGiven,
    /// It is decoded to share a batch, by `rows` of JSON where nobody says what the model takes. What does not fit in one is
    /// passed as it is: its server speaks its protocol.
    Batched { rows: bool },
    /// It is decoded, and passed as a call of V2's extension for texts: its tensors are a text and what is said of it.
    Text,
    /// Its bytes are passed to a server that speaks its protocol.
    Passed,
}

/// The way of a call for tensors. Where no server has been there yet, or what its model takes must be known and is not, it
/// waits for a server.
pub async fn way(gateway: &Gateway, routed: &Routed, arrival: &Arrival, deadline: Instant) -> Result<Way, Turned> {
    let way = find(routed, arrival, deadline).await;
    way.inspect_err(|turned| note_refusal(gateway, arrival, routed, turned))
}

async fn find(routed: &Routed, arrival: &Arrival, deadline: Instant) -> Result<Way, Turned> {
    let (lane, protocol) = (routed.lane(), arrival.head.protocol);
    let Some(mut spoken) = lane.spoken() else { return Ok(Way::Decoded) };
    let is_tensors = matches!(protocol, Protocol::V1Http | Protocol::V2Http | Protocol::V2Grpc);
    let passes = |spoken: Spoken| spoken.speaks(protocol) && !(is_tensors && lane.batches());
    let mut readiness = lane.readiness();
    if !spoken.known || !(passes(spoken) || matches!(readiness, Readiness::Ready(_))) {
        // Its place is that of a call which is held for its model, and its body stays with its client.
        let _place = lane.admit(0, arrival.head.priority, deadline, Instant::now())?;
        readiness = Readiness::Ready(lane.ready(deadline).await?);
        spoken = lane.spoken().unwrap_or_default();
    }
    if passes(spoken) {
        return Ok(Way::Passed);
    }
    let (is_told, batches) = match &readiness {
        Readiness::Ready(model) => (!model.newest().inputs.is_empty(), model.newest().batchable()),
        _ => (false, false),
    };
    let decodes = is_tensors && spoken.tensors();
    match (decodes && is_told, spoken.speaks(protocol)) {
        (true, true) if batches => Ok(Way::Batched { rows: false }),
        // What a model takes and gives must be known to translate for it.
        (true, false) => Ok(Way::Decoded),
        (false, true) if protocol == Protocol::V1Http => Ok(Way::Batched { rows: true }),
        (_, true) => Ok(Way::Passed),
        (false, false) if spoken.generates && matches!(protocol, Protocol::V2Http | Protocol::V2Grpc) => Ok(Way::Text),
        (false, false) if is_tensors && answers(spoken, is_told, protocol) => Ok(Way::AsGiven),
        (false, false) => Err(Turned::Refused(unspoken(routed.service(), lane, protocol))),
    }
}

/// Whether a call does not fit in a batch by its error: it is one of what was sent, and not of how it came or of how much it is.
pub fn is_unfit(error: &Error) -> bool {
    matches!(error.code(), ErrorCode::InvalidRequest | ErrorCode::NotFound | ErrorCode::Unsupported)
}

/// Whether calls by a protocol are answered for a service whose servers speak this; `told`: they say what the model takes.
pub fn answers(spoken: Spoken, told: bool, protocol: Protocol) -> bool {
    let translates = match protocol {
        // V1's rows have neither names nor datatypes: the model's are needed to write them as tensors.
        Protocol::V1Http => told && spoken.tensors(),
        Protocol::V2Http | Protocol::V2Grpc => spoken.tensors(),
        Protocol::OpenAi | Protocol::Other => false,
    };
    translates || spoken.speaks(protocol)
}

/// The error of a protocol that a revision's servers don't speak.
pub fn unspoken(service: &Service<Arc<Lane>>, lane: &Lane, protocol: Protocol) -> Error {
    let spoken = lane.spoken().unwrap_or_default();
    if spoken.generates && protocol != Protocol::OpenAi {
        let model = &service.model;
        return Error::invalid(format!(
            "model '{model}' goes on with texts and takes no rows: call /v1/chat/completions, /v1/completions, or \
             /v2/models/{model}/generate"
        ));
    }
    let untold = match protocol {
        Protocol::V1Http if spoken.tensors() => {
            ", and don't say which inputs the model takes, which V1's rows can't be translated without: call it by V2"
        }
        _ => "",
    };
    Error::unsupported(format!(
        "service '{}/{}' can't be called by {}: its servers speak {spoken}{untold}",
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
