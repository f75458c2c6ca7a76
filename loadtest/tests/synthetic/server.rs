//! The synthetic servers themselves, asked by the plain closed loop and not by what they are to prove.

use std::time::Instant;

use weirgate_loadtest::closed::{self, Callers, Plan, Until};
use weirgate_loadtest::request::{Answer, Protocol, Request};
use weirgate_loadtest::synthetic::{Behaviour, Fault, Service, Synthetic};

use crate::support::{ms, request, serve};

fn plan(server: &Synthetic, request: Request, callers: usize) -> Plan {
    let requests = vec![request].into();
    Plan { address: server.address(), requests, callers, shared_connections: Some(1), check: None }
}

fn ask(server: &Synthetic, request: Request) -> weirgate_loadtest::Result<Answer> {
    closed::runtime()?.block_on(async { Callers::connect(plan(server, request, 1)).await?.ask(0).await })
}

#[test]
fn every_protocol_is_answered_right() {
    let server = serve(Service::Constant(ms(1)));
    for protocol in [Protocol::V2, Protocol::V2Binary, Protocol::Grpc] {
        let answer = ask(&server, request(protocol)).unwrap();
        let outputs = answer.decode().unwrap().outputs;
        assert_eq!(outputs.len(), 1, "{protocol}");
        let values: Vec<f32> =
            outputs[0].data.chunks(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
        assert_eq!(values, [0.5, 1.5, 2.5, 3.5], "{protocol}");
    }
    for (protocol, pointer, value) in [
        (Protocol::V1, "/predictions/0/3", "3.5"),
        (Protocol::Chat, "/choices/0/message/content", "\"word word word word word word word word\""),
        (Protocol::Completions, "/choices/0/text", "\"word word word word word word word word\""),
        (Protocol::Embeddings, "/data/0/embedding/0", "0.5"),
    ] {
        let answer = ask(&server, request(protocol)).unwrap();
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body.pointer(pointer).unwrap().to_string(), value, "{protocol}: {body}");
    }
    let counts = server.counts();
    assert_eq!((counts.requests, counts.right, counts.others, counts.connections), (7, 7, 0, 7));
}

#[test]
fn faults_come_by_number() {
    let behaviour = Behaviour::constant(ms(1)).with(4, Fault::Wrong).with(6, Fault::Status(503)).with(7, Fault::Close);
    let server = Synthetic::start(behaviour).unwrap();
    let mut seen = Vec::new();
    for _ in 1..=8 {
        seen.push(match ask(&server, request(Protocol::V2)) {
            Err(_) => "closed",
            Ok(answer) if answer.status == 503 => "503",
            Ok(answer) if answer.decode().unwrap().outputs[0].data.ends_with(&3.5f32.to_le_bytes()) => "right",
            Ok(_) => "wrong",
        });
    }
    assert_eq!(seen, ["right", "right", "right", "wrong", "right", "503", "closed", "wrong"]);
    let counts = server.counts();
    assert_eq!((counts.right, counts.wrong, counts.failed, counts.closed), (4, 2, 1, 1));
}

#[test]
fn a_cut_answer_is_none() {
    let server = Synthetic::start(Behaviour::constant(ms(1)).with(1, Fault::Cut)).unwrap();
    for protocol in [Protocol::V2, Protocol::V2Binary, Protocol::Grpc, Protocol::Chat] {
        assert!(ask(&server, request(protocol)).is_err(), "{protocol}");
    }
    assert_eq!(server.counts().cut, 4);
}

#[test]
fn grpc_has_its_own_words() {
    let status = |code| {
        let server = Synthetic::start(Behaviour::constant(ms(1)).with(1, Fault::Status(code))).unwrap();
        ask(&server, request(Protocol::Grpc)).unwrap().outcome()
    };
    assert_eq!([503, 429, 500].map(status), ["grpc 14", "grpc 8", "grpc 13"]);
}

/// A queue's rate is its capacity, however slow this machine's timers are: lateness does not add up.
#[test]
fn a_queue_answers_at_its_capacity_and_no_faster() {
    let server = serve(Service::Queue { workers: 4, service: ms(5), most_waiting: None });
    let report = closed::runtime().unwrap().block_on(async {
        let mut callers = Callers::connect(plan(&server, request(Protocol::V2), 64)).await.unwrap();
        let started = Instant::now();
        let report = callers.run(Until::Requests(800)).await.unwrap();
        assert!(started.elapsed() >= ms(1000), "800 requests at 800/s");
        report
    });
    assert_eq!(report.answered(), 800);
    // 64 callers keep the queue full: only a second without any core could empty it.
    assert!(report.per_second() > 400.0, "{}", report.per_second());
}

#[test]
fn stops_when_it_is_dropped() {
    let server = serve(Service::Constant(ms(1)));
    let address = server.address();
    assert!(std::net::TcpStream::connect(address).is_ok());
    drop(server);
    assert!(std::net::TcpStream::connect(address).is_err());
}
