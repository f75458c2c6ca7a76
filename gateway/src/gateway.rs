//! The gateway's state: the route table behind an atomic pointer, and whether it drains.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;
use weirgate_deploy::plane::{DataPlane, LaneBound, LaneOf};
use weirgate_protocol::{Error, ModelSpec, Result};
use weirgate_replicas::Feed;
use weirgate_router::{LaneLimits, RouteTable, Service};

use crate::config::ServeConfig;
use crate::dispatch::{Lane, Readiness};
use crate::server::body::BodyLimit;

/// Name, version and V2 extensions of this server.
pub const SERVER: (&str, &str, &[&str]) = ("weirgate", env!("CARGO_PKG_VERSION"), &["binary_tensor_data"]);

/// A service of the route table.
pub type Routed = Arc<Service<Arc<Lane>>>;

/// What every handler shares.
pub struct Gateway {
    pub config: ServeConfig,
    table: ArcSwap<RouteTable<Arc<Lane>>>,
    draining: AtomicBool,
    /// The lanes' couriers; they end with the gateway.
    couriers: Mutex<JoinSet<()>>,
    /// Counts changes of readiness, for those who watch it.
    changes: watch::Sender<u64>,
}

impl Gateway {
    pub fn new(config: ServeConfig) -> Arc<Gateway> {
        Arc::new(Gateway {
            config,
            table: ArcSwap::default(),
            draining: AtomicBool::new(false),
            couriers: Mutex::default(),
            changes: watch::Sender::new(0),
        })
    }

    /// The one limit on bodies and messages.
    pub fn body_limit(&self) -> BodyLimit {
        BodyLimit { bytes: self.config.max_body, set_by: "flag --max-body" }
    }

    /// The current routes. A request reads them once.
    pub fn table(&self) -> Arc<RouteTable<Arc<Lane>>> {
        self.table.load_full()
    }

    /// The service of a model, at a version it has. Versions are not built yet, so a model has none.
    pub fn route(&self, model: &str, version: &str) -> Result<Routed> {
        let table = self.table.load();
        let service = table.by_model(model)?;
        if !version.is_empty() {
            let shown: String = version.chars().take(32).collect();
            return Err(Error::not_found(format!(
                "model '{model}' has no version '{shown}': model versions are not supported yet"
            )));
        }
        Ok(service.clone())
    }

    /// What a model takes and gives, if it is loaded and can answer now.
    pub fn loaded(&self, model: &str, version: &str) -> Result<Arc<ModelSpec>> {
        self.route(model, version)?.base_lane().loaded()
    }

    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Release);
        self.changed();
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Whether every model can answer now.
    pub fn all_models_ready(&self) -> bool {
        let ready = |service: &Routed| matches!(service.base_lane().readiness(), Readiness::Ready(_));
        !self.is_draining() && self.table.load().services().iter().all(ready)
    }

    /// Whether every model is ready or has failed: nothing is still loading.
    pub fn settled(&self) -> bool {
        let loading = |service: &Routed| matches!(service.base_lane().readiness(), Readiness::Loading);
        !self.table.load().services().iter().any(loading)
    }

    pub fn watch_changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

impl DataPlane for Gateway {
    type Lane = Arc<Lane>;

    fn open_lane(self: &Arc<Self>, revision: &LaneOf<'_>) -> (Arc<Lane>, Arc<dyn Feed>) {
        let limits =
            LaneLimits { max_calls: self.config.max_queued_requests.get(), max_bytes: self.config.max_queued_bytes };
        let gateway = Arc::downgrade(self);
        let on_change = move || {
            if let Some(gateway) = gateway.upgrade() {
                gateway.changed();
            }
        };
        let lane = Lane::new(revision.namespace, revision.service, limits, Box::new(on_change));
        self.couriers.lock().spawn(lane.clone().courier());
        (lane.clone(), lane)
    }

    fn bound_lane(&self, _: &Arc<Lane>, _: LaneBound) {}

    fn hold_lane(&self, _: &Arc<Lane>) {}

    fn retire_lane(&self, _: &Arc<Lane>) {}

    fn lane_drained(&self, _: &Arc<Lane>) -> impl Future<Output = ()> + Send + 'static {
        std::future::ready(())
    }

    fn reopen_lane(&self, _: &Arc<Lane>) -> bool {
        false
    }

    fn publish(&self, table: RouteTable<Arc<Lane>>) {
        self.table.store(Arc::new(table));
        self.changed();
    }
}
