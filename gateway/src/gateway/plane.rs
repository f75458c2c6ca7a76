//! What a platform does with the gateway: it opens, bounds and retires lanes, and publishes the table that calls are routed by.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use weirgate_deploy::plane::{DataPlane, LaneBound, LaneOf};
use weirgate_replicas::Feed;
use weirgate_router::LaneLimits;

use super::{Gateway, Table};
use crate::dispatch::Lane;

/// Percent of a service's queue that even a dark revision has.
const LEAST_SHARE: u8 = 5;

impl DataPlane for Gateway {
    type Lane = Arc<Lane>;

    fn open_lane(self: &Arc<Self>, revision: &LaneOf<'_>) -> (Arc<Lane>, Arc<dyn Feed>) {
        let limits = self.limits(LaneBound { max_queued_requests: None, percent: 100 });
        let gateway = Arc::downgrade(self);
        let on_change = move || {
            if let Some(gateway) = gateway.upgrade() {
                gateway.changed();
            }
        };
        let lane = Lane::new(revision, limits, Box::new(on_change));
        let mut couriers = self.couriers.lock();
        // Those of closed lanes have ended.
        while couriers.try_join_next().is_some() {}
        couriers.spawn(lane.clone().courier());
        (lane.clone(), lane)
    }

    fn bound_lane(&self, lane: &Arc<Lane>, bound: LaneBound) {
        lane.bound(self.limits(bound));
    }

    fn retire_lane(&self, lane: &Arc<Lane>) {
        lane.retire();
    }

    fn lane_drained(&self, lane: &Arc<Lane>) -> impl Future<Output = ()> + Send + 'static {
        lane.clone().drained()
    }

    fn reopen_lane(&self, lane: &Arc<Lane>) -> bool {
        lane.reopen()
    }

    fn publish(&self, mut table: Table) {
        table.remember(&self.table.load());
        self.first_routed.note(&table, SystemTime::now());
        let mut lanes = table.routes().iter().flat_map(|route| &route.service.revisions).map(|revision| &revision.lane);
        self.passes.store(lanes.any(|lane| lane.spoken().is_some()), Ordering::Relaxed);
        self.table.store(Arc::new(table));
        self.changed();
    }
}

impl Gateway {
    /// A share of what may wait for a service. One that takes no calls of its own accord still can be asked for.
    fn limits(&self, bound: LaneBound) -> LaneLimits {
        let share = |limit: usize| {
            let share = (limit as u128 * u128::from(bound.percent.clamp(LEAST_SHARE, 100))).div_ceil(100);
            usize::try_from(share).unwrap_or(limit).max(1)
        };
        LaneLimits {
            max_calls: share(bound.max_queued_requests.unwrap_or(self.config.max_queued_requests).get()),
            max_bytes: share(self.config.max_queued_bytes),
        }
    }
}
