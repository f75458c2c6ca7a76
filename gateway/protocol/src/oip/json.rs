//! How messages that REST answers with are written as JSON where their types don't say it.

use bytes::Bytes;
use serde::{Serialize, Serializer};

use super::model_instance_group::Kind;
use super::{DataType, ModelConfig, ModelStatisticsResponse};

/// `GET /v2/models/{name}/config`.
pub fn config_body(config: &ModelConfig) -> Bytes {
    body(config)
}

/// `GET /v2/models/{name}/stats`.
pub fn statistics_body(statistics: &ModelStatisticsResponse) -> Bytes {
    body(statistics)
}

fn body(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("strings and numbers can be serialised").into()
}

pub(super) fn data_type<S: Serializer>(value: &i32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(DataType::try_from(*value).unwrap_or_default().as_str_name())
}

pub(super) fn instance_kind<S: Serializer>(value: &i32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(Kind::try_from(*value).unwrap_or_default().as_str_name())
}
