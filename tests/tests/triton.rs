//! NVIDIA's clients against the real binary: the suites of `tests/clients`.

#![allow(clippy::unwrap_used)]

use std::process::{Command, Stdio};

use weirgate_tests::environment::{models, python, workspace};
use weirgate_tests::wait::within;
use weirgate_tests::{Server, Service};

/// Every test model that loads, and the real ones.
fn services() -> Vec<Service> {
    let folders = std::fs::read_dir(models().join("testing")).unwrap();
    let mut names: Vec<_> = folders.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != "broken");
    names.sort();
    let testing = names.iter().map(|name| Service::new(name));
    testing.chain([Service::minilm(), Service::digits()]).collect()
}

/// Both suites at once, against one port: REST and gRPC side by side.
#[tokio::test(flavor = "multi_thread")]
async fn complaint_28_rest_and_grpc_on_one_port() {
    let server = Server::start(services()).await;
    let run = |suite: &str| {
        let address = server.data.to_string();
        let mut command = Command::new(python());
        command
            .args(["-B", "-m", "pytest", "-q", suite])
            .current_dir(workspace().join("tests/clients"))
            .env("WEIRGATE_HTTP", &address)
            .env("WEIRGATE_GRPC", &address)
            .env("WEIRGATE_ADMIN", server.admin.to_string())
            .env("WEIRGATE_MINILM", models().join("minilm"))
            .stdin(Stdio::null());
        tokio::task::spawn_blocking(move || command.output().unwrap())
    };
    let suites = ["test_triton_http.py", "test_triton_grpc.py"];
    let [http, grpc] = suites.map(run);
    let (http, grpc) = within("both suites", async { (http.await.unwrap(), grpc.await.unwrap()) }).await;
    for (suite, output) in suites.iter().zip([http, grpc]) {
        let text = String::from_utf8_lossy(&output.stdout);
        println!("{suite}: {}", text.lines().last().unwrap_or_default());
        assert!(output.status.success(), "{suite}:\n{text}\n{}", String::from_utf8_lossy(&output.stderr));
        let summary = text.lines().last().unwrap_or_default();
        assert!(summary.contains(" passed") && !summary.contains("skipped"), "{suite}: {summary}\n{text}");
    }
}
