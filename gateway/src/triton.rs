//! What Triton's extensions ask of models: statistics and configuration, for both protocols.
//!
//! Triton counts for each version of a model. Here a model is a service, and what answers is one of its revisions, of which
//! each may serve several versions. Statistics are of the model as callers see it: of all revisions that are routed to, and
//! all of their versions. They carry a version's name only where there is no other that they could be of.

use std::sync::Arc;

use weirgate_protocol::oip::{ModelConfig, ModelStatistics, ModelStatisticsResponse, model_config};
use weirgate_protocol::{Error, ErrorCode, Protocol, Result};

use crate::gateway::{Asked, Gateway, ServiceRoute, find, find_lane};
use crate::observe::Statistics;
use crate::server::address::Address;

impl Gateway {
    /// How one model is set up to run, once it has loaded.
    pub fn config_of(&self, asked: &Asked<'_>) -> Result<ModelConfig> {
        self.model_by(asked, Protocol::V2Http)?;
        let table = self.table();
        let (_, lane) = find_lane(&table, asked)?;
        let model = lane.loaded()?;
        let batching = lane.batching().ok_or_else(|| lane.still_loading())?;
        Ok(model_config(asked.model, &model, model.version(asked.version)?, batching))
    }

    /// What one model has answered so far.
    pub fn statistics_of(&self, asked: &Asked<'_>) -> Result<ModelStatisticsResponse> {
        let table = self.table();
        let (route, _) = find(&table, asked)?;
        match self.loaded(asked) {
            Err(error) if error.code() != ErrorCode::Unavailable || !asked.version.is_empty() => return Err(error),
            // A model that is not loaded has counts all the same.
            _ => {}
        }
        Ok(ModelStatisticsResponse { model_stats: vec![statistics(route)] })
    }

    /// What every model that can be asked for at an address has answered so far.
    pub fn all_statistics(&self, address: &Address<'_>) -> Result<ModelStatisticsResponse> {
        let services = self.services(address)?;
        let routes = services.iter().filter_map(|(_, route)| route.as_ref().ok());
        Ok(ModelStatisticsResponse { model_stats: routes.map(statistics).collect() })
    }
}

fn statistics(route: &ServiceRoute) -> ModelStatistics {
    let mut versions: Vec<Option<Arc<str>>> = Vec::new();
    let mut sum = Statistics::default();
    for revision in &route.service.revisions {
        sum.add(&revision.lane.metrics.tally);
        let loaded = revision.lane.loaded().ok();
        versions.extend(loaded.iter().flat_map(|model| model.specs()).map(|spec| spec.version.clone()));
    }
    let only = versions.first().filter(|first| versions.iter().all(|version| version == *first));
    sum.message(&route.service.model, only.and_then(|only| only.as_deref()).unwrap_or_default())
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
