//! An open loop: calls are due by the clock, whatever became of those before.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::Request;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::ledger::{Call, End, Ledger, Phase};
use crate::calls;
use crate::dice::Dice;
use crate::http::{Body, Http1, Reply, with};

/// Beyond its deadline, after which a call without an answer counts as lost.
const LOST: Duration = Duration::from_secs(15);

/// What is called, and how often.
#[derive(Clone, Debug)]
pub struct Load {
    pub address: SocketAddr,
    pub model: String,
    /// On average: the gaps are drawn.
    pub per_second: f64,
    /// What each call is given as its timeout.
    pub deadline: Duration,
    /// A connection for each call, for where connections may be closed between calls.
    pub fresh: bool,
    pub seed: u64,
}

/// Calls under way.
pub struct Running {
    stop: watch::Sender<bool>,
    calls: JoinSet<Vec<Call>>,
    phases: Vec<(Phase, Instant)>,
    load: Load,
}

impl Load {
    /// Begins, in [`Phase::Normal`].
    pub fn start(self) -> Running {
        let (stop, stopped) = watch::channel(false);
        let mut calls = JoinSet::new();
        calls.spawn(drive(self.clone(), stopped));
        Running { stop, calls, phases: vec![(Phase::Normal, Instant::now())], load: self }
    }
}

impl Running {
    /// From now on it is this phase.
    pub fn enter(&mut self, phase: Phase) {
        self.phases.push((phase, Instant::now()));
    }

    /// The present phase goes on for this long.
    pub async fn lasts(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Makes no more calls, and waits for those under way.
    pub async fn end(mut self) -> Ledger {
        self.stop.send_replace(true);
        let calls = self.calls.join_next().await.unwrap().unwrap();
        Ledger::new(calls, self.phases, self.load.deadline)
    }
}

async fn drive(load: Load, stopped: watch::Receiver<bool>) -> Vec<Call> {
    let load = Arc::new(load);
    let idle = Arc::new(Mutex::new(Vec::new()));
    let mut dice = Dice::new(load.seed);
    let mut under_way = JoinSet::new();
    let mut calls = Vec::new();
    let mut due = Instant::now();
    let mut id = 0;
    while !*stopped.borrow() {
        tokio::time::sleep_until(due.into()).await;
        under_way.spawn(call(load.clone(), idle.clone(), id, due));
        while let Some(ended) = under_way.try_join_next() {
            calls.push(ended.unwrap());
        }
        id += 1;
        due += Duration::from_secs_f64(-dice.unit().ln() / load.per_second);
    }
    while let Some(ended) = under_way.join_next().await {
        calls.push(ended.unwrap());
    }
    calls
}

type Idle = Mutex<Vec<Http1>>;

async fn call(load: Arc<Load>, idle: Arc<Idle>, id: u64, due: Instant) -> Call {
    let exchange = tokio::time::timeout(load.deadline + LOST, exchange(&load, &idle, id));
    let end = exchange.await.unwrap_or(End::Lost);
    Call { id, due, ended: Instant::now(), end }
}

async fn exchange(load: &Load, idle: &Idle, id: u64) -> End {
    let pool = || idle.lock().unwrap_or_else(PoisonError::into_inner);
    // None is kept where each call has its own. The server closes those that were idle for long.
    let kept = std::iter::from_fn(|| pool().pop()).find(Http1::is_open);
    let connected = match kept {
        Some(client) => Ok(client),
        None => Http1::try_connect(load.address).await,
    };
    let mut client = match connected {
        Ok(client) => client,
        Err(error) => return End::Disconnected(format!("could not connect: {error}")),
    };
    match client.try_send(request(load, id)).await {
        Err(error) => End::Disconnected(error),
        Ok(reply) => {
            if !load.fresh && reply.header("connection") != Some("close") {
                pool().push(client);
            }
            judge(id, &reply)
        }
    }
}

/// A row that holds the call's number, as its id does.
fn request(load: &Load, id: u64) -> Request<Body> {
    let tensors = calls::with_id(id.to_string(), calls::row(&[id as f32]));
    let request = calls::json_within(&load.model, &tensors, load.deadline);
    if load.fresh { with(request, "connection", "close") } else { request }
}

/// An answer is right if it has the call's id and its row.
fn judge(id: u64, reply: &Reply) -> End {
    if reply.status != 200 {
        return End::Refused(reply.status, reply.text());
    }
    let Ok(body) = serde_json::from_slice::<Value>(&reply.body) else {
        return End::Wrong(format!("no JSON: {}", reply.text()));
    };
    let row = body["outputs"][0]["data"][0].as_f64();
    if body["id"].as_str() == Some(&id.to_string()) && row == Some(f64::from(id as f32)) {
        End::Answered
    } else {
        End::Wrong(body.to_string())
    }
}
