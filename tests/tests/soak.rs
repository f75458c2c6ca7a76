//! A long mix of everything: right calls, wrong calls, callers that leave, deadlines that pass, over every protocol.
//!
//! Short by default, minutes with WEIRGATE_SCALE=full. The seed is printed; WEIRGATE_SEED repeats a run's choices.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use weirgate_protocol::{InferRequest, InferResponse};
use weirgate_tests::calls::{self, with_id};
use weirgate_tests::dice::{self, Dice};
use weirgate_tests::environment::scale;
use weirgate_tests::process::{open_files, resident_bytes};
use weirgate_tests::{Grpc, Http1, Server, Service, eventually, row, values};

const CALLERS: u64 = 12;

/// How a call ended, whatever its protocol.
enum Outcome {
    Answered(InferResponse),
    /// The HTTP status that the refusal has or, over gRPC, would have.
    Refused(u16, String),
}

/// A caller with a connection of each kind; lost ones are opened anew.
struct Caller {
    address: SocketAddr,
    http: Http1,
    grpc: Grpc,
}

impl Caller {
    async fn connect(address: SocketAddr) -> Caller {
        Caller { address, http: Http1::connect(address).await, grpc: Grpc::connect(address).await }
    }

    async fn call(&mut self, model: &str, request: &InferRequest, form: u64, timeout: Option<Duration>) -> Outcome {
        if form >= 2 {
            return match self.grpc.try_infer(model, request, form == 2, timeout).await.unwrap() {
                Ok(response) => Outcome::Answered(response),
                Err(refused) => {
                    let status = match refused.code {
                        3 => 400,
                        4 => 504,
                        8 => 429,
                        13 => 500,
                        14 => 503,
                        code => panic!("gRPC code {code}: {}", refused.message),
                    };
                    Outcome::Refused(status, refused.message)
                }
            };
        }
        let (mut builder, body) = calls::rest(model, request, form == 1);
        if let Some(timeout) = timeout {
            builder = builder.header("x-request-timeout-seconds", timeout.as_secs_f64().to_string());
        }
        let reply = self.http.send(builder.body(body).unwrap()).await;
        match reply.status {
            200 => Outcome::Answered(reply.response()),
            status => Outcome::Refused(status, reply.error()),
        }
    }

    /// Makes one random call and judges how it ended.
    async fn step(&mut self, dice: &mut Dice, counts: &Counts) {
        let form = dice.below(4);
        let numbers: Vec<f32> = (0..1 + dice.below(5)).map(|_| (dice.below(1_000_000)) as f32).collect();
        let own = with_id(format!("{}", dice.next()), row(&numbers));
        let model = if dice.below(20) == 0 { "slow" } else { "identity" };
        match dice.below(10) {
            0 => {
                // Ids beyond the table, among others that are right: the model itself refuses them.
                let wrong = calls::ids("ids", &[1, 10 + dice.below(1_000) as i64]);
                match self.call("picky", &wrong, form, None).await {
                    Outcome::Refused(400, _) => counts.refused.fetch_add(1, Ordering::Relaxed),
                    Outcome::Refused(status, text) => panic!("a wrong id: {status}: {text}"),
                    Outcome::Answered(answer) => panic!("a wrong id was answered: {answer:?}"),
                };
            }
            1 => {
                let mut wrong = own;
                wrong.inputs[0].name = "nobody".into();
                match self.call(model, &wrong, form, None).await {
                    Outcome::Refused(400, _) => counts.refused.fetch_add(1, Ordering::Relaxed),
                    Outcome::Refused(status, text) => panic!("a wrong name: {status}: {text}"),
                    Outcome::Answered(answer) => panic!("a wrong name was answered: {answer:?}"),
                };
            }
            2 => {
                let wait = Duration::from_micros(dice.below(3_000));
                let left = tokio::time::timeout(wait, self.call(model, &own, form, None)).await;
                if left.is_err() {
                    counts.left.fetch_add(1, Ordering::Relaxed);
                    // An HTTP/1.1 connection can't be used on with an answer owed on it.
                    *self = Caller::connect(self.address).await;
                }
            }
            3 => {
                let timeout = Duration::from_millis(1 + dice.below(50));
                match self.call(model, &own, form, Some(timeout)).await {
                    Outcome::Answered(answer) => check(&own, &numbers, &answer),
                    Outcome::Refused(503 | 504, _) => {
                        counts.late.fetch_add(1, Ordering::Relaxed);
                    }
                    Outcome::Refused(status, text) => panic!("a short deadline: {status}: {text}"),
                }
            }
            4 => {
                let ids: Vec<i64> = (0..1 + dice.below(4)).map(|_| dice.below(10) as i64).collect();
                match self.call("picky", &calls::ids("ids", &ids), form, None).await {
                    Outcome::Answered(answer) => {
                        let wanted: Vec<f32> = ids.iter().map(|id| 10.0 * *id as f32).collect();
                        assert_eq!(values(&answer.outputs[0]), wanted);
                        counts.right.fetch_add(1, Ordering::Relaxed);
                    }
                    Outcome::Refused(status, text) => panic!("right ids: {status}: {text}"),
                }
            }
            _ => match self.call(model, &own, form, None).await {
                Outcome::Answered(answer) => {
                    check(&own, &numbers, &answer);
                    counts.right.fetch_add(1, Ordering::Relaxed);
                }
                Outcome::Refused(status, text) => panic!("a right call: {status}: {text}"),
            },
        }
    }
}

fn check(request: &InferRequest, numbers: &[f32], answer: &InferResponse) {
    assert_eq!(answer.id, request.id, "an answer of somebody else");
    assert_eq!(values(&answer.outputs[0]), numbers, "somebody else's rows");
}

#[derive(Debug, Default)]
struct Counts {
    right: AtomicUsize,
    refused: AtomicUsize,
    left: AtomicUsize,
    late: AtomicUsize,
}

fn mean(samples: &[usize]) -> f64 {
    samples.iter().sum::<usize>() as f64 / samples.len() as f64
}

#[tokio::test(flavor = "multi_thread")]
async fn a_random_mix_leaves_no_wrong_answer_and_no_trace() {
    let seed = dice::seed();
    let server = Server::start(["identity", "slow", "picky"].map(Service::new)).await;
    let pid = server.pid();
    let run = async |length: Duration| {
        let counts = Arc::new(Counts::default());
        let until = Instant::now() + length;
        let mut callers = JoinSet::new();
        for caller in 0..CALLERS {
            let (counts, address) = (counts.clone(), server.data);
            callers.spawn(async move {
                let mut dice = Dice::new(seed.wrapping_add(caller.wrapping_mul(0x1234_5678_9abc_def1)));
                let mut caller = Caller::connect(address).await;
                while Instant::now() < until {
                    caller.step(&mut dice, &counts).await;
                }
            });
        }
        let mut resident = Vec::new();
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        loop {
            tokio::select! {
                ended = callers.join_next() => match ended {
                    Some(ended) => ended.unwrap(),
                    None => break,
                },
                _ = ticks.tick() => resident.push(resident_bytes(pid)),
            }
        }
        (counts, resident)
    };
    // Pools and arenas fill in a first while, which is not judged.
    run(scale(Duration::from_secs(2), Duration::from_secs(30))).await;
    let settled = async || {
        for service in ["identity", "slow", "picky"] {
            server.is_idle(service).await;
        }
    };
    settled().await;
    let files = open_files(pid);
    let (counts, resident) = run(scale(Duration::from_secs(8), Duration::from_secs(300))).await;
    settled().await;
    println!("{counts:?}");
    assert!(counts.right.load(Ordering::Relaxed) > 100, "{counts:?}");
    for count in [&counts.refused, &counts.left, &counts.late] {
        assert!(count.load(Ordering::Relaxed) > 0, "the mix lacks a kind: {counts:?}");
    }

    let third = resident.len() / 3;
    let (first, last) = (mean(&resident[..third]), mean(&resident[resident.len() - third..]));
    println!("resident: {:.1} MiB in the first third, {:.1} MiB in the last", first / 1048576.0, last / 1048576.0);
    assert!(last < first * 1.1 + 4_194_304.0, "memory grew from {first} to {last} bytes");
    eventually("files to be closed", async || (open_files(pid) <= files).then_some(())).await;
    let log = server.log();
    assert!(!log.contains("panicked") && !log.contains("will be replaced"), "{log}");
}
