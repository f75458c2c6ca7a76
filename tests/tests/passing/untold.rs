//! Calls that are translated for servers which don't say what their model takes, and what goes along with them.

use bytes::Bytes;
use hyper::body::Frame;
use prost::Message;
use serde_json::{Value, json};
use weirgate_protocol::oip::infer_parameter::ParameterChoice;
use weirgate_protocol::{Datatype, oip};
use weirgate_tests::grpc::{self, frame};
use weirgate_tests::http::{get, post, with};
use weirgate_tests::upstream::{Answer, Upstream, far, far_at, full, streamed};
use weirgate_tests::{Grpc, Http1, Server, Service, row, values};

const INFER: &str = "/v2/models/far/infer";

/// An answer of gRPC with one message.
fn message(message: &impl Message) -> Answer {
    let (frames, answer) = streamed("application/grpc");
    let trailers = [("grpc-status".parse().unwrap(), "0".parse().unwrap())].into_iter().collect();
    frames.send(Ok(Frame::data(frame(0, &message.encode_to_vec())))).unwrap();
    frames.send(Ok(Frame::trailers(trailers))).unwrap();
    answer
}

fn asked(body: &Bytes) -> oip::ModelInferRequest {
    oip::ModelInferRequest::decode(body.slice(5..)).unwrap()
}

/// A server of V2 over gRPC that answers with what it is sent, and says nothing of its model.
async fn grpc_echo() -> (Upstream, Server) {
    let upstream = Upstream::start(|_, seen| async move {
        let (request, raw) = oip::decode_request(asked(&seen.body)).unwrap();
        let outputs = request.inputs;
        let response = weirgate_protocol::InferResponse { model_name: "far".into(), outputs, ..Default::default() };
        message(&oip::encode_response(response, raw).unwrap())
    })
    .await;
    let service =
        far_at(&format!("grpc://{}", upstream.address)).annotation("weirgate.dev/upstream-protocol", "grpc-v2");
    let server = Server::start([service]).await;
    (upstream, server)
}

#[tokio::test]
async fn v2_over_http_needs_no_description_to_be_translated_for_grpc() {
    let (upstream, server) = grpc_echo().await;
    let mut client = Http1::connect(server.data).await;
    let body = json!({
        "id": "mine",
        "parameters": {"temperature": 0.5, "top": 3},
        "inputs": [
            {"name": "a", "datatype": "FP32", "shape": [1, 2], "data": [1, 2], "parameters": {"content_type": "np"}},
            {"name": "b", "datatype": "BYTES", "shape": [1], "data": ["text"]},
        ],
    });
    let reply = client.send(post(INFER, body.to_string())).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let response = reply.response();
    assert_eq!((response.id.as_deref(), values(&response.outputs[0])), (Some("mine"), vec![1.0, 2.0]));
    assert_eq!((&*response.outputs[1].name, response.outputs[1].datatype), ("b", Datatype::Bytes));
    let seen = asked(&upstream.state.seen()[0].body);
    assert_eq!((seen.id.as_str(), seen.model_name.as_str(), seen.inputs.len()), ("mine", "far", 2));
    let choice = |parameters: &std::collections::HashMap<String, oip::InferParameter>, name: &str| {
        parameters[name].parameter_choice.clone().unwrap()
    };
    assert_eq!(choice(&seen.parameters, "temperature"), ParameterChoice::DoubleParam(0.5));
    assert_eq!(choice(&seen.parameters, "top"), ParameterChoice::Int64Param(3));
    assert_eq!(choice(&seen.inputs[0].parameters, "content_type"), ParameterChoice::StringParam("np".to_owned()));
    // Without an id of its own, a call has that of its request there, and none in its answer.
    let anonymous = with(
        post(INFER, r#"{"inputs":[{"name":"a","datatype":"INT8","shape":[1],"data":[1]}]}"#),
        "x-request-id",
        "req-1",
    );
    let reply = client.send(anonymous).await;
    assert_eq!((reply.status, reply.json()["id"].is_null()), (200, true), "{reply:?}");
    assert_eq!(asked(&upstream.state.seen()[1].body).id, "req-1");
    // A version is the server's to know.
    let versioned = "/v2/models/far/versions/3/infer";
    assert_eq!(client.send(post(versioned, body.to_string())).await.status, 200);
    assert_eq!(asked(&upstream.state.seen()[2].body).model_version, "3");
    // What gRPC can't carry is refused by name, and what is wrong in itself too.
    for (more, status, text) in [
        (json!({"parameters": {"stop": ["a"]}}), 501, "parameter 'stop'"),
        (json!({"inputs": [{"name": "a", "datatype": "INT8", "shape": [2], "data": [1]}]}), 400, "element count 1"),
    ] {
        let mut wrong = body.clone();
        wrong.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let reply = client.send(post(INFER, wrong.to_string())).await;
        assert!(reply.status == status && reply.error().contains(text), "{reply:?}");
    }
    assert_eq!(upstream.state.count(), 3);
}

#[tokio::test]
async fn v1_needs_the_names_of_the_inputs_and_says_so() {
    let (upstream, server) = grpc_echo().await;
    let mut client = Http1::connect(server.data).await;
    let reply = client.send(post("/v1/models/far:predict", r#"{"instances":[[1]]}"#)).await;
    assert_eq!(reply.status, 501, "{reply:?}");
    let text = reply.error();
    assert!(text.contains("don't say which inputs the model takes") && text.contains("call it by V2"), "{text}");
    assert_eq!(upstream.state.count(), 0);
}

#[tokio::test]
async fn grpc_needs_no_description_to_be_translated_for_v2_over_http() {
    let upstream = Upstream::start(|_, seen| async move {
        let asked: Value = serde_json::from_slice(&seen.body).unwrap();
        let input = &asked["inputs"][0];
        let output =
            json!({"name": "y", "datatype": input["datatype"], "shape": input["shape"], "data": input["data"]});
        full(200, json!({"model_name": "far", "id": asked["id"], "outputs": [output]}).to_string())
    })
    .await;
    let server = Server::start([far(&[&upstream]).annotation("weirgate.dev/upstream-protocol", "v2")]).await;
    let client = Grpc::connect(server.data).await;
    let mut message = oip::encode_request("far", None, row(&[1.0, 2.0]), true).unwrap();
    let parameter = oip::InferParameter { parameter_choice: Some(ParameterChoice::BoolParam(true)) };
    message.parameters.insert("exact".to_owned(), parameter);
    let answer: oip::ModelInferResponse = client.call(grpc::MODEL_INFER, &message).await.unwrap();
    let response = oip::decode_response(answer).unwrap();
    assert_eq!((&*response.outputs[0].name, values(&response.outputs[0])), ("y", vec![1.0, 2.0]));
    let seen: Value = serde_json::from_slice(&upstream.state.seen()[0].body).unwrap();
    assert_eq!((&seen["parameters"], &seen["inputs"][0]["name"]), (&json!({"exact": true}), &json!("x")), "{seen}");
}

/// A server of V1 alone that adds each row up.
async fn sums() -> Upstream {
    Upstream::start(|_, seen| async move {
        if seen.method == "GET" {
            let ready = seen.path == "/v1/models/sums";
            return full(if ready { 200 } else { 404 }, r#"{"name":"sums","ready":true}"#);
        }
        let asked: Value = serde_json::from_slice(&seen.body).unwrap();
        if seen.path.contains("/versions/") {
            return full(200, json!({"predictions": [seen.path]}).to_string());
        }
        let sum = |row: &Value| row.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).sum::<f64>();
        let predictions: Vec<_> = asked["instances"].as_array().unwrap().iter().map(sum).collect();
        full(200, json!({ "predictions": predictions }).to_string())
    })
    .await
}

#[tokio::test]
async fn v2_is_translated_for_a_server_of_v1_and_its_answer_read_as_it_looks() {
    let upstream = sums().await;
    let server = Server::start([far(&[&upstream]).annotation("weirgate.dev/upstream-protocol", "v1")]).await;
    let mut client = Http1::connect(server.data).await;
    let body =
        json!({"id": "mine", "inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4.5]}]});
    let reply = client.send(post(INFER, body.to_string())).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let told = reply.json();
    let output = json!({"name": "output-0", "datatype": "FP64", "shape": [2], "data": [3.0, 7.5]});
    assert_eq!((&told["id"], &told["outputs"]), (&json!("mine"), &json!([output])), "{told}");
    assert_eq!(upstream.state.seen()[0].body, r#"{"instances":[[1.0,2.0],[3.0,4.5]]}"#);
    // The one output that there is has the name by which it is asked for.
    let mut named = body.clone();
    named["outputs"] = json!([{"name": "sum"}]);
    assert_eq!(client.send(post(INFER, named.to_string())).await.json()["outputs"][0]["name"], "sum");
    let grpc = Grpc::connect(server.data).await.infer("far", &row(&[1.0, 2.0])).await.unwrap();
    assert_eq!((grpc.outputs[0].datatype, &grpc.outputs[0].data[..]), (Datatype::Fp64, &3f64.to_le_bytes()[..]));
    let versioned = client.send(post("/v2/models/far/versions/2/infer", body.to_string())).await;
    assert!(versioned.text().contains("/v1/models/far/versions/2:predict"), "{versioned:?}");
    // V1 has no parameters: what they ask for would be lost.
    let mut parameters = body.clone();
    parameters["parameters"] = json!({"temperature": 1});
    let reply = client.send(post(INFER, parameters.to_string())).await;
    assert!(
        reply.status == 501 && reply.error().contains("parameter 'temperature' can't be written in V1"),
        "{reply:?}"
    );
}

/// A chain: the outer gateway finds out by itself what the inner one answers, translated or not.
#[tokio::test]
async fn a_gateway_before_a_gateway_finds_what_it_translates() {
    let upstream = sums().await;
    let inner = Server::start([Service::upstream("sums", &upstream.url())]).await;
    for scheme in ["http", "h2c"] {
        let outer = Server::start([Service::upstream("sums", &format!("{scheme}://{}", inner.data))]).await;
        let mut client = Http1::connect(outer.data).await;
        let rows = client.send(post("/v1/models/sums:predict", r#"{"instances":[[1,2]]}"#)).await;
        assert_eq!((rows.status, &rows.json()["predictions"]), (200, &json!([3.0])), "{scheme}: {rows:?}");
        let body = r#"{"inputs":[{"name":"x","datatype":"INT8","shape":[1,2],"data":[1,2]}]}"#;
        let tensors = client.send(post("/v2/models/sums/infer", body)).await;
        assert_eq!((tensors.status, &tensors.json()["outputs"][0]["data"]), (200, &json!([3.0])), "{tensors:?}");
        let metadata = client.send(get("/v2/models/sums")).await;
        assert_eq!((metadata.status, &metadata.json()["inputs"]), (200, &json!([])), "{metadata:?}");
        Grpc::connect(outer.data).await.infer("sums", &row(&[1.0, 2.0])).await.unwrap();
    }
}

/// What the inner gateway can't answer, the outer one does not find there.
#[tokio::test]
async fn a_gateway_before_a_gateway_does_not_find_what_that_has_not() {
    let upstream = Upstream::start(|_, _| async { full(200, r#"{"choices":[]}"#) }).await;
    let service = far(&[&upstream]).annotation("weirgate.dev/upstream-protocol", "openai");
    let inner = Server::start([service]).await;
    let mut client = Http1::connect(inner.data).await;
    for path in ["/v2/models/far", "/v2/models/far/ready", "/v2/models/far/config"] {
        let reply = client.send(get(path)).await;
        let text = "service 'default/far' can't be called by V2 over HTTP: its servers speak OpenAI's";
        assert_eq!((reply.status, reply.error().as_str()), (501, text), "{path}");
    }
    let model = client.send(get("/v1/models/far")).await;
    assert_eq!((model.status, model.json()["id"].as_str(), model.json()["ready"].is_null()), (200, Some("far"), true));
    let asks = oip::ModelReadyRequest { name: "far".to_owned(), ..Default::default() };
    let grpc = Grpc::connect(inner.data).await;
    let ready = grpc.call::<_, oip::ModelReadyResponse>("/inference.GRPCInferenceService/ModelReady", &asks);
    assert_eq!(ready.await.unwrap_err().code, 12);
    for scheme in ["http", "h2c"] {
        let outer = Server::start([far_at(&format!("{scheme}://{}", inner.data))]).await;
        let mut client = Http1::connect(outer.data).await;
        for path in [INFER, "/v1/models/far:predict"] {
            let refused = client.send(post(path, "{}")).await;
            assert_eq!(refused.status, 501, "{scheme}: {refused:?}");
            assert!(refused.error().ends_with("its servers speak OpenAI's"), "{scheme}: {refused:?}");
        }
        let chat = client.send(post("/v1/chat/completions", r#"{"model":"far","messages":[]}"#)).await;
        assert_eq!((chat.status, chat.text().as_str()), (200, r#"{"choices":[]}"#), "{scheme}");
    }
}

/// The parameters of one call are none of another's.
#[tokio::test]
async fn calls_that_say_more_than_their_tensors_share_no_batch() {
    let upstream = Upstream::start(|state, seen| async move {
        if state.count() == 1 {
            state.go.notified().await;
        }
        let asked: Value = serde_json::from_slice(&seen.body).unwrap();
        let rows = asked["inputs"][0]["shape"][0].as_u64().unwrap() as usize;
        let said = asked["parameters"]["add"].as_f64().unwrap_or_default();
        let data = asked["inputs"][0]["data"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap() + said);
        let output = json!({"name": "y", "datatype": "FP32", "shape": [rows, 1], "data": data.collect::<Vec<_>>()});
        full(200, json!({"model_name": "rows", "outputs": [output]}).to_string())
    })
    .await;
    let service = Service::upstream("rows", &upstream.url());
    let service = service.annotation("weirgate.dev/upstream-protocol", "v2").concurrency(1).max_batch(32);
    let server = Server::start([service]).await;
    let body =
        |more: &str| format!(r#"{{{more} "inputs":[{{"name":"x","datatype":"FP32","shape":[1,1],"data":[1]}}]}}"#);
    let bodies = ["", "", "", r#""parameters":{"add":10},"#, r#""parameters":{"add":20},"#, r#""k":1,"#];
    let mut calls = tokio::task::JoinSet::new();
    for (index, more) in bodies.iter().enumerate() {
        let (address, body) = (server.data, body(more));
        calls.spawn(
            async move { (index, Http1::connect(address).await.send(post("/v2/models/rows/infer", body)).await) },
        );
        server.reaches("rows", index, 1).await;
    }
    upstream.state.go.notify_one();
    let mut replies = weirgate_tests::within("all answers", calls.join_all()).await;
    replies.sort_by_key(|(index, _)| *index);
    let data: Vec<_> = replies.iter().map(|(_, reply)| reply.json()["outputs"][0]["data"][0].as_f64()).collect();
    assert_eq!(data, [1.0, 1.0, 1.0, 11.0, 21.0, 1.0].map(Some));
    // The first alone, the two that say nothing together, and each of the others as it is.
    let mut sent: Vec<_> = upstream.state.seen().iter().map(|seen| seen.body.clone()).collect();
    assert_eq!(sent.len(), 5, "{sent:?}");
    sent.retain(|sent| bodies[3..].iter().any(|more| *sent == body(more)));
    assert_eq!(sent.len(), 3, "they are passed as they are");
}
