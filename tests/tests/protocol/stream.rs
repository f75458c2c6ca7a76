//! `ModelStreamInfer`: order, errors, back-pressure, deadlines, the end.

use std::time::{Duration, Instant};

use prost::Message as _;
use weirgate_protocol::oip::infer_parameter::ParameterChoice;
use weirgate_protocol::oip::{self, InferParameter, ModelInferRequest, ModelStreamInferResponse};
use weirgate_tests::frames::{self, END_HEADERS, HEADERS, INITIAL_WINDOW};
use weirgate_tests::grpc::{self, DEADLINE_EXCEEDED, INVALID_ARGUMENT, NOT_FOUND, RESOURCE_EXHAUSTED, UNAVAILABLE};
use weirgate_tests::{Frames, Server, Service, Stream, calls, eventually, row, values};

const PATH: &str = "/inference.GRPCInferenceService/ModelStreamInfer";
const SLOW: &str = "slow-second";

fn request(model: &str, id: &str, value: f32) -> ModelInferRequest {
    oip::encode_request(model, None, calls::with_id(id, row(&[value])), true).unwrap()
}

async fn open(server: &Server) -> Stream {
    Stream::open(server.data, PATH, &[]).await
}

async fn next(stream: &mut Stream) -> ModelStreamInferResponse {
    stream.next().await.expect("the stream goes on")
}

/// The id and the value of an answer that is no error.
async fn answer(stream: &mut Stream) -> (String, f32) {
    let message = next(stream).await;
    assert_eq!(message.error_message, "");
    let response = oip::decode_response(message.infer_response.unwrap()).unwrap();
    (response.id.unwrap_or_default(), values(&response.outputs[0])[0])
}

/// The id and the text of an answer that is an error.
async fn error(stream: &mut Stream) -> (String, String) {
    let message = next(stream).await;
    assert_ne!(message.error_message, "");
    (message.infer_response.unwrap().id, message.error_message)
}

/// Calls that wait or run.
async fn under_way(server: &Server) -> usize {
    let metrics = server.metrics().await;
    let of = |name| metrics.sum(name, &[("service", SLOW)]) as usize;
    of("weirgate_queue_requests") + of("weirgate_running_requests")
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_come_in_the_order_of_the_requests() {
    let server = Server::start([Service::new("slow"), Service::new("identity")]).await;
    let mut stream = open(&server).await;
    stream.send(&request("slow", "first", 1.0)).await;
    for number in 0..40 {
        stream.send(&request("identity", &number.to_string(), number as f32)).await;
    }
    assert_eq!(answer(&mut stream).await, ("first".to_owned(), 1.0));
    for number in 0..40 {
        assert_eq!(answer(&mut stream).await, (number.to_string(), number as f32));
    }
    stream.close();
    stream.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_fails_is_told_apart_by_its_id_and_the_stream_goes_on() {
    let server = Server::start([Service::new("identity")]).await;
    let mut stream = open(&server).await;
    stream.send(&request("nobody", "a", 1.0)).await;
    let mut wrong = request("identity", "b", 1.0);
    wrong.inputs[0].shape = vec![-1, 1];
    stream.send(&wrong).await;
    // Well framed, but no message.
    let garbage = [&b"\x0a\x08identity\x1a\x01c"[..], &[0xff; 40]].concat();
    stream.send_bytes(grpc::frame(0, &garbage)).await;
    stream.send(&request("identity", "d", 4.0)).await;
    let (id, text) = error(&mut stream).await;
    assert_eq!(id, "a");
    assert!(text.contains("'nobody'"), "{text}");
    let (id, text) = error(&mut stream).await;
    assert_eq!(id, "b");
    assert!(text.contains("shape[0] is -1"), "{text}");
    let (id, text) = error(&mut stream).await;
    assert_eq!(id, "c");
    assert!(text.contains("can't be decoded"), "{text}");
    assert_eq!(answer(&mut stream).await, ("d".to_owned(), 4.0));
    stream.close();
    stream.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_grpc_errors_asked_for_a_failed_call_ends_the_stream_with_its_status() {
    let server = Server::start([Service::new("identity")]).await;
    let mut stream = Stream::open(server.data, PATH, &[("triton_grpc_error", "true")]).await;
    stream.send(&request("identity", "a", 1.0)).await;
    stream.send(&request("nobody", "b", 1.0)).await;
    assert_eq!(answer(&mut stream).await, ("a".to_owned(), 1.0));
    let refused = stream.end().await.unwrap_err();
    assert_eq!(refused.code, NOT_FOUND, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_say_which_revision_gave_them_and_that_they_are_final_where_asked() {
    let server = Server::start([Service::new("identity")]).await;
    let mut stream = open(&server).await;
    let mut asks = request("identity", "", 1.0);
    let yes = InferParameter { parameter_choice: Some(ParameterChoice::BoolParam(true)) };
    asks.parameters.insert("triton_enable_empty_final_response".to_owned(), yes.clone());
    stream.send(&asks).await;
    stream.send(&request("identity", "", 1.0)).await;
    let first = next(&mut stream).await.infer_response.unwrap().parameters;
    let second = next(&mut stream).await.infer_response.unwrap().parameters;
    assert_eq!(first["triton_final_response"], yes);
    assert!(!second.contains_key("triton_final_response"), "{second:?}");
    let Some(ParameterChoice::StringParam(revision)) = &second["x-weirgate-revision"].parameter_choice else {
        panic!("{second:?}")
    };
    assert!(revision.starts_with("identity-"), "{revision}");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_may_be_cut_and_joined_in_any_way() {
    let server = Server::start([Service::new("identity")]).await;
    let mut stream = open(&server).await;
    let frame = |value| grpc::frame(0, &request("identity", "", value).encode_to_vec());
    for byte in frame(1.0) {
        stream.send_bytes(vec![byte]).await;
    }
    assert_eq!(answer(&mut stream).await.1, 1.0);
    let joined = [frame(2.0), frame(3.0), frame(4.0)].concat();
    let (head, tail) = joined.split_at(joined.len() - 3);
    stream.send_bytes(head.to_vec()).await;
    assert_eq!(answer(&mut stream).await.1, 2.0);
    assert_eq!(answer(&mut stream).await.1, 3.0);
    stream.send_bytes(tail.to_vec()).await;
    stream.close();
    assert_eq!(answer(&mut stream).await.1, 4.0);
    stream.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_ends_the_stream_behind_the_answers() {
    let server = Server::with([Service::new("identity")]).flag("--max-body", "1000").start().await;
    let whole = grpc::frame(0, &request("identity", "", 1.0).encode_to_vec());
    let large = grpc::frame(0, &[0; 1_001]);
    let cases: [(&str, &[u8], i32); 3] = [
        ("half a message", &whole[..whole.len() - 1], INVALID_ARGUMENT),
        ("no flag", &[9, 0, 0, 0, 0], INVALID_ARGUMENT),
        ("a large message", &large, RESOURCE_EXHAUSTED),
    ];
    for (what, bytes, code) in cases {
        let mut stream = open(&server).await;
        stream.send_bytes([&whole[..], bytes].concat()).await;
        stream.close();
        assert_eq!(answer(&mut stream).await.1, 1.0, "{what}");
        if code == INVALID_ARGUMENT && bytes.len() > 5 {
            // The call had begun.
            error(&mut stream).await;
        }
        let refused = stream.end().await.unwrap_err();
        assert_eq!(refused.code, code, "{what}: {refused:?}");
        if code == RESOURCE_EXHAUSTED {
            assert!(refused.message.contains("the limit is 1000 (flag --max-body)"), "{refused:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_read_no_faster_than_it_is_answered_and_ends_with_its_client() {
    let server = Server::start([Service::new("slow_second").max_batch(1)]).await;
    let mut stream = open(&server).await;
    for number in 0..40 {
        stream.send(&request(SLOW, "", number as f32)).await;
    }
    server.reaches(SLOW, 15, 1).await;
    assert_eq!(answer(&mut stream).await.1, 0.0);
    let now = under_way(&server).await;
    assert!(now <= 16, "{now} calls are under way");
    drop(stream);
    server.is_idle(SLOW).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_has_its_own_time_and_the_stream_has_the_calls() {
    let server = Server::start([Service::new("slow_second"), Service::new("identity")]).await;
    // How long the slow model takes is the machine's affair: half of that is too little for it anywhere.
    let mut unhurried = open(&server).await;
    let started = Instant::now();
    unhurried.send(&request(SLOW, "unhurried", 1.0)).await;
    answer(&mut unhurried).await;
    let limit = format!("{:.3}", (started.elapsed() / 2).as_secs_f64());
    let mut stream = Stream::open(server.data, PATH, &[("x-request-timeout-seconds", &limit)]).await;
    stream.send(&request(SLOW, "late", 1.0)).await;
    let (id, text) = error(&mut stream).await;
    assert_eq!(id, "late");
    assert!(text.contains("deadline"), "{text}");
    // The stream is older than one call may be.
    stream.send(&request("identity", "in time", 1.0)).await;
    assert_eq!(answer(&mut stream).await, ("in time".to_owned(), 1.0));

    let mut stream = Stream::open(server.data, PATH, &[("grpc-timeout", "300m")]).await;
    let refused = stream.end().await.unwrap_err();
    assert_eq!(refused.code, DEADLINE_EXCEEDED, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_answers_what_runs_and_ends_its_streams() {
    let mut server = Server::start([Service::new("slow_second")]).await;
    let (mut busy, mut idle) = (open(&server).await, open(&server).await);
    busy.send(&request(SLOW, "running", 5.0)).await;
    server.reaches(SLOW, 0, 1).await;
    server.signal("TERM");
    let refused = idle.end().await.unwrap_err();
    assert_eq!(refused.code, UNAVAILABLE, "{refused:?}");
    assert_eq!(answer(&mut busy).await, ("running".to_owned(), 5.0));
    assert_eq!(busy.end().await.unwrap_err().code, UNAVAILABLE);
    assert!(server.ended().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_where_its_head_says() {
    let server = Server::start([Service::new("identity")]).await;
    let mut stream = Stream::open(server.data, PATH, &[("x-weirgate-revision", "no-such-revision")]).await;
    stream.send(&request("identity", "a", 1.0)).await;
    let (id, text) = error(&mut stream).await;
    assert_eq!(id, "a");
    assert!(text.contains("no-such-revision"), "{text}");

    let mut stream = Stream::open(server.data, PATH, &[("grpc-timeout", "soon")]).await;
    assert_eq!(stream.end().await.unwrap_err().code, INVALID_ARGUMENT);
}

/// Whoever opens a stream and says nothing for a while is not cut off by a limit on pauses within a body.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_stream_stays_open() {
    let server = Server::with([Service::new("identity")]).flag("--client-timeout", "1").start().await;
    let mut stream = open(&server).await;
    let idle = tokio::time::timeout(Duration::from_millis(2_500), stream.next::<ModelStreamInferResponse>());
    assert!(idle.await.is_err(), "nothing was sent");
    stream.send(&request("identity", "a", 1.0)).await;
    assert_eq!(answer(&mut stream).await, ("a".to_owned(), 1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_with_a_deadline_ends_when_its_calls_are_answered() {
    let server = Server::start([Service::new("identity")]).await;
    let mut stream = Stream::open(server.data, PATH, &[("grpc-timeout", "5S")]).await;
    stream.send(&request("identity", "a", 1.0)).await;
    assert_eq!(answer(&mut stream).await, ("a".to_owned(), 1.0));
    stream.close();
    stream.end().await.unwrap();
}

/// Its client answers pings and takes nothing: its calls end with their deadline all the same.
#[tokio::test(flavor = "multi_thread")]
async fn calls_of_a_stream_that_is_not_read_keep_their_deadlines() {
    let server = Server::start([Service::new("identity")]).await;
    let mut client = Frames::connect(server.data, &[(INITIAL_WINDOW, 0)]).await;
    let metadata = [("content-type", "application/grpc"), ("te", "trailers"), ("x-request-timeout-seconds", "1")];
    let head = [frames::head("POST", PATH), frames::fields(&metadata)].concat();
    let message = grpc::frame(0, &request("identity", "", 1.0).encode_to_vec());
    let sent = [&message[..], &message[..message.len() - 1]].concat();
    let call = [frames::frame(HEADERS, END_HEADERS, 1, &head), frames::frame(frames::DATA, 0, 1, &sent)].concat();
    client.write(&call).await.unwrap();
    eventually("the second call to be given up", async || {
        let labels = [("service", "identity"), ("code", "deadline_exceeded")];
        (server.metrics().await.sum("weirgate_requests_total", &labels) == 1.0).then_some(())
    })
    .await;
    server.is_idle("identity").await;
}
