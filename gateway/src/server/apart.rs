//! A future that is polled when it was woken itself, and not whenever its neighbours in the same task are: what ends a
//! connection is looked at once in a while, and the connection at every piece of every answer.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;

/// A future with a waker of its own.
pub struct Apart<F> {
    future: F,
    bell: Arc<Bell>,
    waker: Waker,
    /// Whom the bell wakes, as it was told last.
    task: Option<Waker>,
}

struct Bell {
    rang: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl<F: Future + Unpin> Apart<F> {
    pub fn new(future: F) -> Self {
        // It has not been polled yet.
        let bell = Arc::new(Bell { rang: AtomicBool::new(true), task: Mutex::default() });
        Apart { future, waker: Waker::from(bell.clone()), bell, task: None }
    }
}

impl<F: Future + Unpin> Future for Apart<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Apart { future, bell, waker, task } = &mut *self;
        if !task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            *task = Some(cx.waker().clone());
            bell.task.lock().clone_from(task);
        }
        // Asked after the bell knows whom to wake.
        if !bell.rang.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        bell.rang.store(false, Ordering::Release);
        Pin::new(future).poll(&mut Context::from_waker(waker))
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rang.store(true, Ordering::Release);
        if let Some(task) = &*self.task.lock() {
            task.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use tokio::sync::Notify;
    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test]
    async fn it_is_polled_when_it_was_woken_and_no_more() {
        let (polls, told) = (AtomicUsize::new(0), Notify::new());
        let waits = async {
            let mut notified = pin!(told.notified());
            std::future::poll_fn(|cx| {
                polls.fetch_add(1, Ordering::Relaxed);
                notified.as_mut().poll(cx)
            })
            .await;
        };
        let mut waits = pin!(waits);
        let mut apart = Apart::new(waits.as_mut());
        for _ in 0..10 {
            let at_once = tokio::time::timeout(Duration::ZERO, &mut apart).await;
            assert!(at_once.is_err());
        }
        assert_eq!(polls.load(Ordering::Relaxed), 1);
        told.notify_one();
        assert!(tokio::time::timeout(Duration::from_secs(60), apart).await.is_ok());
        assert_eq!(polls.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn it_wakes_the_task_that_waits_for_it_now() {
        let told = Arc::new(Notify::new());
        let notified = told.clone();
        let mut apart = Apart::new(Box::pin(async move { notified.notified().await }));
        assert!(tokio::time::timeout(Duration::ZERO, &mut apart).await.is_err());
        let mut elsewhere = JoinSet::new();
        elsewhere.spawn(apart);
        tokio::task::yield_now().await;
        told.notify_one();
        assert!(tokio::time::timeout(Duration::from_secs(60), elsewhere.join_next()).await.is_ok());
    }
}
