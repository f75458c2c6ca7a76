//! The clients that people have, against the real binary: the suites of `tests/clients`.

#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use tokio::task::JoinSet;
use weirgate_tests::environment::models;
use weirgate_tests::wait::within;
use weirgate_tests::{Server, Service, suites};

/// One process each: the clients' protocol buffers bear the same names.
const SUITES: [&str; 9] = [
    "test_triton_http.py",
    "triton_grpc",
    "test_triton_aio.py",
    "test_triton_compression.py",
    "test_kserve_rest.py",
    "test_kserve_grpc.py",
    "test_openai.py",
    "test_reflection.py",
    "test_curl.py",
];

/// Suites at a time. The first two, REST and gRPC on one port, are the longest.
const AT_ONCE: usize = 2;

/// Every test model that loads, and the real ones.
fn services() -> Vec<Service> {
    let folders = std::fs::read_dir(models().join("testing")).unwrap();
    let mut names: Vec<_> = folders.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != "broken");
    names.sort();
    let testing = names.iter().map(|name| Service::new(name));
    testing.chain([Service::minilm(), Service::digits()]).collect()
}

fn command(suite: &str, server: &Server) -> Command {
    let address = server.data.to_string();
    let mut command = suites::suite("clients", suite, server);
    command
        .env("WEIRGATE_GRPC", &address)
        .env("WEIRGATE_ADMIN", server.admin.to_string())
        .env("WEIRGATE_TOKEN", server.token())
        .env("WEIRGATE_MINILM", models().join("minilm"));
    command
}

/// It unloads models, and the server is not ready while one loads: it has a server of its own.
#[tokio::test(flavor = "multi_thread")]
async fn the_model_repository_is_changed_by_its_clients() {
    const SUITE: &str = "test_triton_repository.py";
    let names = ["identity_fp32", "add_1", "add_2"].map(Service::new);
    let server = Server::start(names.into_iter().chain([Service::digits()])).await;
    let mut command = command(SUITE, &server);
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    let fault = suites::fault(SUITE, &within(SUITE, run).await.unwrap());
    assert!(fault.is_none(), "{}", fault.unwrap_or_default());
}

#[tokio::test(flavor = "multi_thread")]
async fn complaint_28_every_client_is_served_on_one_port() {
    let server = Server::start(services()).await;
    let commands: VecDeque<_> = SUITES.iter().map(|&suite| (suite, command(suite, &server))).collect();
    let waiting = std::sync::Arc::new(Mutex::new(commands));
    let mut workers = JoinSet::new();
    for _ in 0..AT_ONCE {
        let waiting = waiting.clone();
        workers.spawn(async move {
            let mut faults = Vec::new();
            loop {
                let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let Some((suite, mut command)) = next else { return faults };
                let run = tokio::task::spawn_blocking(move || command.output().unwrap());
                faults.extend(suites::fault(suite, &within(suite, run).await.unwrap()));
            }
        });
    }
    let faults: Vec<_> = workers.join_all().await.into_iter().flatten().collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
