//! Leases: whatever callers and servers do, no server has more calls than it takes, each call has one outcome, and every slot
//! comes back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tokio::task::JoinSet;
use weirgate::dispatch::{Lane, Lease, Turned, Wanting};
use weirgate_deploy::plane::LaneOf;
use weirgate_protocol::{Error, ErrorCode, LoadedModel, Priority, RetryClass, UpstreamUrl};
use weirgate_replicas::remote::{Address, Described, Transport, TransportConfig};
use weirgate_replicas::{Failure, Feed, Remote, SetState};
use weirgate_replicas_core::BatchPolicy;
use weirgate_router::LaneLimits;
use weirgate_router::pool::Outcome;

use crate::lanes;
use crate::model::{eventually, runtime, spec};

const HOUR: Duration = Duration::from_secs(3_600);

pub fn remote(id: u64, slots: usize) -> Arc<Remote> {
    remote_at("http://127.0.0.1:9", id, slots)
}

fn remote_at(url: &str, id: u64, slots: usize) -> Arc<Remote> {
    let url = UpstreamUrl::parse(url).unwrap();
    let transport = Transport::new(TransportConfig::new(Address::Url(url))).unwrap();
    let remote = Remote::new(id, format!("server {id}").into(), transport, false, slots);
    remote.describe(Described { v2: true, ..Described::default() });
    remote
}

pub fn ready(servers: usize) -> SetState {
    SetState::Ready {
        model: Arc::new(LoadedModel::new(spec(), [])),
        ready: servers,
        took: Duration::ZERO,
        failure: None,
        policy: BatchPolicy { max_rows: 1, max_calls: usize::MAX, linger: Duration::ZERO },
        load: 0,
    }
}

struct Rig {
    lane: Arc<Lane>,
    _courier: JoinSet<()>,
}

impl Rig {
    fn new(max_calls: usize) -> Rig {
        let of = LaneOf { namespace: "test", service: "far", revision: "far-1", passes: true, remote: true };
        let lane = Lane::new(&of, LaneLimits { max_calls, max_bytes: 1 << 20 }, Box::new(|| {}));
        let mut courier = JoinSet::new();
        courier.spawn(lane.clone().courier());
        Rig { lane, _courier: courier }
    }

    fn with(servers: &[(u64, usize)]) -> Rig {
        let rig = Rig::new(1_000);
        for (id, slots) in servers {
            rig.lane.remote_joined(remote(*id, *slots));
        }
        rig.lane.state_changed(ready(servers.len()));
        rig
    }

    async fn lease(&self) -> Lease {
        lease(&self.lane, Wanting::default(), HOUR).await.unwrap()
    }

    async fn is_empty(&self) {
        eventually("nothing waits and nothing runs", || self.lane.load() == (0, 0)).await;
    }
}

async fn lease(lane: &Arc<Lane>, wanting: Wanting, timeout: Duration) -> Result<Lease, Error> {
    let now = Instant::now();
    let reservation = lane.admit(0, wanting.priority, now + timeout, now).map_err(|turned| match turned {
        Turned::Failed(error) | Turned::Refused(error) => error,
        Turned::Moved => panic!("nobody retires this lane"),
    })?;
    reservation.lease(&wanting, now + timeout, now).await
}

/// A caller that waits for a lease, and what it says of it.
struct Waits<T>(JoinSet<T>);

impl<T: Send + 'static> Waits<T> {
    fn for_lease(lane: &Arc<Lane>, says: impl FnOnce(Result<Lease, Error>) -> T + Send + 'static) -> Waits<T> {
        let (lane, mut waits) = (lane.clone(), JoinSet::new());
        waits.spawn(async move { says(lease(&lane, Wanting::default(), HOUR).await) });
        Waits(waits)
    }

    async fn ended(&mut self) -> T {
        self.0.join_next().await.unwrap().unwrap()
    }
}

/// What one caller does.
#[derive(Clone, Debug)]
struct Caller {
    after: u64,
    holds: u64,
    /// How its attempts end, the last one by the call's own end.
    ends: Vec<Outcome>,
    leaves: Option<u64>,
    timeout: Option<u64>,
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        // Breakers open by the real clock: servers that fail often would have the test wait.
        8 => Just(Outcome::Answered),
        1 => Just(Outcome::Overloaded { retry_after: None }),
        1 => Just(Outcome::NotExecuted),
        1 => Just(Outcome::Cancelled),
    ]
}

fn caller() -> impl Strategy<Value = Caller> {
    (
        0u64..2_000,
        0u64..800,
        prop::collection::vec(outcome(), 1..4),
        prop::option::weighted(0.2, 0u64..3_000),
        prop::option::weighted(0.2, 1u64..3_000),
    )
        .prop_map(|(after, holds, ends, leaves, timeout)| Caller { after, holds, ends, leaves, timeout })
}

/// Who has how many calls at the moment.
#[derive(Default)]
struct Watch {
    running: HashMap<u64, usize>,
}

async fn hold(lease: &Lease, watch: &Mutex<Watch>, slots: usize, holds: u64) {
    struct Held<'a>(u64, &'a Mutex<Watch>);
    impl Drop for Held<'_> {
        fn drop(&mut self) {
            *self.1.lock().unwrap().running.get_mut(&self.0).unwrap() -= 1;
        }
    }
    let id = lease.remote().id;
    let running = {
        let mut watch = watch.lock().unwrap();
        let running = watch.running.entry(id).or_default();
        *running += 1;
        *running
    };
    let _held = Held(id, watch);
    assert!(running <= slots, "server {id} has {running} calls and takes {slots}");
    tokio::time::sleep(Duration::from_micros(holds)).await;
}

async fn call(lane: Arc<Lane>, watch: Arc<Mutex<Watch>>, caller: Caller, slots: usize) -> Result<(), Error> {
    let timeout = caller.timeout.map_or(HOUR, Duration::from_micros);
    let deadline = Instant::now() + timeout;
    let mut lease = lease(&lane, Wanting::default(), timeout).await?;
    let mut ends = caller.ends.into_iter().peekable();
    while let Some(outcome) = ends.next() {
        hold(&lease, &watch, slots, caller.holds).await;
        lease.ends(outcome, Instant::now());
        if ends.peek().is_some() {
            let wanting = Wanting { avoid: vec![lease.remote().id], ..Wanting::default() };
            lease = lease.again(&wanting, 0, deadline).await?;
        }
    }
    Ok(())
}

async fn play(callers: Vec<Caller>, servers: u64, slots: usize, replaced: bool) {
    let members: Vec<_> = (0..servers).map(|id| (id, slots)).collect();
    let rig = Rig::with(&members);
    let watch = Arc::new(Mutex::new(Watch::default()));
    let mut running = JoinSet::new();
    for caller in callers {
        let (lane, watch) = (rig.lane.clone(), watch.clone());
        running.spawn(async move {
            tokio::time::sleep(Duration::from_micros(caller.after)).await;
            let (leaves, timeout) = (caller.leaves, caller.timeout);
            let called = call(lane, watch, caller, slots);
            match leaves {
                Some(after) => tokio::time::timeout(Duration::from_micros(after), called).await.unwrap_or(Ok(())),
                None => called.await,
            }
            .map_err(|error| (error, timeout))
        });
    }
    if replaced {
        // Others take the servers' places while calls run and wait.
        for id in 0..servers {
            tokio::time::sleep(Duration::from_micros(300)).await;
            rig.lane.remote_joined(remote(100 + id, slots));
            rig.lane.remote_drains(id);
            tokio::time::sleep(Duration::from_micros(300)).await;
            rig.lane.remote_left(id);
        }
    }
    while let Some(done) = running.join_next().await {
        if let Err((error, timeout)) = done.unwrap() {
            let late = matches!(error.code(), ErrorCode::DeadlineExceeded | ErrorCode::Unavailable);
            assert!(late && timeout.is_some(), "{error:?}");
        }
    }
    rig.is_empty().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn slots_are_kept_and_each_call_has_one_outcome(
        callers in prop::collection::vec(caller(), 1..60),
        servers in 1u64..4,
        slots in 1usize..4,
        replaced in any::<bool>(),
    ) {
        runtime().block_on(play(callers, servers, slots, replaced));
    }
}

#[test]
fn whoever_becomes_free_takes_the_next_call() {
    runtime().block_on(async {
        let rig = Rig::with(&[(1, 1), (2, 1)]);
        let (first, second) = (rig.lease().await, rig.lease().await);
        assert_ne!(first.remote().id, second.remote().id);
        let mut waits = Waits::for_lease(&rig.lane, |lease| lease.unwrap().remote().id);
        eventually("the third call waits", || rig.lane.load().0 == 1).await;
        let free = second.remote().id;
        drop(second);
        assert_eq!(waits.ended().await, free);
        drop(first);
        rig.is_empty().await;
    });
}

#[test]
fn urgent_calls_go_first_and_those_that_come_back_keep_their_place() {
    runtime().block_on(async {
        let rig = Rig::with(&[(1, 1)]);
        let mut first = rig.lease().await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut waiting = JoinSet::new();
        for (name, priority) in [("low", Priority::Low), ("normal", Priority::Normal), ("high", Priority::High)] {
            let (lane, order) = (rig.lane.clone(), order.clone());
            let before = rig.lane.load().0;
            waiting.spawn(async move {
                let _lease = lease(&lane, Wanting { priority, ..Wanting::default() }, HOUR).await.unwrap();
                order.lock().unwrap().push(name);
            });
            eventually("it waits", || rig.lane.load().0 == before + 1).await;
        }
        first.ends(Outcome::NotExecuted, Instant::now());
        let again = first.again(&Wanting::default(), 0, Instant::now() + HOUR).await.unwrap();
        order.lock().unwrap().push("again");
        drop(again);
        while waiting.join_next().await.is_some() {}
        assert_eq!(*order.lock().unwrap(), ["high", "again", "normal", "low"]);
        rig.is_empty().await;
    });
}

#[test]
fn complaint_50_calls_that_wait_are_told_when_the_last_server_has_failed() {
    runtime().block_on(async {
        let rig = Rig::with(&[(1, 1)]);
        let running = rig.lease().await;
        let mut waits = Waits::for_lease(&rig.lane, |lease| lease.map(drop));
        eventually("it waits", || rig.lane.load().0 == 1).await;
        rig.lane.remote_left(1);
        rig.lane.state_changed(SetState::Failed(Failure::of_loading("it is gone", 0)));
        let error = waits.ended().await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::Unavailable);
        assert!(error.full().contains("it is gone") && !error.message().contains("it is gone"), "{}", error.full());
        // What runs goes on, and its slot comes back to nobody.
        assert_eq!(rig.lane.load(), (0, 1));
        drop(running);
        rig.is_empty().await;
    });
}

#[test]
fn a_retired_lane_is_empty_only_when_no_lease_is_out() {
    runtime().block_on(async {
        let rig = Rig::with(&[(1, 2)]);
        let first = rig.lease().await;
        rig.lane.retire();
        let mut drained = JoinSet::new();
        drained.spawn(rig.lane.clone().drained());
        assert!(tokio::time::timeout(Duration::from_millis(50), drained.join_next()).await.is_err());
        // Between its attempts a call is in the lane all the same.
        let second = first.again(&Wanting::default(), 0, Instant::now() + HOUR).await.unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(50), drained.join_next()).await.is_err());
        drop(second);
        tokio::time::timeout(Duration::from_secs(20), drained.join_next()).await.unwrap().unwrap().unwrap();
    });
}

#[test]
fn a_full_queue_refuses_and_a_call_that_comes_back_is_not_refused() {
    runtime().block_on(async {
        let rig = Rig::new(1);
        rig.lane.remote_joined(remote(1, 1));
        rig.lane.state_changed(ready(1));
        let first = rig.lease().await;
        let mut waits = Waits::for_lease(&rig.lane, |lease| lease.map(drop));
        eventually("it waits", || rig.lane.load().0 == 1).await;
        let full = lease(&rig.lane, Wanting::default(), HOUR).await.err().unwrap();
        assert_eq!(full.code(), ErrorCode::QueueFull);
        let again = first.again(&Wanting::default(), 0, Instant::now() + HOUR).await.unwrap();
        drop(again);
        waits.ended().await.unwrap();
        rig.is_empty().await;
    });
}

/// A lease that must come, for a call that has all the time.
async fn comes(lease: impl Future<Output = Result<Lease, Error>>) -> Lease {
    tokio::time::timeout(Duration::from_secs(20), lease).await.expect("no server is given").unwrap()
}

fn avoiding(lease: &Lease) -> Wanting {
    Wanting { avoid: vec![lease.remote().id], ..Wanting::default() }
}

#[test]
fn a_lone_call_is_let_in_as_soon_as_the_only_breaker_is_half_open() {
    runtime().block_on(async {
        let rig = Rig::with(&[(1, 1)]);
        for _ in 0..5 {
            rig.lease().await.ends(Outcome::Failed, Instant::now());
        }
        assert_eq!(rig.lane.standings().unwrap().open, 1);
        // Nothing else happens in this lane: the courier alone can tell.
        drop(comes(lease(&rig.lane, Wanting::default(), HOUR)).await);
        rig.is_empty().await;
    });
}

#[test]
fn a_long_answer_that_tries_a_server_lets_the_next_call_in() {
    runtime().block_on(async {
        let rig = Rig::with(&[(1, 8)]);
        for _ in 0..5 {
            rig.lease().await.ends(Outcome::Failed, Instant::now());
        }
        let mut stream = comes(lease(&rig.lane, Wanting::default(), HOUR)).await;
        let mut waits = Waits::for_lease(&rig.lane, |lease| lease.map(drop));
        eventually("the next call waits", || rig.lane.load().0 == 1).await;
        stream.ends(Outcome::Answered, Instant::now());
        tokio::time::timeout(Duration::from_secs(20), waits.ended()).await.unwrap().unwrap();
        drop(stream);
        rig.is_empty().await;
    });
}

#[test]
fn a_call_that_the_only_server_refused_comes_back_after_a_pause_that_grows() {
    runtime().block_on(async {
        let rig = Rig::with(&[(1, 8)]);
        let mut lease = rig.lease().await;
        let mut wanting = Wanting::default();
        for pause in [100, 200, 400].map(Duration::from_millis) {
            let refused = Instant::now();
            lease.ends(Outcome::NotExecuted, refused);
            wanting.avoid.push(lease.remote().id);
            lease = comes(lease.again(&wanting, 0, refused + HOUR)).await;
            assert!(lease.taken() - refused >= pause, "{:?} of {pause:?}", lease.taken() - refused);
        }
        drop(lease);
        rig.is_empty().await;
    });
}

#[test]
fn a_server_that_joins_ends_the_pause() {
    runtime().block_on(async {
        let rig = Rig::with(&[(1, 1)]);
        let mut first = rig.lease().await;
        first.ends(Outcome::Overloaded { retry_after: Some(HOUR / 4) }, Instant::now());
        let wanting = avoiding(&first);
        let mut again = JoinSet::new();
        again.spawn(async move { comes(first.again(&wanting, 0, Instant::now() + HOUR)).await.remote().id });
        eventually("it pauses", || rig.lane.load() == (1, 0)).await;
        rig.lane.remote_joined(remote(2, 1));
        assert_eq!(again.join_next().await.unwrap().unwrap(), 2);
        rig.is_empty().await;
    });
}

#[test]
fn a_call_goes_back_to_the_server_that_failed_where_all_others_stay_busy() {
    runtime().block_on(async {
        let rig = Rig::with(&[(1, 1), (2, 1)]);
        let (mut first, busy) = (rig.lease().await, rig.lease().await);
        let id = first.remote().id;
        first.ends(Outcome::NotExecuted, Instant::now());
        let wanting = avoiding(&first);
        let again = comes(first.again(&wanting, 0, Instant::now() + HOUR)).await;
        assert_eq!(again.remote().id, id);
        drop((again, busy));
        rig.is_empty().await;
    });
}

#[test]
fn a_batch_that_a_server_refused_comes_back_after_pauses() {
    runtime().block_on(async {
        // Nothing listens there.
        let rig = Rig::with(&[(1, 8)]);
        let begun = Instant::now();
        let error = lanes::call(rig.lane.clone(), [1, 1], vec![7], HOUR).await.unwrap_err();
        assert_eq!(error.retry_class(), RetryClass::NotExecuted, "{error:?}");
        assert!(begun.elapsed() >= Duration::from_millis(700), "{:?}", begun.elapsed());
        rig.is_empty().await;
    });
}

#[test]
fn a_deadline_in_the_queue_says_what_an_earlier_server_may_have_done() {
    runtime().block_on(async {
        for (reads, class) in [(true, RetryClass::MayHaveExecuted), (false, RetryClass::NotExecuted)] {
            let rig = Rig::new(1_000);
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            rig.lane.remote_joined(remote_at(&format!("http://{}", listener.local_addr().unwrap()), 1, 1));
            rig.lane.state_changed(ready(1));
            let server = async {
                if reads {
                    let (mut connection, _) = listener.accept().await.unwrap();
                    tokio::io::AsyncReadExt::read(&mut connection, &mut [0; 64]).await.unwrap();
                }
                // Nobody else will take it.
                rig.lane.remote_drains(1);
                drop(listener);
            };
            let called = lanes::call_while(rig.lane.clone(), [1, 1], vec![7], Duration::from_secs(1), true, |_| {});
            let (error, ()) = tokio::join!(called, server);
            let error = error.unwrap_err();
            assert_eq!((error.code(), error.retry_class()), (ErrorCode::DeadlineExceeded, class), "{error:?}");
            assert!(error.message().contains("in the queue"), "{error}");
            rig.is_empty().await;
        }
    });
}

#[test]
fn a_deadline_without_a_first_byte_counts_as_a_failure_where_calls_take_much_less() {
    runtime().block_on(async {
        let rig = Rig::with(&[(1, 8)]);
        let mut first = rig.lease().await;
        first.ends(Outcome::Answered, first.taken() + Duration::from_millis(10));
        drop(first);
        // Five in a row open a breaker. Who leaves before the deadline says nothing, nor does a short one.
        for (timeout, left, open) in [(60, 30_000, 0), (60, 500, 0), (0, 500, 0), (60, 60_500, 1)] {
            for _ in 0..5 {
                let mut lease = lease(&rig.lane, Wanting::default(), Duration::from_secs(timeout)).await.unwrap();
                lease.ends(Outcome::Cancelled, lease.taken() + Duration::from_millis(left));
            }
            assert_eq!(rig.lane.standings().unwrap().open, open, "left after {left} ms of {timeout} s");
        }
        rig.is_empty().await;
    });
}

#[test]
fn an_urgent_call_is_not_refused_for_those_that_it_overtakes() {
    runtime().block_on(async {
        let rig = Rig::with(&[(1, 1)]);
        let mut first = rig.lease().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        let took = first.taken().elapsed();
        first.ends(Outcome::Answered, Instant::now());
        drop(first);
        let running = rig.lease().await;
        let low = Wanting { priority: Priority::Low, ..Wanting::default() };
        let mut waiting = JoinSet::new();
        for _ in 0..500 {
            let (lane, low) = (rig.lane.clone(), low.clone());
            waiting.spawn(async move { lease(&lane, low, HOUR).await.map(drop) });
        }
        eventually("all wait", || rig.lane.load().0 == 500).await;
        // 500 turns take longer than this, one does not.
        let refused = lease(&rig.lane, low, took * 100).await.err().unwrap();
        assert_eq!(refused.code(), ErrorCode::Unavailable);
        let high = Wanting { priority: Priority::High, ..Wanting::default() };
        let urgent = lease(&rig.lane, high, took * 100);
        let (urgent, ()) = tokio::join!(urgent, async { drop(running) });
        drop(urgent.unwrap());
        while let Some(low) = waiting.join_next().await {
            low.unwrap().unwrap();
        }
        rig.is_empty().await;
    });
}
