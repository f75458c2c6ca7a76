//! Model versions: folders of them, over every protocol that names one.

use std::path::{Path, PathBuf};

use weirgate_protocol::{InferResponse, oip};
use weirgate_tests::environment::models;
use weirgate_tests::grpc::{MODEL_INFER, NOT_FOUND};
use weirgate_tests::http::{post as http_post, with};
use weirgate_tests::process::Folder;
use weirgate_tests::{Grpc, Http1, Server, Service, calls, eventually, row, values};

/// A model folder with `add_1` as version 1 and so on, and what is to be served of it.
pub(super) fn versioned(folder: &Folder, versions: &[usize], policy: Option<&str>) -> PathBuf {
    let model = folder.path().join("sum");
    for &version in versions {
        add_version(&model, version, version);
    }
    if let Some(policy) = policy {
        let config = format!("name: \"sum\"\nplatform: \"onnxruntime_onnx\"\nversion_policy: {policy}\n");
        std::fs::write(model.join("config.pbtxt"), config).unwrap();
    }
    model
}

/// Puts the model that adds `add` into the folder of this version.
pub(super) fn add_version(model: &Path, version: usize, add: usize) {
    let folder = model.join(version.to_string());
    std::fs::create_dir_all(&folder).unwrap();
    let part = folder.join("part");
    std::fs::copy(models().join(format!("testing/add_{add}/model.onnx")), &part).unwrap();
    std::fs::rename(part, folder.join("model.onnx")).unwrap();
}

/// What was added, and the version that says it did.
pub(super) fn answer(response: &InferResponse) -> (f32, Option<&str>) {
    (values(&response.outputs[0])[0], response.model_version.as_deref())
}

fn post(version: &str) -> http::Request<weirgate_tests::http::Body> {
    let mut request = calls::json("sum", &row(&[0.0]));
    *request.uri_mut() = format!("/v2/models/sum/versions/{version}/infer").parse().unwrap();
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_version_answers_and_says_so() {
    let folder = Folder::new();
    let server = Server::start([Service::at("sum", versioned(&folder, &[1, 2], None))]).await;
    let mut client = Http1::connect(server.data).await;
    assert_eq!(answer(&client.infer("sum", &row(&[0.0])).await.response()), (2.0, Some("2")));
    let metadata: serde_json::Value = serde_json::from_slice(&client.get("/v2/models/sum").await.body).unwrap();
    assert_eq!(metadata["versions"], serde_json::json!(["2"]));
    for path in ["/v2/models/sum/versions/2", "/v2/models/sum/versions/2/ready"] {
        assert_eq!(client.get(path).await.status, 200, "{path}");
    }
    let grpc = Grpc::connect(server.data).await;
    assert_eq!(answer(&grpc.infer("sum", &row(&[0.0])).await.unwrap()), (2.0, Some("2")));
}

/// KServe answers 501 to any version.
#[tokio::test(flavor = "multi_thread")]
async fn complaint_24_versions_are_answered_or_404() {
    let folder = Folder::new();
    let server = Server::start([
        Service::at("sum", versioned(&folder, &[1, 2, 3], Some("{ specific { versions: [1, 3] } }"))),
        Service::new("identity"),
    ])
    .await;
    let mut client = Http1::connect(server.data).await;
    for (version, added) in [("1", 1.0), ("3", 3.0)] {
        assert_eq!(answer(&client.send(post(version)).await.response()), (added, Some(version)));
    }
    let reply = client.send(post("2")).await;
    assert_eq!(reply.status, 404, "{reply:?}");
    assert_eq!(reply.error(), "version '2' is not served: the model's versions are 1, 3");
    assert_eq!(client.get("/v2/models/sum/versions/2/ready").await.status, 404);
    let mut unversioned = calls::json("identity", &row(&[0.0]));
    *unversioned.uri_mut() = "/v2/models/identity/versions/1/infer".parse().unwrap();
    let reply = client.send(unversioned).await;
    assert_eq!(reply.status, 404, "{reply:?}");
    assert!(reply.error().contains("has no version folders"), "{reply:?}");
}

/// KServe drops the id and the version, and computes outputs that nobody asked for.
#[tokio::test(flavor = "multi_thread")]
async fn complaint_23_outputs_id_and_version_are_honoured() {
    let folder = Folder::new();
    let sum = versioned(&folder, &[1, 2], Some("{ all {} }"));
    let server = Server::start([Service::at("sum", sum), Service::new("two_io")]).await;
    let mut client = Http1::connect(server.data).await;
    let grpc = Grpc::connect(server.data).await;
    for version in ["1", "2"] {
        let request = calls::with_id(format!("call-{version}"), row(&[0.0]));
        let mut call = calls::json("sum", &request);
        *call.uri_mut() = format!("/v2/models/sum/versions/{version}/infer").parse().unwrap();
        let response = client.send(call).await.response();
        assert_eq!(response.id.as_deref(), Some(format!("call-{version}").as_str()));
        assert_eq!(response.model_version.as_deref(), Some(version));
        let message = oip::encode_request("sum", Some(version), request, true).unwrap();
        let message: oip::ModelInferResponse = grpc.call(MODEL_INFER, &message).await.unwrap();
        assert_eq!((message.id.as_str(), message.model_version.as_str()), (&*format!("call-{version}"), version));
    }
    let unknown = oip::encode_request("sum", Some("9"), row(&[0.0]), true).unwrap();
    let refused = grpc.call::<_, oip::ModelInferResponse>(MODEL_INFER, &unknown).await.unwrap_err();
    assert_eq!(refused.code, NOT_FOUND, "{refused:?}");
    let body = r#"{"id":"one","outputs":[{"name":"diff"}],"inputs":[
        {"name":"a","datatype":"FP32","shape":[1,3],"data":[3,2,1]},
        {"name":"b","datatype":"FP32","shape":[1,3],"data":[1,1,1]},
        {"name":"id","datatype":"INT64","shape":[1,1],"data":[7]}]}"#;
    let response = client.send(calls::post_text("two-io", body)).await.response();
    assert_eq!(response.id.as_deref(), Some("one"));
    let names: Vec<_> = response.outputs.iter().map(|output| &*output.name).collect();
    assert_eq!(names, ["diff"], "only what was asked for");
}

/// Calls of two versions come at the same time, and each is answered by its own.
#[tokio::test(flavor = "multi_thread")]
async fn versions_do_not_share_a_batch() {
    let folder = Folder::new();
    let sum = versioned(&folder, &[1, 2], Some("{ all {} }"));
    let server = Server::start([Service::at("sum", sum).max_latency_ms(20)]).await;
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..8 {
        let (version, added) = if caller % 2 == 0 { ("1", 1.0) } else { ("2", 2.0) };
        let mut client = Http1::connect(server.data).await;
        callers.spawn(async move {
            for _ in 0..25 {
                assert_eq!(answer(&client.send(post(version)).await.response()), (added, Some(version)));
            }
        });
    }
    while let Some(done) = callers.join_next().await {
        done.unwrap();
    }
}

/// The base serves version 1, and the canary version 2, each with half of the calls.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_for_a_version_is_no_part_of_the_split() {
    let (first, second) = (Folder::new(), Folder::new());
    let server = Server::start([Service::at("sum", versioned(&first, &[1], None))]).await;
    let canary = Service::at("sum", versioned(&second, &[2], None)).canary_percent(50);
    let mut client = Http1::connect(server.data).await;
    eventually("the first revision to hold all calls", async || {
        let view = server.view("sum").await?;
        view.to_string().contains("latestRolledoutRevision").then_some(())
    })
    .await;
    server.write(&canary);
    eventually("the canary to be ready", async || {
        (client.get("/v2/models/sum/versions/2/ready").await.status == 200).then_some(())
    })
    .await;
    for _ in 0..10 {
        assert_eq!(answer(&client.send(post("1")).await.response()), (1.0, Some("1")));
        assert_eq!(answer(&client.send(post("2")).await.response()), (2.0, Some("2")));
    }
    assert_eq!(client.get("/v2/models/sum").await.json()["versions"], serde_json::json!(["1"]), "the base's");
    let nowhere = client.send(post("9")).await;
    assert_eq!(nowhere.status, 404, "{nowhere:?}");
    for served in ["serves 1", "serves 2"] {
        assert!(nowhere.error().contains(served), "{nowhere:?}");
    }
    let elsewhere = client.send(with(post("2"), "x-weirgate-revision", "stable")).await;
    assert_eq!(elsewhere.status, 404, "{elsewhere:?}");
    assert!(elsewhere.error().starts_with("revision 'sum-predictor-"), "{elsewhere:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_for_a_version_must_name_one() {
    let folder = Folder::new();
    let server = Server::start([Service::at("sum", versioned(&folder, &[1], None))]).await;
    let mut client = Http1::connect(server.data).await;
    let mut reply = client.send(post("")).await;
    assert_eq!(reply.status, 404, "{reply:?}");
    reply = client.send(http_post("/v1/models/sum/versions/:predict", r#"{"instances":[[1]]}"#)).await;
    assert_eq!(reply.status, 404, "{reply:?}");
    for path in ["/v2/models/sum/versions/", "/v2/models/sum/versions//ready", "/v2/models/sum/versions//stats"] {
        assert_eq!(client.get(path).await.status, 404, "{path}");
    }
    reply = client.send(http_post("/v1/models/sum/versions/9:explain", "{}")).await;
    assert_eq!((reply.status, reply.error().contains("'9' is not served")), (404, true), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_count_up_and_the_configuration_names_them() {
    let folder = Folder::new();
    let sum = versioned(&folder, &[2], Some("{ all {} }"));
    add_version(&sum, 10, 1);
    let server = Server::start([Service::at("sum", sum)]).await;
    let mut client = Http1::connect(server.data).await;
    client.infer("sum", &row(&[0.0])).await.response();
    assert_eq!(client.get("/v2/models/sum").await.json()["versions"], serde_json::json!(["2", "10"]));
    let config = client.get("/v2/models/sum/config").await.json();
    assert_eq!(config["version_policy"], serde_json::json!({"specific": {"versions": [2, 10]}}));
    // The counts are of both.
    let stats = client.get("/v2/models/sum/versions/2/stats").await.json();
    assert_eq!(stats["model_stats"][0]["version"], "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_repository_is_looked_into() {
    let folder = Folder::new();
    versioned(&folder, &[1], None);
    add_version(&folder.path().join("sum"), 4, 2);
    add_version(&folder.path().join("other"), 1, 3);
    let server = Server::start([Service::at("sum", folder.path().to_owned())]).await;
    let mut client = Http1::connect(server.data).await;
    assert_eq!(answer(&client.infer("sum", &row(&[0.0])).await.response()), (2.0, Some("4")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_config_says_in_vain_is_told() {
    let folder = Folder::new();
    let sum = versioned(&folder, &[1], None);
    std::fs::write(sum.join("config.pbtxt"), "max_batch_size: 0\nversionPolicy: { all {} }").unwrap();
    let server = Server::start([Service::at("sum", sum)]).await;
    let log = server.log();
    for told in ["max_batch_size", "batcher.maxBatchSize to 1", "versionPolicy"] {
        assert!(log.contains(told), "{told}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_version_policy_is_the_reason_why_a_model_is_not_ready() {
    let folder = Folder::new();
    let sum = versioned(&folder, &[1], Some("{ specific { versions: [7] } }"));
    let server = Server::with([Service::at("sum", sum)]).at_once().start().await;
    let mut client = Http1::connect(server.data).await;
    let text = eventually("the model to have failed", async || {
        let reply = client.get("/v2/models/sum").await;
        (reply.status == 503 && reply.error().contains("failed")).then(|| reply.error())
    })
    .await;
    assert!(text.contains("version_policy asks for version 7"), "{text}");
}
