//! What a platform needs of the data plane.

use std::num::NonZeroUsize;
use std::sync::Arc;

use weirgate_replicas::Feed;
use weirgate_router::RouteTable;

/// The data plane, as platforms see it.
pub trait DataPlane: Send + Sync + 'static {
    /// What the route table keeps per revision: a handle on its lane.
    type Lane: Clone + Send + Sync + 'static;

    /// Opens a lane for a revision: the route table's handle on it, and the feed of its replicas. Calls are held until
    /// the replicas say that they are ready.
    fn open_lane(self: &Arc<Self>, revision: &LaneOf<'_>) -> (Self::Lane, Arc<dyn Feed>);

    /// Gives the lane its part of the service's queue.
    fn bound_lane(&self, lane: &Self::Lane, bound: LaneBound);

    /// The lane takes no more calls: those that come or are held are routed again, by the table that holds then. Calls that
    /// have entered, or are being read, go on.
    fn retire_lane(&self, lane: &Self::Lane);

    /// Resolves when a retired lane is empty and nothing of it runs. From then on it is closed for good.
    fn lane_drained(&self, lane: &Self::Lane) -> impl Future<Output = ()> + Send + 'static;

    /// Has a retired lane take calls again. `false` where it is closed.
    fn reopen_lane(&self, lane: &Self::Lane) -> bool;

    /// Makes `table` the one that calls are routed by.
    fn publish(&self, table: RouteTable<Self::Lane>);
}

/// Whose lane it is.
#[derive(Clone, Copy, Debug)]
pub struct LaneOf<'a> {
    pub namespace: &'a str,
    pub service: &'a str,
    pub revision: &'a str,
    /// Calls are passed to its replicas; else these pull them.
    pub passes: bool,
    /// Its replicas are in other processes, about which callers are told only what concerns them.
    pub remote: bool,
}

/// A revision's part of its service's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneBound {
    /// Calls that may wait for the service; none: the data plane's own limit.
    pub max_queued_requests: Option<NonZeroUsize>,
    /// The revision's share of the calls. One with none still has a small part of the queue.
    pub percent: u8,
}
