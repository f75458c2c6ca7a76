//! Which models there are, as the lists of models tell it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use weirgate_protocol::{Protocol, Result, openai};
use weirgate_router::{Addressed, Service};

use crate::dispatch::Lane;
use crate::gateway::{Asked, Gateway, Table, addressed, answers_by, find_lane};
use crate::server::address::Address;

/// A model, as a list has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    pub model: Arc<str>,
    pub namespace: Arc<str>,
    /// Seconds since 1970.
    pub created: u64,
}

impl Listed {
    pub fn as_openai(&self) -> openai::Model<'_> {
        openai::Model::new(&self.model, self.created, &self.namespace)
    }
}

/// When each service, by namespace and name, was first routed to: in seconds since 1970. It is as old as its service or as
/// this process, whichever is younger.
#[derive(Debug, Default)]
pub struct FirstRouted(Mutex<HashMap<ServiceKey, u64>>);

/// A service's namespace and name.
type ServiceKey = (Arc<str>, Arc<str>);

impl FirstRouted {
    /// Takes the services of a new table in, and forgets those that are gone.
    pub fn note(&self, table: &Table, now: SystemTime) {
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut known = self.0.lock();
        let services = table.routes().iter().map(|route| (route.service.namespace.clone(), route.service.name.clone()));
        *known = services
            .map(|key| {
                let since = known.get(&key).copied().unwrap_or(now);
                (key, since)
            })
            .collect();
    }

    fn since(&self, namespace: &Arc<str>, name: &Arc<str>) -> u64 {
        self.0.lock().get(&(namespace.clone(), name.clone())).copied().unwrap_or(0)
    }
}

impl Gateway {
    /// The models that can be asked for at an address, by name: that of the service which a host or a path names, or else
    /// all. A name that several services claim is there once; calling it says who they are.
    pub fn models(&self, address: &Address<'_>) -> Result<Vec<Listed>> {
        let table = self.table();
        let mut models: Vec<_> = match addressed(&table, address)? {
            Some(Addressed { route, .. }) => vec![self.listed(&route.service)],
            None => {
                let known = table.models(address.host()).map(|route| &route.service);
                let known = known.filter(|service| address.may_use(&service.namespace, &service.name));
                known.map(|service| self.listed(service)).collect()
            }
        };
        models.sort_unstable();
        Ok(models)
    }

    /// A model that can answer now, and whether it answers V1; or why there is none.
    pub fn ready_model(&self, asked: &Asked<'_>) -> Result<(Listed, bool)> {
        let table = self.table();
        let (route, lane) = find_lane(&table, asked)?;
        let model = lane.loaded()?;
        model.version(asked.version)?;
        Ok((self.listed(&route.service), answers_by(lane, &model, Protocol::V1Http)))
    }

    fn listed(&self, service: &Service<Arc<Lane>>) -> Listed {
        let Service { namespace, name, model, .. } = service;
        let created = self.first_routed.since(namespace, name);
        Listed { model: model.clone(), namespace: namespace.clone(), created }
    }
}
