//! API keys, as callers of each protocol show them.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use weirgate_protocol::oip;
use weirgate_tests::grpc::{MODEL_INFER, answer, frame, request};
use weirgate_tests::http::{self, with};
use weirgate_tests::process::{Folder, run};
use weirgate_tests::{Grpc, Http1, Http2, Server, Service, calls, eventually, row};

use super::{file, key, private};

const UNAUTHENTICATED: i32 = 16;
const PERMISSION_DENIED: i32 = 7;

struct World {
    server: Server,
    folder: Folder,
    all: String,
    one: String,
}

async fn world() -> World {
    let folder = Folder::new();
    let (all, all_entry) = key("all", "*", "explain: true");
    let (one, one_entry) = key("one", "default/identity", "");
    let path = private(&folder, "keys.yaml", &file(&[&all_entry, &one_entry]));
    let services = [Service::new("identity"), Service::sum(1), Service::sum(2).in_namespace("dark").named("hidden")];
    let server = Server::with(services).flag("--api-keys", path.to_str().unwrap()).flag("--log", "debug").start().await;
    World { server, folder, all, one }
}

fn grpc_infer(model: &str, key: Option<&str>) -> ::http::Request<weirgate_tests::http::Body> {
    let message = oip::encode_request(model, None, calls::row(&[1.0]), true).unwrap();
    let request = request(MODEL_INFER, frame(0, &prost::Message::encode_to_vec(&message)));
    match key {
        Some(key) => with(request, "authorization", &format!("Bearer {key}")),
        None => request,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_protocol_asks_for_a_key_and_takes_it_from_either_header() {
    let World { server, all, .. } = world().await;
    let mut client = Http1::connect(server.data).await;
    let h2 = Http2::connect(server.data).await;
    let paths =
        ["/v2", "/v2/models/identity", "/v1/models", "/v1/models/identity", "/openai/v1/models", "/v2/models/stats"];
    for path in paths.into_iter().chain(["/openapi.json", "/nothing", "/v2/models", "/default/identity/v2"]) {
        let reply = client.get(path).await;
        assert_eq!((reply.status, reply.header("www-authenticate")), (401, Some("Bearer")), "{path}: {reply:?}");
        assert_eq!(h2.send(http::get(path)).await.status, 401, "{path}");
    }
    let call = || calls::json("identity", &row(&[1.0]));
    let openai = || http::post("/v1/chat/completions", r#"{"model":"identity"}"#);
    let reply = client.send(call()).await;
    assert!(reply.status == 401 && reply.error().contains("x-api-key"), "{reply:?}");
    let reply = client.send(openai()).await;
    assert_eq!((reply.status, &reply.json()["error"]["type"]), (401, &"authentication_error".into()), "{reply:?}");
    for (name, value) in [("authorization", format!("Bearer {all}")), ("x-api-key", all.clone())] {
        client.send(with(call(), name, &value)).await.response();
        h2.send(with(call(), name, &value)).await.response();
        assert_eq!(client.send(with(http::get("/v1/models"), name, &value)).await.status, 200);
        // It came as far as its model.
        assert_eq!(client.send(with(openai(), name, &value)).await.status, 400);
    }
    for (name, value) in [("authorization", "Bearer wrong"), ("authorization", "Basic eA=="), ("x-api-key", "wrong")] {
        assert_eq!(client.send(with(call(), name, value)).await.status, 401, "{name}: {value}");
    }
    let refused = answer(&h2.send(grpc_infer("identity", None)).await).unwrap_err();
    assert_eq!(refused.code, UNAUTHENTICATED, "{refused:?}");
    answer(&h2.send(grpc_infer("identity", Some(&all))).await).unwrap();
    answer(&h2.send(with(grpc_infer("identity", None), "x-api-key", &all)).await).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_told_to_everybody_and_models_by_name_are_not() {
    let World { server, .. } = world().await;
    let mut client = Http1::connect(server.data).await;
    for path in ["/v2/health/live", "/v2/health/ready"] {
        assert_eq!(client.get(path).await.status, 200, "{path}");
    }
    let grpc = Grpc::connect(server.data).await;
    let live: oip::ServerLiveResponse =
        grpc.call("/inference.GRPCInferenceService/ServerLive", &oip::ServerLiveRequest {}).await.unwrap();
    assert!(live.live);
    // grpc.health.v1's message: field 1 is the service's name.
    let check = |name: &str| {
        let mut message = vec![0x0a, name.len() as u8];
        message.extend_from_slice(name.as_bytes());
        request("/grpc.health.v1.Health/Check", frame(0, &message))
    };
    answer(&grpc.0.send(check("")).await).unwrap();
    for name in ["identity", "nothing"] {
        assert_eq!(answer(&grpc.0.send(check(name)).await).unwrap_err().code, UNAUTHENTICATED, "{name}");
    }
}

/// One and the same answer, whether a service is there or not: no caller can find out which there are.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_for_one_service_sees_no_other() {
    let World { server, all, one, .. } = world().await;
    let mut client = Http1::connect(server.data).await;
    let send = async |client: &mut Http1, request, key: &str| client.send(with(request, "x-api-key", key)).await;
    send(&mut client, calls::json("identity", &row(&[1.0])), &one).await.response();
    let mut texts = Vec::new();
    for model in ["sum", "hidden", "nothing"] {
        let reply = send(&mut client, calls::json(model, &row(&[1.0])), &one).await;
        assert_eq!(reply.status, 403, "{model}: {reply:?}");
        texts.push(reply.error());
    }
    for path in
        ["/dark/hidden/v2/models/hidden", "/dark/nothing/v2/models/nothing", "/v2/models/sum", "/v2/models/nothing"]
    {
        let reply = send(&mut client, http::get(path), &one).await;
        assert_eq!(reply.status, 403, "{path}: {reply:?}");
        texts.push(reply.error());
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:?}");
    for (path, list) in [("/v1/models", "data"), ("/v2/models", "models")] {
        let models = async |client: &mut Http1, key: &str| {
            let reply = send(client, http::get(path), key).await;
            reply.json()[list].as_array().unwrap().len()
        };
        assert_eq!((models(&mut client, &one).await, models(&mut client, &all).await), (1, 3), "{path}");
    }
    assert_eq!(send(&mut client, http::get("/v2/models/nothing"), &all).await.status, 404);
    let h2 = Http2::connect(server.data).await;
    assert_eq!(answer(&h2.send(grpc_infer("sum", Some(&one))).await).unwrap_err().code, PERMISSION_DENIED);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_is_read_again_and_a_broken_one_is_not_taken() {
    let World { server, folder, all, one } = world().await;
    let mut client = Http1::connect(server.data).await;
    let call = |key: &str| with(calls::json("identity", &row(&[1.0])), "x-api-key", key);
    let (new, entry) = key("new", "default/*", "");
    private(&folder, "keys.yaml", &file(&[&entry]));
    eventually("the new key to count", async || (client.send(call(&new)).await.status == 200).then_some(())).await;
    for old in [&all, &one] {
        assert_eq!(client.send(call(old)).await.status, 401);
    }
    private(&folder, "keys.yaml", "keys: nonsense\n");
    server.signal("HUP");
    eventually("the error in the log", async || server.log().contains("can't be used").then_some(())).await;
    assert_eq!(client.send(call(&new)).await.status, 200);
}

/// Who was taken out of the file is out, though the file was open to others for a while.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_open_to_others_is_read_when_it_no_longer_is() {
    let World { server, folder, all, one } = world().await;
    let mut client = Http1::connect(server.data).await;
    let call = |key: &str| with(calls::json("identity", &row(&[1.0])), "x-api-key", key);
    let path = folder.path().join("keys.yaml");
    let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    mode(0o622);
    // The entries are in the order in which they were made.
    std::fs::write(&path, &text[..text.rfind("- name: one").unwrap()]).unwrap();
    eventually("it to be refused", async || server.log().contains("can be written by others").then_some(())).await;
    assert_eq!(client.send(call(&one)).await.status, 200, "what was read before holds on");
    mode(0o600);
    eventually("the key to be out", async || (client.send(call(&one)).await.status == 401).then_some(())).await;
    assert_eq!(client.send(call(&all)).await.status, 200);
}

/// Loading and unloading has a token of its own.
#[tokio::test(flavor = "multi_thread")]
async fn the_repository_asks_for_its_own_token() {
    let World { server, all, .. } = world().await;
    let token = std::fs::read_to_string(server.state().join("token")).unwrap();
    let token = format!("Bearer {}", token.trim());
    let mut client = Http1::connect(server.data).await;
    let load = || http::post("/v2/repository/models/identity/load", "{}");
    assert_eq!(client.send(load()).await.status, 401);
    assert_eq!(client.send(with(load(), "x-api-key", &all)).await.status, 401);
    assert_eq!(client.send(with(load(), "authorization", &token)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_is_in_a_log_an_error_or_a_metric() {
    let World { server, all, one, .. } = world().await;
    let mut client = Http1::connect(server.data).await;
    let mut told = String::new();
    for key in [&all, &one] {
        for model in ["identity", "sum", "nothing"] {
            for (name, value) in [("authorization", format!("Bearer {key}")), ("x-api-key", (*key).clone())] {
                let reply = client.send(with(calls::json(model, &row(&[1.0])), name, &value)).await;
                told += &format!("{reply:?}");
                told += &client.send(with(calls::json(model, &row(&[1.0])), name, &format!("{value}x"))).await.text();
            }
        }
    }
    told += &server.admin_get("/metrics").await.unwrap().text();
    told += &server.log();
    for secret in [&all, &one] {
        assert!(!told.contains(secret.as_str()), "a key was shown");
    }
    let metrics = server.metrics().await;
    assert!(metrics.sum("weirgate_refused_total", &[("reason", "service"), ("key", "one")]) >= 4.0);
    assert!(metrics.sum("weirgate_refused_total", &[("reason", "unknown"), ("key", "")]) >= 12.0);
}

#[test]
fn a_key_is_printed_once_and_its_entry_holds_only_a_hash() {
    let (key, entry) = key("team-a", "default/*", "");
    assert!(key.starts_with("wgk_") && key.len() == 68, "{key}");
    assert!(entry.contains("hash: sha256:") && !entry.contains(&key), "{entry}");
    for words in [&["key", "new", "a b"][..], &["key", "new", "a", "--service", "x"]] {
        let output = run(Command::new(weirgate_tests::environment::binary()).args(words));
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
}

/// Whoever does what the help says has a file that is read.
#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_help_make_a_file_of_keys() {
    let folder = Folder::new();
    let binary = weirgate_tests::environment::binary();
    let help = run(Command::new(&binary).args(["key", "new", "--help"]));
    let help = String::from_utf8(help.stdout).unwrap();
    let path = format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let keys: Vec<_> = ["A new file: ", "A further key: "]
        .into_iter()
        .map(|begin| {
            let line = help.lines().find_map(|line| line.strip_prefix(begin)).unwrap_or_else(|| panic!("{help}"));
            let mut shell = Command::new("sh");
            let output = run(shell.args(["-c", line]).current_dir(folder.path()).env("PATH", &path));
            assert!(output.status.success(), "{line}: {output:?}");
            String::from_utf8(output.stderr).unwrap().trim().to_owned()
        })
        .collect();
    let file = folder.path().join("keys.yaml");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let server = Server::with([Service::new("identity")]).flag("--api-keys", file.to_str().unwrap()).start().await;
    let mut client = Http1::connect(server.data).await;
    for key in keys {
        client.send(with(calls::json("identity", &row(&[1.0])), "x-api-key", &key)).await.response();
    }
}
