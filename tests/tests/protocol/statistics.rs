//! Triton's statistics and configuration, by REST and by gRPC, which must say the same.

use serde_json::{Value, json};
use weirgate_protocol::oip;
use weirgate_tests::grpc::{NOT_FOUND, UNAVAILABLE, UNIMPLEMENTED};
use weirgate_tests::{Grpc, Http1, Server, Service, eventually, row, rows};

const STATISTICS: &str = "/inference.GRPCInferenceService/ModelStatistics";
const CONFIG: &str = "/inference.GRPCInferenceService/ModelConfig";

async fn get(server: &Server, path: &str) -> Value {
    let reply = Http1::connect(server.data).await.get(path).await;
    assert_eq!(reply.status, 200, "{path}: {reply:?}");
    serde_json::from_slice(&reply.body).unwrap()
}

async fn statistics(server: &Server, model: &str) -> Vec<oip::ModelStatistics> {
    let asked = oip::ModelStatisticsRequest { name: model.to_owned(), ..Default::default() };
    let answer: oip::ModelStatisticsResponse = Grpc::connect(server.data).await.call(STATISTICS, &asked).await.unwrap();
    answer.model_stats
}

/// A model's configuration, as soon as there is one: its batches are known when the first replica takes up work.
async fn config(server: &Server, model: &str) -> oip::ModelConfig {
    let asked = oip::ModelConfigRequest { name: model.to_owned(), ..Default::default() };
    let grpc = Grpc::connect(server.data).await;
    eventually("the configuration", async || match grpc.call(CONFIG, &asked).await {
        Ok(oip::ModelConfigResponse { config }) => Some(config.unwrap()),
        Err(refused) if refused.code == UNAVAILABLE => None,
        Err(refused) => panic!("{refused:?}"),
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_rows_runs_and_failures_are_counted() {
    let server = Server::start([Service::new("identity")]).await;
    let fresh = &statistics(&server, "identity").await[0];
    assert_eq!((fresh.last_inference, fresh.inference_count, fresh.execution_count), (0, 0, 0));
    assert!(fresh.batch_stats.is_empty());

    let mut client = Http1::connect(server.data).await;
    let grpc = Grpc::connect(server.data).await;
    client.infer("identity", &rows(&[&[1.0], &[2.0], &[3.0]])).await.response();
    client.infer("identity", &row(&[1.0])).await.response();
    grpc.infer("identity", &row(&[1.0])).await.unwrap();
    let mut wrong = row(&[1.0]);
    wrong.inputs[0].name = "unknown".into();
    assert_eq!(client.infer("identity", &wrong).await.status, 400);

    let [told] = &statistics(&server, "identity").await[..] else { panic!("one model was asked for") };
    assert_eq!((told.inference_count, told.execution_count), (5, 3));
    assert!(told.last_inference > 0);
    let times = told.inference_stats.as_ref().unwrap();
    let counts = [&times.success, &times.queue, &times.compute_input, &times.compute_infer, &times.compute_output];
    assert_eq!(counts.map(|time| time.unwrap().count), [3; 5]);
    assert_eq!(times.fail.unwrap().count, 1);
    let ns = |time: &Option<oip::StatisticDuration>| time.unwrap().ns;
    assert!(ns(&times.compute_infer) > 0 && ns(&times.fail) > 0);
    assert!(ns(&times.success) >= ns(&times.queue) + ns(&times.compute_infer), "{times:?}");
    let sizes: Vec<_> =
        told.batch_stats.iter().map(|batch| (batch.batch_size, batch.compute_infer.unwrap().count)).collect();
    assert_eq!(sizes, [(1, 2), (3, 1)]);

    // Field by field as Triton's clients read it.
    let rest = get(&server, "/v2/models/identity/stats").await;
    assert_eq!(rest, json!({ "model_stats": [serde_json::to_value(told).unwrap()] }));
    assert_eq!(rest["model_stats"][0]["batch_stats"][1]["batch_size"], 3);
    assert_eq!(rest["model_stats"][0]["inference_stats"]["success"]["count"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_several_calls_share_is_one_execution() {
    let server = Server::start([Service::new("slow_second")]).await;
    let mut calls = tokio::task::JoinSet::new();
    let mut send = || {
        let address = server.data;
        calls.spawn(async move { Http1::connect(address).await.infer("slow-second", &row(&[1.0])).await.response() });
    };
    send();
    server.reaches("slow-second", 0, 1).await;
    for _ in 0..3 {
        send();
    }
    server.reaches("slow-second", 3, 1).await;
    assert_eq!(calls.join_all().await.len(), 4);
    let told = &statistics(&server, "slow-second").await[0];
    assert_eq!((told.inference_count, told.execution_count), (4, 2));
    let sizes: Vec<_> = told.batch_stats.iter().map(|batch| batch.batch_size).collect();
    assert_eq!(sizes, [1, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_model_is_told_of_where_none_is_named() {
    let server = Server::start([Service::new("identity"), Service::new("fixed")]).await;
    let mut names: Vec<_> = statistics(&server, "").await.into_iter().map(|model| model.name).collect();
    names.sort();
    assert_eq!(names, ["fixed", "identity"]);
    assert_eq!(get(&server, "/v2/models/stats").await["model_stats"].as_array().unwrap().len(), 2);
    let behind = get(&server, "/default/fixed/v2/models/stats").await;
    assert_eq!(behind["model_stats"].as_array().unwrap().len(), 1);
    assert_eq!(behind["model_stats"][0]["name"], "fixed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_counts_are_those_of_all_revisions() {
    let server = Server::start([Service::sum(1).canary("second", "add_2", 50)]).await;
    let mut client = Http1::connect(server.data).await;
    for _ in 0..10 {
        client.infer("sum", &row(&[1.0])).await.response();
    }
    let told = &statistics(&server, "sum").await[0];
    assert_eq!((told.inference_count, told.inference_stats.unwrap().success.unwrap().count), (10, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_models_configuration_has_its_tensors_and_how_it_batches() {
    let server = Server::start([
        Service::new("identity").max_batch(7).max_latency_ms(3).replicas(2),
        Service::new("fixed"),
        Service::new("identity_bytes"),
    ])
    .await;
    let told = eventually("both replicas", async || {
        let told = config(&server, "identity").await;
        (told.instance_group[0].count == 2).then_some(told)
    })
    .await;
    assert_eq!((told.name.as_str(), told.platform.as_str()), ("identity", "onnxruntime_onnx"));
    assert_eq!((told.backend.as_str(), told.max_batch_size), ("onnxruntime", 7));
    // The first dimension is that of the batch.
    assert_eq!((told.input[0].name.as_str(), &told.input[0].dims[..]), ("x", &[-1][..]));
    assert_eq!(told.output[0].data_type(), oip::DataType::TypeFp32);
    assert_eq!(told.dynamic_batching.unwrap().max_queue_delay_microseconds, 3_000);

    let rest = get(&server, "/v2/models/identity/config").await;
    assert_eq!(
        rest,
        json!({
            "name": "identity",
            "platform": "onnxruntime_onnx",
            "backend": "onnxruntime",
            "version_policy": { "latest": { "num_versions": 1 } },
            "max_batch_size": 7,
            "input": [{ "name": "x", "data_type": "TYPE_FP32", "dims": [-1] }],
            "output": [{ "name": "y", "data_type": "TYPE_FP32", "dims": [-1] }],
            "dynamic_batching": { "max_queue_delay_microseconds": 3_000 },
            "instance_group": [{ "name": "identity", "count": 2, "kind": "KIND_CPU" }],
        })
    );

    let told = config(&server, "fixed").await;
    assert_eq!((told.max_batch_size, &told.input[0].dims[..]), (0, &[2, 3][..]));
    assert_eq!(told.dynamic_batching, None);
    assert_eq!(config(&server, "identity-bytes").await.input[0].data_type(), oip::DataType::TypeString);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_not_found() {
    let server = Server::start([Service::new("identity")]).await;
    let mut client = Http1::connect(server.data).await;
    for model in ["nobody", "identity/versions/9"] {
        for what in ["stats", "config"] {
            let reply = client.get(&format!("/v2/models/{model}/{what}")).await;
            assert_eq!(reply.status, 404, "{model} {what}: {reply:?}");
        }
    }
    let grpc = Grpc::connect(server.data).await;
    let asked = oip::ModelStatisticsRequest { name: "identity".into(), version: "9".into() };
    let refused = grpc.call::<_, oip::ModelStatisticsResponse>(STATISTICS, &asked).await.unwrap_err();
    assert_eq!(refused.code, NOT_FOUND, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_triton_has_and_is_not_built_is_named() {
    let server = Server::start([Service::new("identity")]).await;
    let mut client = Http1::connect(server.data).await;
    let grpc = Grpc::connect(server.data).await;
    let cases = [
        ("SystemSharedMemoryRegister", "/v2/systemsharedmemory/region/r/register"),
        ("CudaSharedMemoryStatus", "/v2/cudasharedmemory/status"),
        ("TraceSetting", "/v2/models/identity/trace/setting"),
        ("LogSettings", "/v2/logging"),
    ];
    for (rpc, path) in cases {
        let path_of = format!("/inference.GRPCInferenceService/{rpc}");
        let asked = oip::ServerLiveRequest {};
        let refused = grpc.call::<_, oip::ServerLiveResponse>(&path_of, &asked).await.unwrap_err();
        assert_eq!(refused.code, UNIMPLEMENTED, "{rpc}: {refused:?}");
        assert!(refused.message.contains(rpc), "{refused:?}");
        let reply = client.get(path).await;
        assert_eq!(reply.status, 501, "{path}: {reply:?}");
        assert!(reply.error().contains("is not supported"), "{reply:?}");
    }
}

/// An extension is named only if it is there: each of these is used by a test.
#[tokio::test(flavor = "multi_thread")]
async fn the_extensions_are_named() {
    let server = Server::start([Service::new("identity")]).await;
    let extensions = get(&server, "/v2").await["extensions"].clone();
    let names: Vec<_> = extensions.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    for name in ["binary_tensor_data", "model_configuration", "statistics"] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
}
