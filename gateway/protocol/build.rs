//! Generates the messages of `proto/oip.proto`, with no `protoc` on the machine. The gRPC service is generated where
//! tonic is: in the gateway.

use std::error::Error;
use std::path::PathBuf;

use protox::prost::Message as _;

/// Fields whose payloads stay slices of the message they came in.
const ZERO_COPY: [&str; 3] = [
    ".inference.ModelInferRequest.raw_input_contents",
    ".inference.ModelInferResponse.raw_output_contents",
    ".inference.InferTensorContents.bytes_contents",
];

/// Messages that REST answers with too, as JSON with the fields' own names.
const JSON: [&str; 13] = [
    ".inference.ModelConfig",
    ".inference.ModelVersionPolicy",
    ".inference.ModelInput",
    ".inference.ModelOutput",
    ".inference.ModelDynamicBatching",
    ".inference.ModelInstanceGroup",
    ".inference.ModelTransactionPolicy",
    ".inference.ModelStatisticsResponse",
    ".inference.ModelStatistics",
    ".inference.StatisticDuration",
    ".inference.InferStatistics",
    ".inference.InferBatchStatistics",
    ".inference.MemoryUsage",
];
/// Left out of that JSON where it is not set.
const OPTIONAL: [&str; 4] = [
    ".inference.ModelConfig.dynamic_batching",
    ".inference.ModelConfig.model_transaction_policy",
    ".inference.ModelVersionPolicy.latest",
    ".inference.ModelVersionPolicy.specific",
];
/// Enums, written by name, and the functions that do it.
const JSON_ENUMS: [(&str, &str); 3] = [
    (".inference.ModelInput.data_type", "data_type"),
    (".inference.ModelOutput.data_type", "data_type"),
    (".inference.ModelInstanceGroup.kind", "instance_kind"),
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(["proto/oip.proto"], ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("oip.fds"), descriptors.encode_to_vec())?;
    let mut config = prost_build::Config::new();
    config.bytes(ZERO_COPY);
    for message in JSON {
        config.message_attribute(message, "#[derive(serde::Serialize)]");
    }
    for field in OPTIONAL {
        config.field_attribute(field, "#[serde(skip_serializing_if = \"Option::is_none\")]");
    }
    for (field, function) in JSON_ENUMS {
        config.field_attribute(field, format!("#[serde(serialize_with = \"super::json::{function}\")]"));
    }
    config.compile_fds(descriptors)?;
    Ok(())
}
