//! How many calls are on a connection at once, and who waits for a turn.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use crate::client::gauges::Gauges;

/// The streams of one connection. Turns go in the order they were asked for.
#[derive(Debug)]
pub(super) struct Streams {
    free: Semaphore,
    /// How many there are, free or not.
    all: AtomicUsize,
    /// How many the server allows, as was last seen.
    allowed: AtomicUsize,
    /// Hears of calls that were dropped before they had ended.
    pub(super) dropped: Notify,
    /// The server does not answer any more.
    given_up: AtomicBool,
}

impl Streams {
    pub(super) fn new(allowed: usize) -> Streams {
        let allowed = allowed.min(Semaphore::MAX_PERMITS);
        Streams {
            free: Semaphore::new(allowed),
            all: AtomicUsize::new(allowed),
            allowed: AtomicUsize::new(allowed),
            dropped: Notify::new(),
            given_up: AtomicBool::new(false),
        }
    }

    /// A turn on a stream of a server that allows so many at once. Who has to wait is counted.
    pub(super) async fn turn<'a>(&'a self, allowed: usize, gauges: &Gauges) -> Turn<'a> {
        self.allow(allowed);
        let permit = match self.free.try_acquire() {
            Ok(permit) => Some(permit),
            Err(_) => {
                let _waits = gauges.waits();
                // Fails only where the semaphore is closed, which this one never is.
                self.free.acquire().await.ok()
            }
        };
        Turn { streams: self, permit, has_ended: false }
    }

    pub(super) fn in_use(&self) -> usize {
        self.all.load(Relaxed).saturating_sub(self.free.available_permits())
    }

    pub(super) fn give_up(&self) {
        self.given_up.store(true, Relaxed);
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.load(Relaxed)
    }

    /// The server may change its mind. Streams that are too many are taken away as they become free.
    fn allow(&self, allowed: usize) {
        let allowed = allowed.min(Semaphore::MAX_PERMITS);
        let before = self.allowed.swap(allowed, Relaxed);
        if before == allowed {
            return;
        }
        let all = self.all.load(Relaxed);
        if allowed > all {
            self.all.fetch_add(allowed - all, Relaxed);
            self.free.add_permits(allowed - all);
        } else {
            self.all.fetch_sub(self.free.forget_permits(all - allowed), Relaxed);
        }
    }
}

/// Gives its stream back when it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    streams: &'a Streams,
    permit: Option<SemaphorePermit<'a>>,
    has_ended: bool,
}

impl Turn<'_> {
    /// The call has its answer, or has failed.
    pub(super) fn end(mut self) {
        self.has_ended = true;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let Streams { all, allowed, dropped, .. } = self.streams;
        if !self.has_ended {
            dropped.notify_one();
        }
        if all.load(Relaxed) > allowed.load(Relaxed)
            && let Some(permit) = self.permit.take()
        {
            permit.forget();
            all.fetch_sub(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Waker};

    use super::*;

    fn now<F: Future>(future: F) -> Option<F::Output> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        }
    }

    #[test]
    fn no_more_at_once_than_the_server_allows_and_who_waits_is_counted() {
        let (streams, gauges) = (Streams::new(2), Arc::new(Gauges::default()));
        let first = now(streams.turn(2, &gauges)).unwrap();
        let _second = now(streams.turn(2, &gauges)).unwrap();
        assert_eq!(gauges.take().most_waiting, 0);
        assert!(now(streams.turn(2, &gauges)).is_none());
        assert_eq!((gauges.take().most_waiting, streams.in_use()), (1, 2));
        first.end();
        let _third = now(streams.turn(2, &gauges)).unwrap();
        assert_eq!(gauges.take().most_waiting, 0);
    }

    #[test]
    fn the_server_may_change_its_mind() {
        let (streams, gauges) = (Streams::new(1), Gauges::default());
        let turns: Vec<_> = (0..3).map(|_| now(streams.turn(3, &gauges)).unwrap()).collect();
        assert!(now(streams.turn(1, &gauges)).is_none());
        let mut turns = turns.into_iter();
        turns.next().unwrap().end();
        turns.next().unwrap().end();
        assert!(now(streams.turn(1, &gauges)).is_none(), "one is in use, and one is allowed");
        turns.next().unwrap().end();
        assert!(now(streams.turn(1, &gauges)).is_some());
        let most: Vec<_> = (0..5).map_while(|_| now(streams.turn(usize::MAX, &gauges))).collect();
        assert_eq!((most.len(), streams.in_use()), (5, 5));
    }
}
