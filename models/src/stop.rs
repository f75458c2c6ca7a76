//! Asking a load to end before it is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

type Hook = Box<dyn FnOnce() + Send>;

/// A wish that whoever loads looks at now and then; asked once, it stays. Clones share it.
#[derive(Clone, Default)]
pub struct Stop(Arc<Shared>);

#[derive(Default)]
struct Shared {
    asked: AtomicBool,
    hook: Mutex<Option<Hook>>,
    waker: Condvar,
}

/// Takes its hook away again when it is dropped.
pub(crate) struct Hooked<'a>(&'a Stop);

impl Stop {
    pub fn ask(&self) {
        // Under the lock, so that it is not missed between a look and a wait, nor by a hook that is just being set.
        let mut hook = self.0.hook.lock();
        self.0.asked.store(true, Ordering::Release);
        let hook = hook.take();
        self.0.waker.notify_all();
        if let Some(hook) = hook {
            hook();
        }
    }

    pub fn asked(&self) -> bool {
        self.0.asked.load(Ordering::Acquire)
    }

    /// Waits, but not longer than until a stop is asked for; says whether it is.
    pub fn wait(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        let mut hook = self.0.hook.lock();
        while !self.asked() && !self.0.waker.wait_until(&mut hook, until).timed_out() {}
        self.asked()
    }

    /// Has `hook` run by whoever asks for the stop, to end what would not look for a while. There is one at a time.
    pub(crate) fn hook(&self, hook: impl FnOnce() + Send + 'static) -> Hooked<'_> {
        let mut place = self.0.hook.lock();
        if self.asked() {
            drop(place);
            hook();
        } else {
            *place = Some(Box::new(hook));
        }
        Hooked(self)
    }
}

impl Drop for Hooked<'_> {
    fn drop(&mut self) {
        self.0.0.hook.lock().take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_ends_a_wait_and_runs_the_hook_once() {
        let stop = Stop::default();
        let ran = Arc::new(AtomicBool::new(false));
        let hooked = stop.hook({
            let ran = ran.clone();
            move || assert!(!ran.swap(true, Ordering::Relaxed))
        });
        assert!(!stop.wait(Duration::from_millis(1)));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| stop.wait(Duration::from_secs(3600)));
            stop.ask();
            stop.ask();
            assert!(waiting.join().unwrap());
        });
        assert!(ran.load(Ordering::Relaxed) && stop.asked());
        drop(hooked);
    }

    #[test]
    fn a_hook_that_comes_late_runs_at_once_and_one_that_is_dropped_never() {
        let (early, late) = (Stop::default(), Stop::default());
        drop(early.hook(|| panic!("it was taken away")));
        early.ask();
        late.ask();
        let ran = Arc::new(AtomicBool::new(false));
        let flag = ran.clone();
        drop(late.hook(move || flag.store(true, Ordering::Relaxed)));
        assert!(ran.load(Ordering::Relaxed));
    }
}
