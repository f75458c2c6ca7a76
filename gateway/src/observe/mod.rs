//! What can be seen of the gateway: Prometheus metrics and structured logs.

mod logs;
mod metrics;
mod revisions;

pub use logs::init as init_logs;
pub use metrics::{LaneMetrics, METRICS, Metric, MetricKind, Registry, Stages, count_unrouted};
pub use revisions::{RevisionRow, Tally, render_revisions};
