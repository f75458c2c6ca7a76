//! The example that users are given, as it is.

use std::process::Command;

use weirgate_tests::environment::{binary, workspace};
use weirgate_tests::http::post;
use weirgate_tests::process::run;
use weirgate_tests::{Http1, Server};

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_a_python_server_is_served_as_it_is() {
    let example = workspace().join("examples/python-server/sum.yaml");
    let output = run(Command::new(binary()).arg("validate").arg("-f").arg(&example));
    assert!(output.status.success(), "{output:?}");
    let server = Server::with([]).without_files().flag("-f", example.to_str().unwrap()).start().await;
    let mut client = Http1::connect(server.data).await;
    let reply = client.send(post("/v1/models/sum:predict", r#"{"instances": [[1, 2], [3, 4]]}"#)).await;
    assert_eq!(reply.json()["predictions"], serde_json::json!([3, 7]), "{}", reply.text());
}
