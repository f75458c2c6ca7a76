//! Shapes that no tensor can have.

use weirgate_protocol::oip;
use weirgate_tests::grpc::{INVALID_ARGUMENT, MODEL_INFER};
use weirgate_tests::{Grpc, Http1, Server, Service, calls, row, values};

#[tokio::test(flavor = "multi_thread")]
async fn complaint_20_negative_shape_never_crashes() {
    let mut server = Server::start([Service::new("identity")]).await;
    let mut http = Http1::connect(server.data).await;
    let grpc = Grpc::connect(server.data).await;
    let wrong: [&[i64]; 7] =
        [&[-1, 1], &[1, -1], &[-1], &[i64::MIN, i64::MIN], &[i64::MAX, i64::MAX], &[-1, 0], &[1 << 33, 1 << 33]];
    for shape in wrong {
        let body = format!(r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":{shape:?},"data":[1]}}]}}"#);
        let reply = http.send(calls::post_text("identity", body)).await;
        assert_eq!(reply.status, 400, "{shape:?}: {reply:?}");
        assert!(!reply.error().is_empty());
        for raw in [true, false] {
            let mut message = oip::encode_request("identity", None, row(&[1.0]), raw).unwrap();
            message.inputs[0].shape = shape.to_vec();
            let refused = grpc.call::<_, oip::ModelInferResponse>(MODEL_INFER, &message).await.unwrap_err();
            assert_eq!(refused.code, INVALID_ARGUMENT, "{shape:?}: {refused:?}");
        }
        // The next call works, over both.
        assert_eq!(values(&http.infer("identity", &row(&[1.0])).await.response().outputs[0]), [1.0]);
        assert_eq!(values(&grpc.infer("identity", &row(&[1.0])).await.unwrap().outputs[0]), [1.0]);
    }
    let text = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":"-1","data":[1]}]}"#;
    assert_eq!(http.send(calls::post_text("identity", text)).await.status, 400);
    assert!(server.is_running());
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

/// No rows is a shape that a tensor can have; what the model makes of it must not hurt anybody.
#[tokio::test(flavor = "multi_thread")]
async fn empty_tensors_are_answered_or_refused() {
    let mut server = Server::start([Service::new("identity")]).await;
    let mut http = Http1::connect(server.data).await;
    for shape in ["[0,2]", "[2,0]", "[0,0]"] {
        let body = format!(r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":{shape},"data":[]}}]}}"#);
        let reply = http.send(calls::post_text("identity", body)).await;
        assert!([200, 400].contains(&reply.status), "{shape}: {reply:?}");
        if reply.status == 200 {
            assert!(values(&reply.response().outputs[0]).is_empty());
        }
        http.infer("identity", &row(&[1.0])).await.response();
    }
    assert!(server.is_running());
}
