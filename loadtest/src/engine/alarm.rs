//! A time limit that costs a request next to nothing.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Instant;

use tokio::task::unconstrained;
use tokio::time::Sleep;

/// One timer for a sender that has one request at a time.
///
/// It is not set anew for each request, but only when it rings too early, and then to where it should be: with a limit
/// of 30 s, about once in 30 s.
#[derive(Default)]
pub(super) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// What `future` gives, or None if it has not by `limit`; then it is dropped. Late by a millisecond at most.
    pub async fn before<F: Future>(&mut self, limit: Instant, future: F) -> Option<F::Output> {
        let limit = tokio::time::Instant::from_std(limit);
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(limit)));
        let mut future = pin!(future);
        poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Some(output));
            }
            if sleep.deadline() > limit {
                sleep.as_mut().reset(limit);
            }
            // A call that always finds something to read uses up what a task may do at a time. The timer must ring all the
            // same.
            while Pin::new(&mut unconstrained(sleep.as_mut())).poll(context).is_ready() {
                if sleep.deadline() >= limit {
                    return Poll::Ready(None);
                }
                sleep.as_mut().reset(limit);
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn limits_are_kept_though_the_timer_is_not_set_for_each() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut alarm = Alarm::default();
            let start = Instant::now();
            let never = std::future::pending::<()>;
            let at = |ms| start + Duration::from_millis(ms);
            assert_eq!(alarm.before(at(5), async { 1 }).await, Some(1));
            assert_eq!(alarm.before(at(10), tokio::task::yield_now()).await, Some(()));
            // The timer stands at 10 ms.
            assert_eq!(alarm.before(at(40), never()).await, None);
            assert!(start.elapsed() >= Duration::from_millis(40));
            // A limit that has passed already, and one before the last.
            assert_eq!(alarm.before(at(0), never()).await, None);
            assert_eq!(alarm.before(at(0), async { 2 }).await, Some(2));
        });
    }

    #[test]
    fn a_call_that_is_never_idle_is_given_up_too() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let start = Instant::now();
            // As one that reads from a socket in which there is always something.
            let endless = async {
                while start.elapsed() < Duration::from_secs(2) {
                    tokio::task::consume_budget().await;
                }
            };
            assert_eq!(Alarm::default().before(start + Duration::from_millis(50), endless).await, None);
        });
    }
}
