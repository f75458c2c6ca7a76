//! One lane: whatever callers do, each gets its own rows once, a wrong call fails alone, a failed engine is replaced, and
//! nothing is left behind.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tokio::task::JoinSet;
use weirgate::dispatch::{Lane, Submission, Turned};
use weirgate_deploy::plane::LaneOf;
use weirgate_protocol::{Call, ErrorCode, Head, InferRequest, Priority, Protocol, Target};
use weirgate_replicas::{Along, Answer, Failure, Feed, ReplicaSet, ReplicaSetConfig, SetState, Wanted};
use weirgate_router::LaneLimits;

use crate::model::{FAILS, PANICS, REFUSED, Record, eventually, loader, runtime, tensor, values};

/// A lane with replicas of [`Adds`](crate::model::Adds) behind it.
struct Rig {
    lane: Arc<Lane>,
    tasks: JoinSet<()>,
    scale: tokio::sync::watch::Sender<Wanted>,
    record: Record,
}

impl Rig {
    fn start(replicas: usize, max_rows: usize, linger: Duration, pace: Duration) -> Rig {
        let limits = LaneLimits { max_calls: 10_000, max_bytes: 1 << 30 };
        let of =
            LaneOf { namespace: "test", service: "plus-one", revision: "plus-one-1", passes: false, remote: false };
        let lane = Lane::new(&of, limits, Box::new(|| {}));
        let record = Record::default();
        let config = ReplicaSetConfig {
            name: "plus-one".to_owned(),
            service: "test/plus-one".to_owned(),
            max_batch_size: NonZeroUsize::new(max_rows),
            max_latency: (!linger.is_zero()).then_some(linger),
            container_concurrency: None,
            loader: loader(1, pace, &record),
        };
        let (scale, wanted) = tokio::sync::watch::channel(Wanted::replicas(replicas));
        let mut tasks = JoinSet::new();
        tasks.spawn(ReplicaSet::new(config, lane.clone()).run(wanted));
        tasks.spawn(lane.clone().courier());
        Rig { lane, tasks, scale, record }
    }

    /// Waits until nothing waits and nothing runs, then stops everything.
    async fn finish(mut self) {
        eventually("nothing waits and nothing runs", || self.lane.load() == (0, 0)).await;
        self.scale.send(Wanted::default()).unwrap();
        tokio::time::timeout(Duration::from_secs(20), self.tasks.join_next()).await.unwrap();
    }
}

pub async fn call(
    lane: Arc<Lane>,
    shape: [usize; 2],
    given: Vec<u64>,
    timeout: Duration,
) -> weirgate_protocol::Result<Answer> {
    call_while(lane, shape, given, timeout, false, |_| {}).await
}

/// A call during whose decoding something happens to its lane. `repeats`: executing it twice does no harm.
pub async fn call_while(
    lane: Arc<Lane>,
    shape: [usize; 2],
    given: Vec<u64>,
    timeout: Duration,
    repeats: bool,
    happens: impl FnOnce(&Lane),
) -> weirgate_protocol::Result<Answer> {
    let now = Instant::now();
    let deadline = now + timeout;
    let turned = |turned| match turned {
        Turned::Failed(error) | Turned::Refused(error) => error,
        Turned::Moved => panic!("nobody retires this lane"),
    };
    let reservation = lane.admit(given.len() * 8, Priority::default(), deadline, now).map_err(turned)?;
    let spec = lane.ready(deadline).await.map_err(turned)?;
    let mut request = InferRequest { inputs: vec![tensor("x", &shape, &given)], ..Default::default() };
    let (work, payload) = spec.newest().bind(&mut request, false)?;
    happens(&lane);
    let head = Head {
        request_id: "test".into(),
        traceparent: None,
        protocol: Protocol::V2Http,
        arrived: now,
        identity: None,
        priority: Priority::default(),
    };
    let target = Target { namespace: "test".into(), service: "plus-one".into(), model: "plus-one".into() };
    let call = Call { head, target, deadline, work, payload };
    reservation
        .submit(Submission { call, along: Along::default(), repeats, trail: None }, Instant::now())?
        .answer()
        .await
}

/// What one caller does.
#[derive(Clone, Debug)]
struct Caller {
    rows: usize,
    columns: usize,
    kind: Kind,
    /// Comes after this many microseconds.
    after: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Good,
    Refused,
    Fails,
    Panics,
    /// Goes away after this many microseconds.
    Leaves(u64),
    /// Has a deadline after this many microseconds.
    Hurries(u64),
}

fn caller() -> impl Strategy<Value = Caller> {
    let kind = prop_oneof![
        12 => Just(Kind::Good),
        2 => Just(Kind::Refused),
        1 => Just(Kind::Fails),
        1 => Just(Kind::Panics),
        4 => (0u64..3_000).prop_map(Kind::Leaves),
        4 => (1u64..3_000).prop_map(Kind::Hurries),
    ];
    (1usize..5, 1usize..3, kind, 0u64..2_000).prop_map(|(rows, columns, kind, after)| Caller {
        rows,
        columns,
        kind,
        after,
    })
}

/// Up to 59 callers. Two of them may have the engine panic: with each time its replacement waits longer, and with the sixth so
/// long that calls are refused meanwhile, as they should be.
fn callers() -> impl Strategy<Value = Vec<Caller>> {
    prop::collection::vec(caller(), 1..60).prop_map(|mut callers| {
        for caller in callers.iter_mut().filter(|caller| caller.kind == Kind::Panics).skip(2) {
            caller.kind = Kind::Fails;
        }
        callers
    })
}

fn given(index: usize, caller: &Caller) -> Vec<u64> {
    let mut given: Vec<u64> = (0..caller.rows * caller.columns).map(|cell| (index * 100 + cell) as u64).collect();
    match caller.kind {
        Kind::Refused => given[0] = REFUSED,
        Kind::Fails => given[0] = FAILS,
        Kind::Panics => given[0] = PANICS,
        Kind::Good | Kind::Leaves(_) | Kind::Hurries(_) => {}
    }
    given
}

async fn play(callers: Vec<Caller>, replicas: usize, max_rows: usize, linger: Duration, pace: Duration) {
    let rig = Rig::start(replicas, max_rows, linger, pace);
    let upset = callers.iter().any(|caller| matches!(caller.kind, Kind::Refused | Kind::Fails | Kind::Panics));
    let panics = callers.iter().any(|caller| caller.kind == Kind::Panics);
    let mut running = JoinSet::new();
    for (index, caller) in callers.into_iter().enumerate() {
        let lane = rig.lane.clone();
        running.spawn(async move {
            tokio::time::sleep(Duration::from_micros(caller.after)).await;
            let given = given(index, &caller);
            let timeout = match caller.kind {
                Kind::Hurries(us) => Duration::from_micros(us),
                _ => Duration::from_secs(60),
            };
            let answer = call(lane, [caller.rows, caller.columns], given.clone(), timeout);
            let answer = match caller.kind {
                Kind::Leaves(us) => tokio::time::timeout(Duration::from_micros(us), answer).await.ok(),
                _ => Some(answer.await),
            };
            (caller, given, answer)
        });
    }
    while let Some(done) = running.join_next().await {
        let (caller, given, answer) = done.unwrap();
        let wanted: Vec<u64> = given.iter().map(|value| value.wrapping_add(1)).collect();
        match (caller.kind, answer) {
            (Kind::Leaves(_), None) => {}
            (_, Some(Ok(answer))) => {
                assert!(matches!(caller.kind, Kind::Good | Kind::Leaves(_) | Kind::Hurries(_)), "{caller:?}");
                assert_eq!(values(&answer.outputs[0]), wanted, "{caller:?} got somebody else's rows");
                assert_eq!(&answer.outputs[0].shape[..], &[caller.rows, caller.columns]);
            }
            (kind, Some(Err(error))) => {
                let expected = match kind {
                    Kind::Refused => error.code() == ErrorCode::InvalidRequest,
                    Kind::Fails | Kind::Panics => error.code() == ErrorCode::EngineFailed,
                    // A deadline that is predicted to pass is refused, one that passed is told so.
                    Kind::Hurries(_) => {
                        matches!(error.code(), ErrorCode::DeadlineExceeded | ErrorCode::Unavailable)
                    }
                    Kind::Good | Kind::Leaves(_) => false,
                };
                // A panic takes the calls of its own batch with it, and says so.
                let taken_along = panics && error.code() == ErrorCode::EngineFailed;
                assert!(expected || taken_along, "{caller:?}: {error:?}");
            }
            (kind, None) => panic!("{kind:?} ended without an answer"),
        }
    }
    if !upset {
        let runs = rig.record.runs.lock().unwrap().clone();
        assert!(runs.values().all(|&times| times == 1), "a value ran twice though no batch had to be taken apart");
    }
    rig.finish().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_caller_gets_its_own_rows_once(
        callers in callers(),
        replicas in 1usize..4,
        max_rows in 1usize..12,
        linger in prop_oneof![3 => Just(0u64), 1 => 1u64..2_000],
        pace in 0u64..1_500,
    ) {
        let (linger, pace) = (Duration::from_micros(linger), Duration::from_micros(pace));
        runtime().block_on(play(callers, replicas, max_rows, linger, pace));
    }
}

#[test]
fn complaint_41_a_panicking_engine_is_replaced_and_the_next_call_is_answered() {
    runtime().block_on(async {
        let rig = Rig::start(1, 8, Duration::ZERO, Duration::ZERO);
        let minute = Duration::from_secs(60);
        for upset in [PANICS, FAILS, REFUSED] {
            let error = call(rig.lane.clone(), [1, 1], vec![upset], minute).await.unwrap_err();
            assert!(error.message().contains("asked to"), "{error}");
            let answer = call(rig.lane.clone(), [1, 1], vec![7], minute).await.unwrap();
            assert_eq!(values(&answer.outputs[0]), [8]);
        }
        assert!(rig.record.loads.load(Ordering::SeqCst) >= 2);
        rig.finish().await;
    });
}

#[test]
fn complaint_38_a_run_nobody_waits_for_is_stopped() {
    runtime().block_on(async {
        let forever = Duration::from_secs(3_600);
        let rig = Rig::start(1, 8, Duration::ZERO, forever);
        let first = call(rig.lane.clone(), [1, 1], vec![1], forever);
        assert!(tokio::time::timeout(Duration::from_millis(200), first).await.is_err());
        // Only an engine that was stopped, an hour early, can take a second call.
        let second = call(rig.lane.clone(), [1, 1], vec![2], forever);
        assert!(tokio::time::timeout(Duration::from_millis(200), second).await.is_err());
        eventually("the second call runs", || rig.record.runs.lock().unwrap().contains_key(&2)).await;
        rig.finish().await;
    });
}

#[test]
fn a_call_that_is_decoded_while_its_revision_fails_is_told_at_once() {
    runtime().block_on(async {
        let rig = Rig::start(1, 8, Duration::ZERO, Duration::ZERO);
        let fails = |lane: &Lane| lane.state_changed(SetState::Failed(Failure::of_loading("it is broken", 0)));
        let hour = Duration::from_secs(3_600);
        let told = call_while(rig.lane.clone(), [1, 1], vec![7], hour, false, fails);
        let error = tokio::time::timeout(Duration::from_secs(20), told).await.unwrap().unwrap_err();
        assert_eq!(error.code(), ErrorCode::Unavailable);
        assert!(error.message().contains("it is broken"), "{error}");
        rig.finish().await;
    });
}
