//! Pure deployment decisions: from the text of a manifest to what shall run.
//!
//! ```text
//! text ── documents ── fields known? ── InferenceService ── values allowed? ── ServicePlan
//! ```
//!
//! [`load`] goes the whole way and reports every [`Problem`] it meets, not only the first. A field is one row in the
//! table of fields and one field of a struct; what nobody acts on yet is refused by its path, never dropped in silence.
//!
//! Nothing here reads a file, a clock or the environment: the caller hands over text and carries out the plan.

mod annotations;
mod claims;
mod documents;
mod fields;
mod inference_service;
mod manifest;
mod plan;
mod problem;
mod quantity;
pub mod rollout;
mod shape;
pub mod status;
mod storage;
mod suggest;

pub use claims::claimed_twice;
pub use inference_service::{
    ApiVersion, BatcherSpec, InferenceService, InferenceServiceSpec, Kind, Metadata, ModelFormatSpec, ModelServerSpec,
    PredictorSpec, ProtocolVersion, ResourceSpec, Resources,
};
pub use manifest::{Loaded, Service, load};
pub use plan::{
    BatcherPlan, CanaryPlan, ModelFormat, ModelPlan, Replacement, RevisionPlan, ServicePlan, Settings, TrafficPlan,
    plan, revision,
};
pub use problem::{Problem, Severity};
pub use quantity::{Quantity, QuantityError};
