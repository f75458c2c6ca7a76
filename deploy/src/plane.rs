//! What a platform needs of the data plane.

use std::sync::Arc;

use weirgate_deploy_core::ServicePlan;
use weirgate_replicas::Feed;
use weirgate_router::RouteTable;

/// The data plane, as platforms see it.
pub trait DataPlane {
    /// What the route table keeps per service.
    type Lane;

    /// Opens a lane for a service: the route table's handle on it, and the feed of its replicas.
    fn open_lane(self: &Arc<Self>, plan: &ServicePlan) -> (Self::Lane, Arc<dyn Feed>);

    /// Makes `table` the one that calls are routed by.
    fn publish(&self, table: RouteTable<Self::Lane>);
}
