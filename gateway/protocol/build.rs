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

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(["proto/oip.proto"], ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("oip.fds"), descriptors.encode_to_vec())?;
    prost_build::Config::new().bytes(ZERO_COPY).compile_fds(descriptors)?;
    Ok(())
}
