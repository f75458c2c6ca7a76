//! What can be seen of the gateway: Prometheus metrics and structured logs.

mod histograms;
mod logs;
mod metrics;
mod revisions;
mod statistics;
mod tally;
mod text;

pub use logs::init as init_logs;
pub use metrics::{
    LaneMetrics, METRICS, Metric, MetricKind, REFUSED, Registry, Stages, count_unanswered, count_unrouted, us,
};
pub use revisions::{RevisionRow, render_revisions};
pub use statistics::Statistics;
pub use tally::Tally;
pub use text::{TEXT_METRICS, TextMetrics};
