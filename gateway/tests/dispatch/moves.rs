//! Lanes that are bounded, held, retired, taken back and closed while calls come: none is lost, none is answered by another
//! revision than it says, and nothing is left behind.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::body::Body;
use futures_util::{FutureExt, stream};
use http::Request;
use http_body_util::StreamBody;
use proptest::prelude::*;
use proptest::sample::Index;
use tokio::task::JoinSet;
use weirgate::dispatch::Lane;
use weirgate_deploy::plane::{DataPlane, LaneBound};
use weirgate_replicas::{Failure, SetState};

use crate::model::{eventually, runtime};
use crate::world::{Reply, Running, World, body, infer};

const FAST: Duration = Duration::ZERO;

/// Calls in the background.
struct Calls(JoinSet<Reply>);

impl Calls {
    fn new() -> Calls {
        Calls(JoinSet::new())
    }

    fn send(&mut self, world: &Arc<World>, request: Request<Body>) {
        let world = world.clone();
        self.0.spawn(async move { world.send(request).await });
    }

    async fn reply(&mut self) -> Reply {
        let reply = tokio::time::timeout(Duration::from_secs(20), self.0.join_next()).await;
        reply.expect("a call is not answered").unwrap().unwrap()
    }
}

fn call(value: u64, headers: &[(&str, &str)]) -> Request<Body> {
    infer("/v2/models/adds/infer", value, headers)
}

async fn drained(world: &World, running: &Running) {
    let drained = tokio::time::timeout(Duration::from_secs(20), world.gateway.lane_drained(&running.lane)).await;
    assert!(drained.is_ok(), "{} is not drained: {:?}", running.name, running.lane.load());
}

#[test]
fn calls_held_for_a_model_move_on_when_its_lane_is_retired() {
    runtime().block_on(async {
        let (world, mut calls) = (Arc::new(World::new()), Calls::new());
        let old = world.open("adds-1", 1_000);
        world.publish(&[(&old, 100)]);
        for value in 0..20 {
            calls.send(&world, call(value, &[]));
        }
        eventually("all are held", || old.lane.load() == (20, 0)).await;
        let new = world.start("adds-2", 2_000, FAST);
        world.publish(&[(&new, 100)]);
        world.gateway.retire_lane(&old.lane);
        for _ in 0..20 {
            let reply = calls.reply().await;
            assert!(reply.status == 200 && reply.revision() == "adds-2", "{reply:?}");
        }
        drained(&world, &old).await;
        assert_eq!((old.lane.load(), new.lane.load()), ((0, 0), (0, 0)));
    });
}

#[test]
fn calls_that_no_table_leads_on_wait_for_one_that_does() {
    runtime().block_on(async {
        let (world, mut calls) = (Arc::new(World::new()), Calls::new());
        let old = world.start("adds-1", 1_000, FAST);
        world.publish(&[(&old, 100)]);
        world.gateway.retire_lane(&old.lane);
        let late = world.infer(1, &[("x-request-timeout-seconds", "0.05")]).await;
        late.is_error(504, &["was being replaced"]);
        calls.send(&world, call(1, &[]));
        calls.send(&world, call(2, &[("x-weirgate-revision", "stable")]));
        // They hold nothing meanwhile: their lane can be drained.
        drained(&world, &old).await;
        assert!(calls.0.join_next().now_or_never().is_none());
        let new = world.start("adds-2", 2_000, FAST);
        world.publish(&[(&new, 100)]);
        for _ in 0..2 {
            let reply = calls.reply().await;
            assert!(reply.status == 200 && reply.revision() == "adds-2", "{reply:?}");
        }
    });
}

#[test]
fn calls_of_a_service_that_is_deleted_are_told() {
    runtime().block_on(async {
        let (world, mut calls) = (Arc::new(World::new()), Calls::new());
        let old = world.open("adds-1", 1_000);
        world.publish(&[(&old, 100)]);
        calls.send(&world, call(1, &[]));
        eventually("it is held", || old.lane.load() == (1, 0)).await;
        world.gateway.publish(weirgate_router::RouteTable::default());
        world.gateway.retire_lane(&old.lane);
        calls.reply().await.is_error(404, &["'adds'"]);
        drained(&world, &old).await;
    });
}

#[test]
fn what_runs_or_is_read_goes_on_in_a_retired_lane() {
    runtime().block_on(async {
        let (world, mut calls) = (Arc::new(World::new()), Calls::new());
        let old = world.start("adds-1", 1_000, FAST);
        world.publish(&[(&old, 100)]);
        world.infer(1, &[]).await.is_from("adds-1", 1_001);
        let (send, rest) = tokio::sync::oneshot::channel::<()>();
        let text = body(7);
        let (first, second) = text.split_at(10);
        let pieces = [first.to_owned(), second.to_owned()]
            .map(|piece| Ok::<_, Infallible>(http_body::Frame::data(bytes::Bytes::from(piece))));
        let [first, second] = pieces;
        let late = async move {
            rest.await.unwrap();
            second
        };
        let stream = stream::iter([first]);
        let body = Body::new(StreamBody::new(Box::pin(futures_util::StreamExt::chain(stream, late.into_stream()))));
        calls.send(&world, Request::post("/v2/models/adds/infer").body(body).unwrap());
        eventually("it is being read", || old.lane.load() == (1, 0)).await;
        let new = world.start("adds-2", 2_000, FAST);
        world.publish(&[(&new, 100)]);
        world.gateway.retire_lane(&old.lane);
        let drained = world.gateway.lane_drained(&old.lane);
        tokio::pin!(drained);
        world.infer(1, &[]).await.is_from("adds-2", 2_001);
        assert!(drained.as_mut().now_or_never().is_none(), "a call is still being read");
        send.send(()).unwrap();
        calls.reply().await.is_from("adds-1", 1_007);
        tokio::time::timeout(Duration::from_secs(20), drained).await.unwrap();
    });
}

#[test]
fn a_retired_lane_can_be_taken_back_until_it_is_closed() {
    runtime().block_on(async {
        let world = Arc::new(World::new());
        let only = world.start("adds-1", 1_000, FAST);
        world.publish(&[(&only, 100)]);
        world.gateway.retire_lane(&only.lane);
        assert!(world.gateway.reopen_lane(&only.lane));
        let drained = world.gateway.lane_drained(&only.lane);
        tokio::pin!(drained);
        world.infer(1, &[]).await.is_from("adds-1", 1_001);
        assert!(drained.as_mut().now_or_never().is_none(), "an open lane is not drained");
        world.gateway.retire_lane(&only.lane);
        tokio::time::timeout(Duration::from_secs(20), drained).await.unwrap();
        assert!(!world.gateway.reopen_lane(&only.lane));
    });
}

#[test]
fn held_calls_of_a_revision_that_fails_go_to_the_base() {
    runtime().block_on(async {
        let (world, mut calls) = (Arc::new(World::new()), Calls::new());
        let (base, canary) = (world.start("adds-1", 1_000, FAST), world.open("adds-2", 2_000));
        world.publish(&[(&base, 0), (&canary, 100)]);
        calls.send(&world, call(1, &[]));
        calls.send(&world, call(2, &[("x-weirgate-revision", "latest")]));
        eventually("both are held", || canary.lane.load() == (2, 0)).await;
        canary.feed.state_changed(SetState::Failed(Failure::of_loading("it is broken", 0)));
        let mut replies = [calls.reply().await, calls.reply().await];
        replies.sort_by_key(|reply| reply.status);
        replies[0].is_from("adds-1", 1_001);
        replies[1].is_error(503, &["it is broken"]);
        assert_eq!(replies[1].revision(), "adds-2");
    });
}

#[test]
fn a_lane_holds_its_share_of_the_queue() {
    runtime().block_on(async {
        let (world, mut calls) = (Arc::new(World::new()), Calls::new());
        let only = world.open("adds-1", 1_000);
        world.publish(&[(&only, 100)]);
        let bound = |calls, percent| LaneBound { max_queued_requests: std::num::NonZeroUsize::new(calls), percent };
        for (calls_in_all, percent, held) in [(10, 0, 1), (10, 11, 2), (10, 50, 5), (6, 100, 6)] {
            world.gateway.bound_lane(&only.lane, bound(calls_in_all, percent));
            while only.lane.load().0 < held {
                let before = only.lane.load().0;
                calls.send(&world, call(1, &[]));
                eventually("it is held", || only.lane.load().0 == before + 1).await;
            }
            let refused = world.infer(1, &[]).await;
            refused.is_error(429, &["adds-1", &format!("{held} requests wait")]);
            assert_eq!(refused.revision(), "adds-1");
        }
        // Those that are in stay, and are answered.
        world.gateway.bound_lane(&only.lane, bound(1, 0));
        let mut only = only;
        only.load(FAST);
        for _ in 0..6 {
            calls.reply().await.is_from("adds-1", 1_001);
        }
    });
}

#[test]
fn nothing_is_left_of_a_thousand_revisions() {
    runtime().block_on(async {
        let world = Arc::new(World::new());
        let mut lanes: Vec<Weak<Lane>> = Vec::new();
        for turn in 0..1_000 {
            let running = world.open(&format!("adds-{turn}"), turn);
            lanes.push(Arc::downgrade(&running.lane));
            world.publish(&[(&running, 100)]);
            world.gateway.retire_lane(&running.lane);
            drained(&world, &running).await;
        }
        world.gateway.publish(weirgate_router::RouteTable::default());
        let alive = || lanes.iter().filter(|lane| lane.strong_count() > 0).count();
        eventually("all lanes are freed", || alive() == 0).await;
    });
}

/// What the owner of the revisions does next.
#[derive(Clone, Debug)]
enum Step {
    /// Another revision takes a share of the calls, or all.
    Start { percent: u8, pace: u64 },
    /// One goes, if another remains.
    Retire(Index),
    /// The one that went last comes back, unless it is closed.
    Reopen,
    /// The shares change.
    Weigh(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0u8..=100, 0u64..1_000).prop_map(|(percent, pace)| Step::Start { percent, pace }),
        3 => any::<Index>().prop_map(Step::Retire),
        2 => Just(Step::Reopen),
        2 => (0u8..=100).prop_map(Step::Weigh),
    ]
}

/// The revisions of the service, and those that go.
struct Owner {
    world: Arc<World>,
    running: Vec<Running>,
    going: Vec<Running>,
    /// Each lane that goes is closed as soon as it can be, unless it comes back before.
    closing: JoinSet<()>,
    started: u64,
    percent: u8,
}

impl Owner {
    fn publish(&self) {
        let bound = |percent| LaneBound { max_queued_requests: None, percent: u8::max(percent, 10) };
        let last = self.running.len() - 1;
        let share = |index: usize| match index {
            0 if last == 0 => 100,
            0 => 100 - self.percent,
            index if index == last => self.percent,
            _ => 0,
        };
        let shares: Vec<_> = self.running.iter().enumerate().map(|(index, running)| (running, share(index))).collect();
        for (running, percent) in &shares {
            self.world.gateway.bound_lane(&running.lane, bound(*percent));
        }
        self.world.publish(&shares);
    }

    async fn act(&mut self, step: Step) {
        let gateway = self.world.gateway.clone();
        match step {
            Step::Start { percent, pace } if self.running.len() < 4 => {
                self.started += 1;
                let name = format!("adds-{}", self.started);
                self.running.push(self.world.start(&name, self.started * 1_000_000, Duration::from_micros(pace)));
                self.percent = percent;
                self.publish();
            }
            Step::Retire(index) if self.running.len() > 1 => {
                let gone = self.running.remove(index.index(self.running.len()));
                self.publish();
                gateway.retire_lane(&gone.lane);
                self.closing.spawn(gateway.lane_drained(&gone.lane));
                self.going.push(gone);
            }
            Step::Reopen => {
                if let Some(back) = self.going.pop() {
                    if gateway.reopen_lane(&back.lane) {
                        self.running.push(back);
                        self.publish();
                    } else {
                        back.stop().await;
                    }
                }
            }
            Step::Weigh(percent) => {
                self.percent = percent;
                self.publish();
            }
            Step::Start { .. } | Step::Retire(_) => {}
        }
        if self.going.len() > 2 {
            let gone = self.going.remove(0);
            drained(&self.world, &gone).await;
            gone.stop().await;
        }
    }
}

async fn churn(steps: Vec<Step>, pause: Duration) {
    let world = Arc::new(World::new());
    let mut owner = Owner {
        world: world.clone(),
        running: Vec::new(),
        going: Vec::new(),
        closing: JoinSet::new(),
        started: 0,
        percent: 0,
    };
    owner.act(Step::Start { percent: 0, pace: 0 }).await;
    let (stop, mut callers) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
    for caller in 0..8u64 {
        let (world, stop) = (world.clone(), stop.clone());
        callers.spawn(async move {
            let mut calls = 0;
            while !stop.load(Ordering::SeqCst) {
                let value = caller * 100_000 + calls;
                let reply = world.infer(value, &[]).await;
                let more: u64 = reply.revision().strip_prefix("adds-").unwrap_or_default().parse().unwrap_or_default();
                reply.is_from(&format!("adds-{more}"), value + more * 1_000_000);
                calls += 1;
            }
            calls
        });
    }
    for step in steps {
        owner.act(step).await;
        tokio::time::sleep(pause).await;
    }
    stop.store(true, Ordering::SeqCst);
    while let Some(calls) = tokio::time::timeout(Duration::from_secs(20), callers.join_next()).await.unwrap() {
        assert!(calls.unwrap() > 0);
    }
    world.gateway.publish(weirgate_router::RouteTable::default());
    let mut lanes = Vec::new();
    for running in owner.running.into_iter().chain(owner.going) {
        world.gateway.retire_lane(&running.lane);
        drained(&world, &running).await;
        assert_eq!(running.lane.load(), (0, 0));
        lanes.push(Arc::downgrade(&running.lane));
        running.stop().await;
    }
    while let Some(closed) = owner.closing.join_next().await {
        closed.unwrap();
    }
    eventually("all lanes are freed", || lanes.iter().all(|lane| lane.strong_count() == 0)).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Calls come all the time. Each is answered, by the revision that it says.
    #[test]
    fn no_call_is_lost_while_revisions_come_and_go(steps in prop::collection::vec(step(), 1..40), pause in 0u64..3_000) {
        runtime().block_on(churn(steps, Duration::from_micros(pause)));
    }
}
