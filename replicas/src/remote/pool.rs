//! HTTP/1.1 connections that have nothing to do.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::http1::Connection;
use super::transport::Counters;

/// The last one in is the first one out, so that those which are not needed grow old.
pub(super) struct Pool {
    idle: Mutex<VecDeque<Idle>>,
    most: usize,
    patience: Duration,
    counters: Arc<Counters>,
}

struct Idle {
    connection: Box<Connection>,
    since: Instant,
}

impl Pool {
    /// Keeps `most` connections, each for `patience`.
    pub fn new(most: usize, patience: Duration, counters: Arc<Counters>) -> Pool {
        Pool { idle: Mutex::default(), most, patience, counters }
    }

    /// A connection that is open as far as this side knows.
    pub fn take(&self) -> Option<Box<Connection>> {
        loop {
            let mut last = {
                let mut idle = self.idle.lock();
                let last = idle.pop_back()?;
                self.counters.set_idle(idle.len());
                last
            };
            if last.is_good(self.patience) {
                return Some(last.connection);
            }
        }
    }

    pub fn put(&self, connection: Box<Connection>) {
        let since = Instant::now();
        let mut idle = self.idle.lock();
        idle.push_back(Idle { connection, since });
        let surplus = if idle.len() > self.most { idle.pop_front() } else { None };
        self.counters.set_idle(idle.len());
        drop(idle);
        drop(surplus);
    }

    /// Closes connections that are too old, or that their servers closed, now and then, for as long as there is a pool.
    pub async fn sweep(pool: Weak<Pool>, patience: Duration) {
        let every = (patience / 2).clamp(Duration::from_millis(10), Duration::from_secs(10));
        loop {
            tokio::time::sleep(every).await;
            let Some(pool) = pool.upgrade() else { return };
            pool.drop_dead();
        }
    }

    /// Looks at one after the other, from the oldest on: each is out of the pool only while the kernel is asked about it, and
    /// no call waits for that.
    fn drop_dead(&self) {
        let (count, mut looked_at) = (self.idle.lock().len(), None);
        for _ in 0..count {
            let oldest = {
                let mut idle = self.idle.lock();
                let next = idle.partition_point(|each| Some(each.since) <= looked_at);
                idle.remove(next)
            };
            let Some(mut oldest) = oldest else { break };
            looked_at = Some(oldest.since);
            let is_good = oldest.is_good(self.patience);
            let mut idle = self.idle.lock();
            if is_good && idle.len() < self.most {
                let place = idle.partition_point(|each| each.since <= oldest.since);
                idle.insert(place, oldest);
            }
            self.counters.set_idle(idle.len());
        }
    }
}

impl Idle {
    fn is_good(&mut self, patience: Duration) -> bool {
        self.since.elapsed() < patience && self.connection.is_quiet()
    }
}
