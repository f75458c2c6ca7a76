//! The gateway's state: the route table behind an atomic pointer, and whether it drains.

mod plane;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use weirgate_protocol::{Error, ErrorCode, LoadedModel, ModelSpec, Protocol, Result};
use weirgate_router::{Addressed, Route, RouteTable, Service, Wanted};

use crate::auth::refusals::Refusals;
use crate::catalogue::FirstRouted;
use crate::config::ServeConfig;
use crate::dispatch::{Lane, Readiness};
use crate::explain::Decisions;
use crate::observe::{RevisionRow, render_revisions};
use crate::pass;
use crate::repository::ModelControl;
use crate::server::address::Address;
use crate::server::body::BodyLimit;

/// Name and version of this server.
pub const SERVER: (&str, &str) = ("weirgate", env!("CARGO_PKG_VERSION"));

/// What this server has of what V2, Triton and KServe call extensions.
const EXTENSIONS: [&str; 3] = ["binary_tensor_data", "model_configuration", "statistics"];
/// The same where models may be loaded and unloaded by name.
const EXTENSIONS_AND_REPOSITORY: [&str; 6] = [
    "binary_tensor_data",
    "model_configuration",
    "model_repository",
    "model_repository(unload_dependents)",
    "model_repository_extension",
    "statistics",
];

pub(crate) type Table = RouteTable<Arc<Lane>>;

/// A service of the route table.
pub type ServiceRoute = Arc<Route<Arc<Lane>>>;

/// What is asked for: a model, and by which address.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    pub model: &'a str,
    pub version: &'a str,
    pub address: Address<'a>,
}

/// A service of the route table, and the one of its revisions that is to answer.
#[derive(Clone)]
pub struct Routed {
    route: ServiceRoute,
    revision: usize,
    /// The caller asked for this very revision.
    pinned: bool,
}

impl Routed {
    pub fn service(&self) -> &Service<Arc<Lane>> {
        &self.route.service
    }

    pub fn lane(&self) -> &Arc<Lane> {
        &self.service().revisions[self.revision].lane
    }

    pub fn revision_name(&self) -> &Arc<str> {
        &self.service().revisions[self.revision].name
    }

    /// Says of an error which revision it is about, where there are several.
    pub fn name_revision(&self, error: Error) -> Error {
        let Service { revisions, .. } = self.service();
        match revisions.len() {
            0 | 1 => error,
            _ => Error::not_found(format!("revision '{}': {error}", revisions[self.revision].name)),
        }
    }

    /// Whether another revision may answer where this one has failed.
    pub fn has_substitute(&self) -> bool {
        !self.pinned && self.revision != self.service().base
    }
}

/// How a revision is at a gateway that gets ready to take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Ready,
    Loading,
    /// It has failed, or is not there.
    Lost,
}

/// What every handler shares.
pub struct Gateway {
    pub config: ServeConfig,
    table: ArcSwap<Table>,
    draining: AtomicBool,
    /// Some lane of the table passes its calls on.
    passes: AtomicBool,
    /// Whether open streams are to end.
    closing: watch::Sender<bool>,
    /// The lanes' couriers. Each ends with its lane, and all with the gateway.
    couriers: Mutex<JoinSet<()>>,
    /// Counts changes of readiness and of the table, for those who watch them.
    changes: watch::Sender<u64>,
    /// Places for calls that wait for a table which does not lead to a retired lane.
    pub(crate) astray: Semaphore,
    /// Room, in KiB, for bodies that must be read to know their model.
    pub(crate) unrouted: Semaphore,
    /// Why the last calls went where they went.
    pub decisions: Arc<Decisions>,
    /// Callers that are not let in, as the log tells of them.
    pub(crate) refusals: Refusals,
    /// Since when each service is routed to.
    pub(crate) first_routed: FirstRouted,
}

impl Gateway {
    pub fn new(config: ServeConfig) -> Arc<Gateway> {
        let places = config.max_queued_requests.get().min(Semaphore::MAX_PERMITS);
        let unrouted = (config.max_queued_bytes >> 10).min(Semaphore::MAX_PERMITS);
        Arc::new(Gateway {
            decisions: Arc::new(Decisions::new(config.explain_last)),
            config,
            table: ArcSwap::default(),
            draining: AtomicBool::new(false),
            passes: AtomicBool::new(false),
            closing: watch::Sender::new(false),
            couriers: Mutex::default(),
            changes: watch::Sender::new(0),
            astray: Semaphore::new(places),
            unrouted: Semaphore::new(unrouted),
            refusals: Refusals::new(Instant::now()),
            first_routed: FirstRouted::default(),
        })
    }

    /// The V2 extensions that there are.
    pub fn extensions(&self) -> &'static [&'static str] {
        if self.config.model_control == ModelControl::Off { &EXTENSIONS } else { &EXTENSIONS_AND_REPOSITORY }
    }

    /// Whether callers must show a key or a token.
    pub fn asks_for_keys(&self) -> bool {
        self.config.auth.is_on()
    }

    /// The one limit on bodies and messages.
    pub fn body_limit(&self) -> BodyLimit {
        BodyLimit { bytes: self.config.max_body, set_by: "flag --max-body" }
    }

    /// The current routes. A request reads them once.
    pub fn table(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// The service of a model, and the revision whose call this is.
    pub fn route(&self, asked: &Asked<'_>) -> Result<Routed> {
        let table = self.table.load();
        let (route, wanted) = find(&table, asked)?;
        if let Some(revision) = by_version(route, wanted, asked.version)? {
            return Ok(Routed { route: route.clone(), revision, pinned: false });
        }
        let pinned = wanted != Wanted::Any;
        let key = if pinned { None } else { route.sticky_key().and_then(|key| asked.address.key(key)) };
        let mut revision = route.pick(wanted, key)?;
        let Service { revisions, base, .. } = &route.service;
        // A revision that is broken takes no traffic but what asks for it.
        if !pinned && revision != *base && revisions[revision].lane.has_failed() {
            revision = *base;
        }
        Ok(Routed { route: route.clone(), revision, pinned })
    }

    /// The service that an address names, and which of its revisions answers: the one whose turn it is, or the one that speaks
    /// for the service where the call is to take no `turn`. None where the address names no service.
    pub fn route_addressed(&self, address: &Address<'_>, turn: bool) -> Result<Option<Routed>> {
        let table = self.table.load();
        let Some(Addressed { route, wanted }) = addressed(&table, address)? else { return Ok(None) };
        let wanted = route.wanted(address.revision()?, wanted)?;
        let pinned = wanted != Wanted::Any;
        let key = if pinned { None } else { route.sticky_key().and_then(|key| address.key(key)) };
        let revision = if turn { route.pick(wanted, key)? } else { route.represent(wanted)? };
        Ok(Some(Routed { route: route.clone(), revision, pinned }))
    }

    /// The service of a model, and the revision that speaks for what is asked. It takes no turn in the split.
    pub fn represent(&self, asked: &Asked<'_>) -> Result<Routed> {
        let table = self.table.load();
        let (route, wanted) = find(&table, asked)?;
        let revision = match by_version(route, wanted, asked.version)? {
            Some(revision) => revision,
            None => route.represent(wanted)?,
        };
        Ok(Routed { route: route.clone(), revision, pinned: wanted != Wanted::Any })
    }

    /// Whether calls of some service are passed on.
    pub fn passes(&self) -> bool {
        self.passes.load(Ordering::Relaxed)
    }

    /// What a model takes and gives, if it is loaded and can answer now. It is asked of the revision that the caller wants,
    /// and takes no turn in the split.
    pub fn loaded(&self, asked: &Asked<'_>) -> Result<Arc<ModelSpec>> {
        self.loaded_model(asked)?.version(asked.version).cloned()
    }

    /// The same with every version of the model that is served.
    pub fn loaded_model(&self, asked: &Asked<'_>) -> Result<Arc<LoadedModel>> {
        let table = self.table.load();
        let (_, lane) = find_lane(&table, asked)?;
        let model = lane.loaded()?;
        model.version(asked.version)?;
        Ok(model)
    }

    /// The same, if calls by this protocol are answered: by engines, by servers that speak it, or translated for them.
    pub fn model_by(&self, asked: &Asked<'_>, protocol: Protocol) -> Result<Arc<LoadedModel>> {
        let table = self.table.load();
        let (route, lane) = find_lane(&table, asked)?;
        let model = lane.loaded()?;
        if !answers_by(lane, &model, protocol) {
            return Err(pass::unspoken(&route.service, lane, protocol));
        }
        model.version(asked.version)?;
        Ok(model)
    }

    /// The service of a model, whether it can answer or not.
    pub fn service(&self, asked: &Asked<'_>) -> Result<Service<Arc<Lane>>> {
        let table = self.table.load();
        Ok(find_service(&table, asked)?.0.service.clone())
    }

    /// The models that can be asked for at an address, by name, each with its service. A model that several services claim
    /// is there once, with the conflict that a call of it would meet.
    pub fn services(&self, address: &Address<'_>) -> Result<Vec<(Arc<str>, Result<ServiceRoute>)>> {
        let table = self.table.load();
        if let Some(Addressed { route, .. }) = addressed(&table, address)? {
            return Ok(vec![(route.service.model.clone(), Ok(route.clone()))]);
        }
        let host = address.host();
        let known = table.models(host).filter(|route| address.may_use(&route.service.namespace, &route.service.name));
        let models = known.map(|route| route.service.model.clone());
        let mut services: Vec<_> = models
            .map(|model| {
                let service = table.by_model(&model, host).cloned();
                (model, service)
            })
            .collect();
        services.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(services)
    }

    /// Whether a model can answer calls of V2 over gRPC now, if there is one that does.
    pub fn model_ready(&self, asked: &Asked<'_>) -> Result<bool> {
        ready(self.model_by(asked, Protocol::V2Grpc).map(drop))
    }

    /// Whether the service at this address can answer now, or all services where none is addressed.
    pub fn ready(&self, address: &Address<'_>) -> Result<bool> {
        let table = self.table.load();
        let Some(Addressed { route, wanted }) = addressed(&table, address)? else {
            return Ok(self.all_models_ready());
        };
        let answers = || {
            let revision = route.represent(route.wanted(address.revision()?, wanted)?)?;
            route.service.revisions[revision].lane.loaded().map(drop)
        };
        Ok(ready(answers())? && !self.is_draining())
    }

    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Release);
        self.changed();
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Ends the streams that clients would leave open for as long as they live.
    pub fn close_streams(&self) {
        self.closing.send_replace(true);
    }

    /// Resolves when streams are to end.
    pub async fn closes(&self) {
        // The sender lives as long as the gateway.
        let _ = self.closing.subscribe().wait_for(|closing| *closing).await;
    }

    /// Whether every model can answer now, except for those that are stopped on purpose.
    pub fn all_models_ready(&self) -> bool {
        let answers = |route: &ServiceRoute| {
            let base = route.represent(Wanted::Any);
            route.is_stopped() || base.is_ok_and(|base| route.service.revisions[base].lane.loaded().is_ok())
        };
        !self.is_draining() && self.table.load().routes().iter().all(answers)
    }

    /// Whether every model is ready or has failed: nothing is still loading.
    pub fn settled(&self) -> bool {
        let loading = |route: &ServiceRoute| {
            let base = route.represent(Wanted::Any);
            base.is_ok_and(|base| matches!(route.service.revisions[base].lane.readiness(), Readiness::Loading))
        };
        !self.table.load().routes().iter().any(loading)
    }

    /// The revisions that take calls and can answer now, as `namespace/name@revision`.
    pub fn ready_revisions(&self) -> Vec<String> {
        let table = self.table.load();
        let services = table.routes().iter().map(|route| &route.service);
        let ready = services.flat_map(|service| {
            let revisions = service.revisions.iter().enumerate();
            let takes = revisions.filter(|(index, revision)| *index == service.base || revision.percent > 0);
            let ready = takes.filter(|(_, revision)| revision.lane.loaded().is_ok());
            ready.map(|(_, revision)| format!("{}/{}@{}", service.namespace, service.name, revision.name))
        });
        ready.collect()
    }

    /// How a revision is here that another gateway names by [`Gateway::ready_revisions`]. Where this one has others, by files
    /// that have changed meanwhile, the service's base stands for it.
    pub fn standing_of(&self, name: &str) -> Standing {
        let (service, revision) = name.split_once('@').unwrap_or((name, ""));
        let table = self.table.load();
        let known =
            |route: &&ServiceRoute| service.split_once('/') == Some((&*route.service.namespace, &*route.service.name));
        let Some(route) = table.routes().iter().find(known) else { return Standing::Lost };
        let Service { revisions, .. } = &route.service;
        let same = revisions.iter().find(|known| *known.name == *revision);
        let base = || route.represent(Wanted::Any).ok().map(|base| &revisions[base]);
        match same.or_else(base).map(|revision| revision.lane.readiness()) {
            Some(Readiness::Ready(_)) => Standing::Ready,
            Some(Readiness::Loading) => Standing::Loading,
            Some(Readiness::Failed(_)) | None => Standing::Lost,
        }
    }

    /// The metrics of each revision that is routed to, as Prometheus text.
    pub fn render_revisions(&self) -> String {
        let table = self.table.load();
        let services = table.routes().iter().map(|route| &route.service);
        let rows = services.flat_map(|service| {
            service.revisions.iter().map(|revision| RevisionRow {
                namespace: &service.namespace,
                service: &service.name,
                revision: &revision.name,
                percent: revision.percent,
                tally: &revision.lane.metrics.tally,
                counts: *revision.lane.metrics.counts.lock(),
                servers: revision.lane.standings(),
            })
        });
        render_revisions(&rows.collect::<Vec<_>>())
    }

    pub fn watch_changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

/// The service of a model at an address, and the revision asked for.
pub(crate) fn find<'a>(table: &'a Table, asked: &Asked<'a>) -> Result<(&'a ServiceRoute, Wanted<'a>)> {
    let (route, by_address) = find_service(table, asked)?;
    Ok((route, route.wanted(asked.address.revision()?, by_address)?))
}

/// The service of a model at an address, and the lane of the revision that speaks for what is asked.
pub(crate) fn find_lane<'a>(table: &'a Table, asked: &Asked<'a>) -> Result<(&'a ServiceRoute, &'a Arc<Lane>)> {
    let (route, wanted) = find(table, asked)?;
    let revision = match by_version(route, wanted, asked.version)? {
        Some(revision) => revision,
        None => route.represent(wanted)?,
    };
    Ok((route, &route.service.revisions[revision].lane))
}

/// The revision that answers a call for a version: the base where it serves it, else another that does. Such a call is no
/// part of the split. None where nothing is to be chosen: no version is asked for, or a revision is, or there is but one.
fn by_version(route: &ServiceRoute, wanted: Wanted<'_>, version: &str) -> Result<Option<usize>> {
    let Service { namespace, name, revisions, .. } = &route.service;
    if version.is_empty() || wanted != Wanted::Any || revisions.len() < 2 {
        return Ok(None);
    }
    let serves = |index: &usize| revisions[*index].lane.loaded().is_ok_and(|model| model.serves(version));
    let base = route.represent(wanted)?;
    if let Some(found) = std::iter::once(base).chain((0..revisions.len()).rev()).find(serves) {
        return Ok(Some(found));
    }
    // What the base will serve is not known until it has loaded.
    if revisions[base].lane.loaded().is_err() {
        return Ok(Some(base));
    }
    let told = revisions.iter().filter_map(|revision| {
        let versions = revision.lane.loaded().ok()?.versions().join(", ");
        let versions = if versions.is_empty() { "none".to_owned() } else { versions };
        Some(format!("revision '{}' serves {versions}", revision.name))
    });
    let (told, shown) = (told.collect::<Vec<_>>().join(", "), version.chars().take(64).collect::<String>());
    Err(Error::not_found(format!("version '{shown}' of service '{namespace}/{name}' is not served: {told}")))
}

/// The service of a model at an address, and the revision that the address names, if whoever asks may use it.
fn find_service<'a>(table: &'a Table, asked: &Asked<'a>) -> Result<(&'a ServiceRoute, Wanted<'a>)> {
    asked.address.permit(find_any_service(table, asked), |(route, _)| Some(name_of(route)))
}

fn name_of(route: &ServiceRoute) -> (&str, &str) {
    (&route.service.namespace, &route.service.name)
}

fn find_any_service<'a>(table: &'a Table, asked: &Asked<'a>) -> Result<(&'a ServiceRoute, Wanted<'a>)> {
    let Asked { model, address, .. } = asked;
    let (route, by_address) = match any_addressed(table, address)? {
        Some(Addressed { route, wanted }) => (route, wanted),
        None => (table.by_model(model, address.host())?, Wanted::Any),
    };
    let shown = |text: &str| text.chars().take(64).collect::<String>();
    let Service { namespace, name, model: served, .. } = &route.service;
    if **served != **model {
        return Err(Error::not_found(format!(
            "model '{}' is not served at this host or path: it belongs to service '{namespace}/{name}', whose model is \
             '{served}'",
            shown(model)
        )));
    }
    Ok((route, by_address))
}

/// The service that a path or a host names, if whoever asks may use it.
pub(crate) fn addressed<'a>(table: &'a Table, address: &Address<'_>) -> Result<Option<Addressed<'a, Arc<Lane>>>> {
    address.permit(any_addressed(table, address), |found| found.as_ref().map(|found| name_of(found.route)))
}

/// Where the path names one, the host is only how the gateway was reached.
fn any_addressed<'a>(table: &'a Table, address: &Address<'_>) -> Result<Option<Addressed<'a, Arc<Lane>>>> {
    if address.is_nobodys() {
        return Ok(None);
    }
    let Some(prefix) = address.prefix else {
        return address.host().map_or(Ok(None), |host| table.by_host(host));
    };
    match table.by_path(prefix.namespace, prefix.label)? {
        Some(addressed) => Ok(Some(addressed)),
        None => Err(prefix.unknown()),
    }
}

/// Whether a revision can be asked about by this protocol: it answers calls by it, or V2's for texts.
pub(crate) fn answers_by(lane: &Lane, model: &LoadedModel, protocol: Protocol) -> bool {
    let told = !model.newest().inputs.is_empty();
    let is_v2 = matches!(protocol, Protocol::V2Http | Protocol::V2Grpc);
    lane.spoken().is_none_or(|spoken| (is_v2 && spoken.generates) || pass::answers(spoken, told, protocol))
}

/// Whether something can answer: what it says instead is an error only where it isn't there at all.
fn ready(answers: Result<()>) -> Result<bool> {
    match answers {
        Ok(()) => Ok(true),
        Err(error) if error.code() == ErrorCode::Unavailable => Ok(false),
        Err(error) => Err(error),
    }
}
