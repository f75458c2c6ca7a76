//! Timers that are moved far more often than they fire. Moving one in the runtime takes a lock that all threads share: these
//! are looked at when they fire, and set anew only then.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use parking_lot::Mutex;

/// One timer for any number of waits, one after the other.
#[derive(Default)]
pub struct LazyTimer {
    timer: Option<Pin<Box<tokio::time::Sleep>>>,
    /// The task that it wakes.
    wakes: Option<Waker>,
}

impl LazyTimer {
    /// Ready once it is `until`. It may be another time with each call.
    pub fn poll_until(&mut self, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until.into())));
        let is_armed = !timer.is_elapsed() && timer.deadline() <= until.into();
        if is_armed && self.wakes.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            // It will wake this task, if only to be set anew.
            return Poll::Pending;
        }
        self.wakes = Some(cx.waker().clone());
        if timer.deadline() > until.into() {
            timer.as_mut().reset(until.into());
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= until {
                return Poll::Ready(());
            }
            // It was set for an earlier wait.
            timer.as_mut().reset(until.into());
        }
    }
}

/// The timer of one HTTP/1 connection, whose task waits for one thing at a time: the next head, for which hyper would set a
/// new timer each time, or a server.
#[derive(Clone, Default)]
pub struct ConnectionTimer(Arc<Mutex<LazyTimer>>);

impl ConnectionTimer {
    /// What comes of a future by then; none where it takes longer. Only the connection's own task may wait.
    pub async fn timeout_at<F: Future>(&self, until: Instant, mut future: Pin<&mut F>) -> Option<F::Output> {
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => self.0.lock().poll_until(until, cx).map(|()| None),
        })
        .await
    }
}

/// A wait of a connection.
struct Wait {
    until: Instant,
    timer: Arc<Mutex<LazyTimer>>,
}

impl Future for Wait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.lock().poll_until(self.until, cx)
    }
}

impl Sleep for Wait {}

impl Timer for ConnectionTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, until: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Wait { until, timer: self.0.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wait_that_was_given_up_does_not_end_the_next_one() {
        let mut timer = LazyTimer::default();
        let (soon, late) = (Instant::now() + Duration::from_millis(10), Instant::now() + Duration::from_secs(600));
        assert!(poll_fn(|cx| Poll::Ready(timer.poll_until(soon, cx))).await.is_pending());
        // The timer still stands at the first, and fires meanwhile.
        let waits = poll_fn(|cx| timer.poll_until(late, cx));
        assert!(tokio::time::timeout(Duration::from_millis(100), waits).await.is_err());
        assert!(poll_fn(|cx| Poll::Ready(timer.poll_until(soon, cx))).await.is_ready(), "it may be earlier, too");
    }
}
