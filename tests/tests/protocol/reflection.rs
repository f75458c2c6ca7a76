//! Server reflection, message by message as grpcurl asks.

use prost::Message;
use weirgate_tests::grpc::frame;
use weirgate_tests::{Server, Service, Stream};

const VERSIONS: [&str; 2] = ["v1", "v1alpha"];

/// A request for the list of services, or the file that declares a symbol. The two versions have the same numbers.
#[derive(Clone, PartialEq, Message)]
struct Asked {
    #[prost(string, tag = "4")]
    file_containing_symbol: String,
    #[prost(string, optional, tag = "7")]
    list_services: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Told {
    #[prost(message, optional, tag = "4")]
    files: Option<Files>,
    #[prost(message, optional, tag = "6")]
    services: Option<Services>,
}

#[derive(Clone, PartialEq, Message)]
struct Files {
    #[prost(bytes = "vec", repeated, tag = "1")]
    descriptors: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Services {
    #[prost(message, repeated, tag = "1")]
    services: Vec<Name>,
}

#[derive(Clone, PartialEq, Message)]
struct Name {
    #[prost(string, tag = "1")]
    name: String,
}

async fn open(server: &Server, version: &str) -> Stream {
    let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
    Stream::open(server.data, &path, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn services_are_listed_and_described() {
    let server = Server::start([Service::new("identity")]).await;
    for version in VERSIONS {
        let mut stream = open(&server, version).await;
        stream.send(&Asked { list_services: Some(String::new()), ..Default::default() }).await;
        let told: Told = stream.next().await.unwrap();
        let names: Vec<_> = told.services.unwrap().services.into_iter().map(|service| service.name).collect();
        for name in ["inference.GRPCInferenceService", "grpc.health.v1.Health"] {
            assert!(names.iter().any(|listed| listed == name), "{version}: {name} is not among {names:?}");
        }
        for (symbol, within) in [
            ("inference.GRPCInferenceService", "ModelStreamInfer"),
            ("inference.ModelInferRequest.InferInputTensor", "raw_input_contents"),
            ("grpc.health.v1.Health", "SERVICE_UNKNOWN"),
        ] {
            stream.send(&Asked { file_containing_symbol: symbol.to_owned(), ..Default::default() }).await;
            let told: Told = stream.next().await.unwrap();
            let file = &told.files.unwrap_or_else(|| panic!("{version}: no file has {symbol}")).descriptors[0];
            assert!(file.windows(within.len()).any(|bytes| bytes == within.as_bytes()), "{symbol} has no {within}");
        }
        stream.close();
        stream.end().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_stream_does_not_hold_up_the_end() {
    let mut server = Server::start([Service::new("identity")]).await;
    let mut stream = open(&server, "v1").await;
    stream
        .send_bytes(frame(0, &Asked { list_services: Some(String::new()), ..Default::default() }.encode_to_vec()))
        .await;
    stream.next::<Told>().await.unwrap();
    assert!(server.stop().await.success());
    stream.end().await.unwrap();
}
