//! Waiting for an instant, exactly.
//!
//! The runtime's timers tick in milliseconds, which is longer than many answers take. On Linux one `timerfd` for each
//! thread wakes within microseconds. Elsewhere the runtime's timers are used, and requests are sent up to a millisecond
//! late: that shows as lag.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use self::timer::Timer;

/// A thread's clock. Its waits end when [`Clock::run`] sees their time come, or at once when it is interrupted.
pub(super) struct Clock {
    timer: Timer,
    waiting: RefCell<BinaryHeap<Reverse<Waiting>>>,
    /// What the timer is set to.
    set_to: Cell<Option<Instant>>,
    interrupted: Cell<bool>,
}

struct Waiting {
    at: Instant,
    waker: Waker,
}

impl Clock {
    pub fn new() -> std::io::Result<Clock> {
        Ok(Clock {
            timer: Timer::new()?,
            waiting: RefCell::new(BinaryHeap::new()),
            set_to: Cell::new(None),
            interrupted: Cell::new(false),
        })
    }

    /// Waits until `at`, or until the clock is interrupted.
    pub async fn until(&self, at: Instant) {
        let mut is_waiting = false;
        poll_fn(|context| {
            if self.interrupted.get() || Instant::now() >= at {
                return Poll::Ready(());
            }
            if !is_waiting {
                is_waiting = true;
                self.wait(at, context);
            }
            Poll::Pending
        })
        .await;
    }

    /// Ends all waits, those to come included.
    pub fn interrupt(&self) {
        self.interrupted.set(true);
        self.waiting.take().into_iter().for_each(|Reverse(waiting)| waiting.waker.wake());
    }

    /// Wakes whoever waits, when it is time. Never returns.
    pub async fn run(&self) {
        loop {
            self.timer.rings().await;
            self.set_to.set(None);
            let now = Instant::now();
            let mut waiting = self.waiting.borrow_mut();
            while let Some(Reverse(first)) = waiting.peek() {
                if first.at > now {
                    self.set(first.at, now);
                    break;
                }
                if let Some(Reverse(first)) = waiting.pop() {
                    first.waker.wake();
                }
            }
        }
    }

    fn wait(&self, at: Instant, context: &Context<'_>) {
        self.waiting.borrow_mut().push(Reverse(Waiting { at, waker: context.waker().clone() }));
        if self.set_to.get().is_none_or(|set_to| at < set_to) {
            self.set(at, Instant::now());
        }
    }

    fn set(&self, at: Instant, now: Instant) {
        self.set_to.set(Some(at));
        // Zero would switch it off.
        self.timer.set(at.saturating_duration_since(now).max(Duration::from_nanos(1)));
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Waiting) -> bool {
        self.at == other.at
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Waiting) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Waiting) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

#[cfg(target_os = "linux")]
mod timer {
    use std::os::fd::OwnedFd;
    use std::time::Duration;

    use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    pub struct Timer(AsyncFd<OwnedFd>);

    impl Timer {
        #[expect(
            deprecated,
            reason = "its successor is unsafe, for files that are closed or replaced meanwhile: not an OwnedFd"
        )]
        pub fn new() -> std::io::Result<Timer> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let file = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
            Ok(Timer(AsyncFd::with_interest(file, Interest::READABLE)?))
        }

        pub fn set(&self, after: Duration) {
            let once = Itimerspec {
                it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
                it_value: Timespec {
                    tv_sec: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
                    tv_nsec: after.subsec_nanos().into(),
                },
            };
            // Fails only for a file that is no timer, or a time that is none.
            let set = rustix::time::timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once);
            debug_assert!(set.is_ok());
        }

        /// Whether it rang is told at the edge, and setting it again takes a ring back: it need not be read.
        pub async fn rings(&self) {
            match self.0.readable().await {
                Ok(mut ready) => ready.clear_ready(),
                // The runtime shuts down, and its tasks with it.
                Err(_) => std::future::pending().await,
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod timer {
    use std::cell::Cell;
    use std::time::{Duration, Instant};

    use tokio::sync::Notify;

    pub struct Timer {
        at: Cell<Option<Instant>>,
        set: Notify,
    }

    impl Timer {
        pub fn new() -> std::io::Result<Timer> {
            Ok(Timer { at: Cell::new(None), set: Notify::new() })
        }

        pub fn set(&self, after: Duration) {
            self.at.set(Instant::now().checked_add(after));
            self.set.notify_one();
        }

        pub async fn rings(&self) {
            loop {
                match self.at.get() {
                    None => self.set.notified().await,
                    Some(at) => tokio::select! {
                        () = tokio::time::sleep_until(at.into()) => {
                            self.at.set(None);
                            return;
                        }
                        () = self.set.notified() => {}
                    },
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use tokio::runtime::{Builder, LocalOptions};
    use tokio::task::JoinSet;

    use super::*;

    /// Runs with a clock that is driven.
    fn with_clock<F: Future<Output = ()>>(test: impl FnOnce(Rc<Clock>) -> F) {
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
        runtime.block_on(async {
            let clock = Rc::new(Clock::new().unwrap());
            let mut driver = JoinSet::new();
            let driven = clock.clone();
            driver.spawn_local(async move { driven.run().await });
            test(clock).await;
        });
    }

    #[test]
    fn waits_end_in_the_order_of_their_times_and_none_early() {
        with_clock(|clock| async move {
            let start = Instant::now();
            let mut waits = JoinSet::new();
            for ms in [9_u64, 3, 6, 3, 0] {
                let clock = clock.clone();
                waits.spawn_local(async move {
                    clock.until(start + Duration::from_millis(ms)).await;
                    assert!(start.elapsed() >= Duration::from_millis(ms));
                    ms
                });
            }
            let mut order = Vec::new();
            while let Some(ended) = waits.join_next().await {
                order.push(ended.unwrap());
            }
            assert_eq!(order, [0, 3, 3, 6, 9]);
            // And again after it was quiet.
            clock.until(Instant::now() + Duration::from_millis(1)).await;
        });
    }

    #[test]
    fn an_interrupted_clock_keeps_nobody() {
        with_clock(|clock| async move {
            let far = Instant::now() + Duration::from_secs(3_600);
            let waits = clock.clone();
            let mut waiting = JoinSet::new();
            waiting.spawn_local(async move { waits.until(far).await });
            tokio::task::yield_now().await;
            assert!(waiting.try_join_next().is_none());
            clock.interrupt();
            assert!(waiting.join_next().await.is_some());
            clock.until(far).await;
        });
    }
}
