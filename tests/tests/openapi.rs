//! The description at `/openapi.json`, held against what the server does.

#![allow(clippy::unwrap_used)]

use std::process::Command;

use serde_json::{Value, json};
use weirgate_tests::environment::{scale, workspace};
use weirgate_tests::http::post;
use weirgate_tests::process::Folder;
use weirgate_tests::{Http1, Server, Service};

async fn description(server: &Server) -> Value {
    Http1::connect(server.data).await.get("/openapi.json").await.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_is_answered_as_described() {
    let server = Server::start([Service::new("identity")]).await;
    let description = description(&server).await;
    let mut client = Http1::connect(server.data).await;
    let mut asked = 0;
    for (path, methods) in description["paths"].as_object().unwrap() {
        // Its model has no versions.
        if path.contains("{version}") {
            continue;
        }
        let content = methods["post"]["requestBody"]["content"].as_object();
        for (kind, content) in content.into_iter().flatten() {
            for (name, example) in content["examples"].as_object().into_iter().flatten() {
                let mut request = post(&path.replace("{model}", "identity"), example["value"].to_string());
                request.headers_mut().insert("content-type", kind.parse().unwrap());
                let reply = client.send(request).await;
                assert_eq!(reply.status, 200, "{path}, {name}: {}", reply.text());
                asked += 1;
            }
        }
    }
    assert!(asked > 5, "only {asked} examples");
}

/// Of what the description allows, what a model takes: calls that Schemathesis makes up are answered then.
fn narrowed(mut description: Value) -> Value {
    let components = &mut description["components"];
    components["parameters"]["model"]["schema"] = json!({ "enum": ["identity"] });
    let tensor = &mut components["schemas"]["InputTensor"]["properties"];
    tensor["name"] = json!({ "const": "x" });
    tensor["datatype"] = json!({ "const": "FP32" });
    tensor["shape"] = json!({ "const": [1, 2] });
    tensor["data"] = json!({ "type": "array", "items": { "type": "integer" }, "minItems": 2, "maxItems": 2 });
    description
}

const CHECKS: &str = "not_a_server_error,content_type_conformance,status_code_conformance,response_schema_conformance,\
                      unsupported_method";

/// 501 is the answer of what is known and not built.
const SETTINGS: &str = "[checks.not_a_server_error]\nexpected-statuses = [\"2xx\", \"4xx\", \"501\"]\n";

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_no_answer_that_is_not_described() {
    let server = Server::start([Service::new("identity")]).await;
    let folder = Folder::new();
    let file = folder.file("openapi.json", &narrowed(description(&server).await).to_string());
    let settings = folder.file("schemathesis.toml", SETTINGS);
    let mut command = Command::new(workspace().join("build/venv-schemathesis/bin/schemathesis"));
    command.current_dir(folder.path()).arg("--config-file").arg(settings).arg("run").arg(file);
    command.args(["--url", &format!("http://{}", server.data), "--checks", CHECKS, "--seed", "1", "--no-color"]);
    // One worker: with several threads, CPython 3.11 fails now and then when it parses ("AST constructor recursion depth").
    command.args(["--phases", "examples,coverage,fuzzing", "--continue-on-failure", "--workers", "1"]);
    command.args(["--max-examples", scale("3", "200"), "--max-time", scale("40", "1800")]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("Test cases:"), "{text}");
}
