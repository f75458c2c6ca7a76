//! Counts of a transport's connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// What a transport's connections are and were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransportStats {
    /// Connections that are open, idle or not.
    pub open: usize,
    /// HTTP/1.1 connections that are kept and have nothing to do.
    pub idle: usize,
    /// Calls that are on h2 connections.
    pub h2_calls: usize,
    /// Connections that were opened.
    pub connects: u64,
    /// Attempts to open one that failed.
    pub connect_failures: u64,
    /// Calls that were sent on a connection which was open already: HTTP/1.1 ones after its first, h2 ones all.
    pub reuses: u64,
}

#[derive(Debug, Default)]
pub(in crate::remote) struct Counters {
    open: AtomicUsize,
    idle: AtomicUsize,
    connects: AtomicU64,
    connect_failures: AtomicU64,
    reuses: AtomicU64,
}

impl Counters {
    pub fn stats(&self) -> TransportStats {
        TransportStats {
            open: self.open.load(Relaxed),
            idle: self.idle.load(Relaxed),
            h2_calls: 0,
            connects: self.connects.load(Relaxed),
            connect_failures: self.connect_failures.load(Relaxed),
            reuses: self.reuses.load(Relaxed),
        }
    }

    pub fn opened(self: &Arc<Self>) -> OpenSocket {
        self.connects.fetch_add(1, Relaxed);
        self.open.fetch_add(1, Relaxed);
        OpenSocket(self.clone())
    }

    pub fn failed(&self) {
        self.connect_failures.fetch_add(1, Relaxed);
    }

    pub fn reused(&self) {
        self.reuses.fetch_add(1, Relaxed);
    }

    pub fn set_idle(&self, idle: usize) {
        self.idle.store(idle, Relaxed);
    }
}

/// Counts a connection as open until it is dropped.
#[derive(Debug)]
pub(in crate::remote) struct OpenSocket(Arc<Counters>);

impl Drop for OpenSocket {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}
