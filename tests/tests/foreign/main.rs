//! Other people's servers behind the gateway, and the clients that people have before it.
//!
//! Plain Python, KServe's model server and MLServer run as children, from the YAML that Kubernetes would run as containers;
//! llama.cpp's server is an upstream by its URL. The suites of `tests/foreign` call them in every protocol.

#![allow(clippy::unwrap_used)]

mod examples;
mod servers;

use weirgate_tests::environment::foreign_python;
use weirgate_tests::wait::within;
use weirgate_tests::{Server, Service, suites};

use crate::servers::Llama;

/// Runs these suites one after the other.
async fn passes(suites: &[&'static str], services: Vec<Service>) {
    let server = Server::start(services).await;
    let mut faults = Vec::new();
    for &suite in suites {
        let mut command = suites::suite("foreign", suite, &server);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap());
        faults.extend(suites::fault(suite, &within(suite, output).await.unwrap()));
    }
    assert!(faults.is_empty(), "{}\n{}", faults.join("\n"), server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn other_peoples_tensor_servers_are_children_in_every_protocol() {
    let services = vec![
        servers::plain(),
        servers::kserve("kserve-http", false),
        servers::kserve("kserve-grpc", true),
        servers::kserve_untold("untold-http", false),
        servers::kserve_untold("untold-grpc", true),
        servers::mlserver("mlserver-http", false),
        servers::mlserver("mlserver-grpc", true),
    ];
    passes(&["test_v1.py", "test_triton_http.py", "test_triton_grpc.py", "test_kserve.py"], services).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn llama_cpp_is_an_upstream_for_openais_client() {
    let llama = Llama::start(&foreign_python()).await;
    passes(&["test_openai.py"], vec![llama.service("smollm2")]).await;
}
