//! The repository over gRPC, as KServe's and as Triton's clients ask.

use prost::Message;
use weirgate_protocol::oip;
use weirgate_tests::grpc::{self, INVALID_ARGUMENT, NOT_FOUND, UNAVAILABLE, UNIMPLEMENTED};
use weirgate_tests::{Grpc, Http1, Refused, Server, Service, row};

const UNAUTHENTICATED: i32 = 16;

/// A load request as KServe declares it.
#[derive(Clone, PartialEq, Message)]
struct KServes {
    #[prost(string, tag = "1")]
    model_name: String,
}

async fn call<A: Message + Default>(server: &Server, rpc: &str, asked: &impl Message) -> Result<A, Refused> {
    let path = format!("/inference.GRPCInferenceService/{rpc}");
    let mut request = grpc::request(&path, grpc::frame(0, &asked.encode_to_vec()));
    let token = format!("Bearer {}", server.token());
    request.headers_mut().insert("authorization", token.parse().unwrap());
    let reply = Grpc::connect(server.data).await.0.send(request).await;
    grpc::answer(&reply).map(|message| A::decode(message).unwrap())
}

async fn states(server: &Server, ready: bool) -> Vec<(String, String)> {
    let asked = oip::RepositoryIndexRequest { ready, ..Default::default() };
    let answer: oip::RepositoryIndexResponse = call(server, "RepositoryIndex", &asked).await.unwrap();
    answer.models.into_iter().map(|model| (model.name, model.state)).collect()
}

fn tritons(model: &str) -> oip::RepositoryModelLoadRequest {
    oip::RepositoryModelLoadRequest { model_name: model.to_owned(), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_kinds_of_client_unload_and_load() {
    let server = Server::start([Service::new("identity"), Service::new("add_1")]).await;
    let client = Grpc::connect(server.data).await;
    let of = |name: &str, state: &str| (name.to_owned(), state.to_owned());
    let kserves = KServes { model_name: "identity".to_owned() };
    for as_triton in [false, true] {
        let unloaded: oip::RepositoryModelUnloadResponse = if as_triton {
            call(&server, "RepositoryModelUnload", &tritons("identity")).await.unwrap()
        } else {
            call(&server, "RepositoryModelUnload", &kserves).await.unwrap()
        };
        assert_eq!((unloaded.model_name.as_str(), unloaded.is_unloaded), ("identity", true));
        assert_eq!(client.infer("identity", &row(&[1.0])).await.unwrap_err().code, UNAVAILABLE);
        assert_eq!(states(&server, false).await, [of("add-1", "READY"), of("identity", "UNAVAILABLE")]);
        assert_eq!(states(&server, true).await, [of("add-1", "READY")]);

        let loaded: oip::RepositoryModelLoadResponse = if as_triton {
            call(&server, "RepositoryModelLoad", &tritons("identity")).await.unwrap()
        } else {
            call(&server, "RepositoryModelLoad", &kserves).await.unwrap()
        };
        assert_eq!((loaded.model_name.as_str(), loaded.is_loaded), ("identity", true));
        client.infer("identity", &row(&[1.0])).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_done_is_refused_and_changes_nothing() {
    let server = Server::start([Service::new("identity")]).await;
    let refused = async |asked: &oip::RepositoryModelLoadRequest| {
        call::<oip::RepositoryModelLoadResponse>(&server, "RepositoryModelLoad", asked).await.unwrap_err()
    };
    let mut configured = tritons("identity");
    configured.parameters.insert("config".to_owned(), Default::default());
    let refusal = refused(&configured).await;
    assert_eq!(refusal.code, INVALID_ARGUMENT, "{refusal:?}");
    assert!(refusal.message.contains("'config'"), "{refusal:?}");
    assert_eq!(refused(&tritons("nobody")).await.code, NOT_FOUND);
    assert_eq!(refused(&tritons("")).await.code, INVALID_ARGUMENT);
    let elsewhere = oip::RepositoryModelLoadRequest { repository_name: "elsewhere".to_owned(), ..tritons("identity") };
    assert_eq!(refused(&elsewhere).await.code, UNIMPLEMENTED);

    let mut dependents = oip::RepositoryModelUnloadRequest { model_name: "identity".to_owned(), ..Default::default() };
    let client = Grpc::connect(server.data).await;
    let path = "/inference.GRPCInferenceService/RepositoryModelUnload";
    let refusal = client.call::<_, oip::RepositoryModelUnloadResponse>(path, &dependents).await.unwrap_err();
    assert_eq!(refusal.code, UNAUTHENTICATED, "{refusal:?}");
    client.infer("identity", &row(&[1.0])).await.unwrap();

    dependents.parameters.insert("unload_dependents".to_owned(), Default::default());
    call::<oip::RepositoryModelUnloadResponse>(&server, "RepositoryModelUnload", &dependents).await.unwrap();
    assert_eq!(client.infer("identity", &row(&[1.0])).await.unwrap_err().code, UNAVAILABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_repositorys_extensions_are_named() {
    let server = Server::start([Service::new("identity")]).await;
    let text = Http1::connect(server.data).await.get("/v2").await.text();
    for name in ["model_repository", "model_repository(unload_dependents)", "model_repository_extension"] {
        assert!(text.contains(&format!("\"{name}\"")), "{text}");
    }
}
