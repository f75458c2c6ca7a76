//! What Triton's extensions ask of models: statistics and configuration, for both protocols.
//!
//! Triton counts for each version of a model. Here a model is a service, and what answers is one of its revisions, of which
//! each may serve several versions. Statistics are of the model as callers see it: of all revisions that are routed to, and
//! all of their versions.

use weirgate_protocol::oip::{ModelConfig, ModelStatistics, ModelStatisticsResponse, model_config};
use weirgate_protocol::{Error, ErrorCode, Result};
use weirgate_router::Wanted;

use crate::gateway::{Asked, Gateway, ServiceRoute, find};
use crate::observe::Statistics;
use crate::server::address::Address;

impl Gateway {
    /// How one model is set up to run, once it has loaded.
    pub fn config_of(&self, asked: &Asked<'_>) -> Result<ModelConfig> {
        let table = self.table();
        let (route, wanted) = find(&table, asked)?;
        let lane = &route.service.revisions[route.represent(wanted)?].lane;
        let model = lane.loaded()?;
        let batching = lane.batching().ok_or_else(|| lane.still_loading())?;
        Ok(model_config(asked.model, model.version(asked.version)?, batching))
    }

    /// What one model has answered so far.
    pub fn statistics_of(&self, asked: &Asked<'_>) -> Result<ModelStatisticsResponse> {
        let table = self.table();
        let (route, wanted) = find(&table, asked)?;
        let version = newest_version(route, wanted, asked.version)?;
        Ok(ModelStatisticsResponse { model_stats: vec![statistics(route, &version)] })
    }

    /// What every model has answered so far; at a service's own host or path, its model.
    pub fn all_statistics(&self, address: &Address<'_>) -> Result<ModelStatisticsResponse> {
        let of = |route: &ServiceRoute| Ok(statistics(route, &newest_version(route, Wanted::Any, "")?));
        Ok(ModelStatisticsResponse { model_stats: self.services(address)?.iter().map(of).collect::<Result<_>>()? })
    }
}

/// The version that statistics are shown with: the one asked for, or the newest. None where the model has none, or is not
/// loaded: it has counts all the same.
fn newest_version(route: &ServiceRoute, wanted: Wanted<'_>, asked: &str) -> Result<String> {
    let loaded = route.represent(wanted).and_then(|revision| route.service.revisions[revision].lane.loaded());
    match loaded {
        Ok(model) => Ok(model.version(asked)?.version.as_deref().unwrap_or_default().to_owned()),
        Err(error) if error.code() == ErrorCode::Unavailable && asked.is_empty() => Ok(String::new()),
        Err(error) => Err(error),
    }
}

fn statistics(route: &ServiceRoute, version: &str) -> ModelStatistics {
    let mut sum = Statistics::default();
    for revision in &route.service.revisions {
        sum.add(&revision.lane.metrics.tally);
    }
    sum.message(&route.service.model, version)
}

/// The error of what Triton has and this server has not, by the name of its rpc or route.
pub fn not_built(what: &str) -> Error {
    let instead = if what.contains("SharedMemory") {
        "send tensors within the request"
    } else if what.contains("Trace") {
        "send a traceparent header with each request"
    } else {
        "set --log and --log-format when the server starts"
    };
    Error::unsupported(format!("{what} is not supported: {instead}"))
}
