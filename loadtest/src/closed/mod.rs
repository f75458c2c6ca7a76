//! The closed loop that benchmarks of a server drive.
//!
//! It is not the load tester's (`engine`), which measures anybody's server and goes on whatever fails. Here connections are
//! all opened beforehand and stay open between runs, and nothing is in flight before or after one. So what a server's CPU
//! clock or counters gained over a run belongs to exactly the requests that the run reports. A failure ends its caller: a
//! connection that broke is not opened again, and a benchmark with failures is worth nothing anyway.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::Result;
use crate::client::{Client, Connection, Failure};
use crate::request::{Answer, Protocol, Request};
use crate::stats::Latencies;

/// Says whether an answer is right. It gets the index of the request it belongs to.
pub type Check = Arc<dyn Fn(usize, &Answer) -> bool + Send + Sync>;

/// Who calls what.
#[derive(Clone)]
pub struct Plan {
    pub address: SocketAddr,
    /// Sent in turn, whichever caller is free; all go the same way.
    pub requests: Arc<[Request]>,
    pub callers: usize,
    /// gRPC calls can share connections; HTTP/1.1 callers have one each.
    pub shared_connections: Option<usize>,
    pub check: Option<Check>,
}

/// When a run ends. Requests in flight are always awaited.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    Requests(u64),
    After(Duration),
}

/// What a run saw.
#[derive(Debug)]
pub struct Report {
    /// Latencies of the requests that were answered well.
    pub latencies: Latencies,
    pub elapsed: Duration,
    /// All that went otherwise, by outcome: a status, `wrong answer`, or an error's text.
    pub failures: BTreeMap<String, u64>,
}

impl Report {
    /// Requests answered well.
    pub fn answered(&self) -> u64 {
        self.latencies.count() as u64
    }

    pub fn per_second(&self) -> f64 {
        self.answered() as f64 / self.elapsed.as_secs_f64()
    }

    /// The report, or an error where anything failed: a benchmark of failures is worth nothing.
    pub fn all_well(self) -> Result<Report> {
        match self.failures.iter().next() {
            None => Ok(self),
            Some((failure, count)) => Err(crate::error(format!("{count} requests failed: {failure}"))),
        }
    }
}

/// Callers with open connections.
pub struct Callers {
    shared: Arc<Shared>,
    idle: Vec<Connection>,
    /// What the connections need beside them.
    drivers: JoinSet<()>,
}

struct Shared {
    requests: Arc<[Request]>,
    check: Option<Check>,
    next: AtomicU64,
}

impl Callers {
    pub async fn connect(plan: Plan) -> Result<Callers> {
        let Some(protocol) = plan.requests.first().map(|request| request.protocol) else {
            return Err(crate::error("a plan needs a request"));
        };
        let client = Client::plain(plan.address)?;
        let mut drivers = JoinSet::new();
        let mut idle: Vec<Connection> = Vec::with_capacity(plan.callers);
        let distinct = match (protocol, plan.shared_connections) {
            (Protocol::Grpc, Some(count)) => count.clamp(1, plan.callers.max(1)),
            _ => plan.callers,
        };
        for caller in 0..plan.callers {
            let connection = match idle.get(caller % distinct).and_then(Connection::share) {
                Some(connection) => connection,
                None => client.connect(protocol, &mut drivers).await.map_err(failed)?,
            };
            idle.push(connection);
        }
        let shared = Shared { requests: plan.requests, check: plan.check, next: AtomicU64::new(0) };
        Ok(Callers { shared: Arc::new(shared), idle, drivers })
    }

    /// One run. It begins with the first request of the plan.
    pub async fn run(&mut self, until: Until) -> Result<Report> {
        self.shared.next.store(0, Ordering::Relaxed);
        let started = Instant::now();
        let (last, end) = match until {
            Until::Requests(count) => (count, None),
            Until::After(time) => (u64::MAX, Some(started + time)),
        };
        let mut running = JoinSet::new();
        for connection in self.idle.drain(..) {
            running.spawn(caller(self.shared.clone(), connection, last, end));
        }
        let mut nanos = Vec::new();
        let mut failures = BTreeMap::new();
        while let Some(done) = running.join_next().await {
            let (connection, seen) = done.map_err(crate::error)?;
            self.idle.push(connection);
            nanos.extend(seen.nanos);
            for (failure, count) in seen.failures {
                *failures.entry(failure).or_default() += count;
            }
        }
        Ok(Report { latencies: Latencies::new(nanos), elapsed: started.elapsed(), failures })
    }

    /// Sends one request outside any run.
    pub async fn ask(&mut self, index: usize) -> Result<Answer> {
        let request = self.shared.requests.get(index).ok_or_else(|| crate::error("there is no such request"))?;
        let connection = self.idle.first_mut().ok_or_else(|| crate::error("there is no caller"))?;
        connection.call(request, true).await.result.map_err(failed)
    }

    /// Closes the connections.
    pub async fn close(mut self) {
        self.idle.clear();
        while self.drivers.join_next().await.is_some() {}
    }
}

#[derive(Default)]
struct Seen {
    nanos: Vec<u64>,
    failures: BTreeMap<String, u64>,
}

async fn caller(
    shared: Arc<Shared>,
    mut connection: Connection,
    last: u64,
    end: Option<Instant>,
) -> (Connection, Seen) {
    let mut seen = Seen::default();
    let mut now = Instant::now();
    while end.is_none_or(|end| now < end) {
        let turn = shared.next.fetch_add(1, Ordering::Relaxed);
        if turn >= last {
            break;
        }
        let index = (turn % shared.requests.len() as u64) as usize;
        let due = now;
        let call = connection.call(&shared.requests[index], shared.check.is_some()).await;
        now = call.done;
        let failure = match call.result {
            Ok(answer) if !answer.is_ok() => answer.outcome(),
            Ok(answer) if shared.check.as_ref().is_some_and(|check| !check(index, &answer)) => {
                "wrong answer".to_owned()
            }
            Ok(_) => {
                seen.nanos.push(u64::try_from((now - due).as_nanos()).unwrap_or(u64::MAX));
                continue;
            }
            Err(failure) => {
                // This caller is done.
                *seen.failures.entry(failure.to_string()).or_default() += 1;
                break;
            }
        };
        *seen.failures.entry(failure).or_default() += 1;
    }
    (connection, seen)
}

fn failed(failure: Failure) -> std::io::Error {
    crate::error(failure.to_string())
}

/// A runtime for callers: one thread, the caller's own.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
