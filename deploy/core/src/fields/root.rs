//! The object itself: what it is, what it is called, and its components.

use super::component::COMPONENT;
use super::pod::POD;
use super::predictor::{CANARY_PREDICTOR, PREDICTOR};
use super::{Field, Level, Rule, acted_on, level, server_owned, unsupported, warned};

pub(crate) const API_VERSION: &str = "serving.kserve.io/v1beta1";
pub(crate) const KIND: &str = "InferenceService";
pub(crate) const LIST_KIND: &str = "InferenceServiceList";

pub(crate) static ROOT: Level = level(&[&[
    acted_on("apiVersion", Rule::OneOf(&[API_VERSION]), "`serving.kserve.io/v1beta1`"),
    acted_on("kind", Rule::OneOf(&[KIND]), "`InferenceService`"),
    acted_on("metadata", Rule::Object(&METADATA), ""),
    acted_on("spec", Rule::Object(&SPEC), ""),
    server_owned("status"),
]]);

static METADATA: Level = level(&[&[
    acted_on("name", Rule::Text, "the service, and its model on the wire"),
    acted_on("namespace", Rule::Text, "default: `default`; names in one don't mix with those in another"),
    acted_on("labels", Rule::Texts, "kept"),
    acted_on("annotations", Rule::Texts, "kept; see the table of annotations"),
    warned("generateName", Rule::Text, "has no effect: metadata.name names the service"),
    server_owned("creationTimestamp"),
    server_owned("deletionGracePeriodSeconds"),
    server_owned("deletionTimestamp"),
    server_owned("finalizers"),
    server_owned("generation"),
    server_owned("managedFields"),
    server_owned("ownerReferences"),
    server_owned("resourceVersion"),
    server_owned("selfLink"),
    server_owned("uid"),
]]);

static SPEC: Level = level(&[&[
    acted_on("predictor", Rule::Object(&PREDICTOR), ""),
    acted_on("canary", Rule::Objects(&CANARY), "further revisions beside `spec.predictor`, in every deployment mode"),
    unsupported("transformer", Rule::Object(&TRANSFORMER), "is not supported yet: remove it and let clients transform"),
    unsupported("explainer", Rule::Object(&EXPLAINER), "is not supported yet: remove it, nothing would explain"),
]]);

static CANARY: Level = level(&[&[
    acted_on("trafficPercent", Rule::Whole, "its share of the calls, 0 to 100; `spec.predictor` takes the rest"),
    acted_on(
        "predictor",
        Rule::Object(&CANARY_PREDICTOR),
        "laid over `spec.predictor`: what is not zero replaces; its fields are those of `spec.predictor`, but:",
    ),
]]);

const CONTAINERS: Field = acted_on("containers", Rule::List, "checked");

static TRANSFORMER: Level = level(&[&[CONTAINERS], COMPONENT, POD]);

static EXPLAINER: Level = level(&[&[acted_on("art", Rule::Mapping, "checked"), CONTAINERS], COMPONENT, POD]);
