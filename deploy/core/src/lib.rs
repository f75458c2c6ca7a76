//! Pure deployment decisions: from the text of a manifest to what shall run.
//!
//! ```text
//! text ── documents ── fields known? ── InferenceService ── defaults ── values allowed? ── ServicePlan
//! ```
//!
//! [`load`] goes the whole way and reports every [`Problem`] it meets, not only the first. A field is one row in the
//! table of fields and one field of a struct; the row says what becomes of it, and nothing is dropped in silence.
//!
//! Nothing here reads a file, a clock or the environment: the caller hands over text and carries out the plan.

mod annotations;
mod arguments;
mod canary;
mod claims;
mod component;
mod container;
mod defaults;
mod documents;
mod draw;
mod duration;
mod edit;
mod executor;
mod fields;
mod implementation;
mod inference_service;
mod kind;
mod manifest;
mod plan;
mod probe;
mod problem;
mod quantity;
mod reference;
mod revision;
pub mod rollout;
pub mod rollout_edit;
pub mod secrets;
mod shape;
pub mod status;
mod storage;
mod suggest;
mod upstream;
mod values;
mod variables;

pub use arguments::ModelArguments;
pub use claims::claimed_twice;
pub use edit::set_canary_percent;
pub use inference_service::{
    ApiVersion, AutoScalingSpec, BatcherSpec, CanarySpec, ComponentExtensionSpec, ComponentSpec, ConfidentialSpec,
    DeploymentStrategy, InferenceService, InferenceServiceSpec, IntOrPercent, Kind, LoggerSpec, Metadata, MetricSpec,
    ModelFormatSpec, ModelServerSpec, PredictorSpec, ProtocolVersion, Resources, RollingUpdate, StrategyType,
};
pub use manifest::{Loaded, Service, load, plan, revision};
pub use plan::{
    BatcherPlan, CanaryPlan, CommandPlan, Executor, Isolation, Location, ModelFormat, ModelPlan, PortProtocol,
    ProbeCheck, ProbePlan, Replacement, Retry, RevisionPlan, ServicePlan, Settings, TrafficPlan, UpstreamPlan,
    UpstreamProtocol, UpstreamTls,
};
pub use problem::{Problem, Severity};
pub use quantity::{Quantity, QuantityError};
pub use reference::{annotation_table, field_table};
