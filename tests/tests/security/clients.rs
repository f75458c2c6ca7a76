//! The clients that people have, with a key: the suite `tests/clients/test_keys.py`.

use weirgate_tests::process::{Folder, run};
use weirgate_tests::wait::within;
use weirgate_tests::{Server, Service, suites};

use super::{file, key, private};

#[tokio::test(flavor = "multi_thread")]
async fn the_clients_of_openai_and_triton_show_their_keys() {
    let folder = Folder::new();
    let (key, entry) = key("clients", "*", "");
    let path = private(&folder, "keys.yaml", &file(&[&entry]));
    let services = [Service::new("identity_fp32")];
    let server = Server::with(services).flag("--api-keys", path.to_str().unwrap()).start().await;
    let mut command = suites::suite("clients", "test_keys.py", &server);
    command.env("WEIRGATE_GRPC", server.data.to_string()).env("WEIRGATE_KEY", key);
    let output = within("the clients", tokio::task::spawn_blocking(move || run(&mut command))).await.unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("4 passed") && !told.contains("skipped"), "{told}\n{output:?}");
}
