//! Threads of a network's own, that share the parts of one piece of work and sleep between them.
//!
//! The caller works too, and takes parts until there are none left: it never waits for a thread that still has to wake up, only
//! for parts that others have begun. So a slow wake-up, or a core that another process holds, costs what it would have helped
//! and no more.

use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

/// Work on part 0 to n - 1, for any thread.
type Work<'a> = dyn Fn(usize) + Sync + 'a;

pub struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    /// There is work, or the pool ends.
    wake: Condvar,
    /// The last thread is done with the work.
    done: Condvar,
    /// The next part to take.
    next: AtomicUsize,
}

#[derive(Default)]
struct State {
    job: Option<Job>,
    /// Counts the jobs, so that a thread takes part in each once.
    number: u64,
    /// Threads of the pool that are at the job.
    active: usize,
    sleeping: usize,
    panic: Option<Box<dyn std::any::Any + Send>>,
    stop: bool,
}

#[derive(Clone, Copy)]
struct Job {
    work: *const Work<'static>,
    parts: usize,
}

// SAFETY: the work is `Sync`, and `Pool::run` doesn't return while a thread is at it.
unsafe impl Send for Job {}

impl Pool {
    /// A pool of `threads` in all, of which the caller is one.
    pub fn new(threads: usize) -> std::io::Result<Pool> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            wake: Condvar::new(),
            done: Condvar::new(),
            next: AtomicUsize::new(0),
        });
        // Made before its threads, so that those that were started end where a later one can't be.
        let mut pool = Pool { shared, threads: Vec::new() };
        for index in 1..threads {
            let shared = pool.shared.clone();
            let thread = std::thread::Builder::new().name(format!("network-{index}"));
            pool.threads.push(thread.spawn(move || shared.serve())?);
        }
        Ok(pool)
    }

    pub fn threads(&self) -> usize {
        self.threads.len() + 1
    }

    /// Does the work on each part once, on several threads, and returns when all are done.
    ///
    /// A panic in the work comes out here, once no thread is at it.
    pub fn run(&self, parts: usize, work: &Work) {
        if parts <= 1 || self.threads.is_empty() {
            return (0..parts).for_each(work);
        }
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes; the job is taken away below before the borrow ends, when no thread is at it.
        let work: *const Work<'static> = unsafe { std::mem::transmute(std::ptr::from_ref(work)) };
        let job = Job { work, parts };
        let asleep = {
            let mut state = shared.state.lock();
            shared.next.store(0, Ordering::Relaxed);
            state.job = Some(job);
            state.number += 1;
            state.sleeping
        };
        // No more than there are parts for.
        for _ in 0..asleep.min(parts - 1) {
            shared.wake.notify_one();
        }
        let own = catch_unwind(AssertUnwindSafe(|| shared.take_parts(job)));
        let mut state = shared.state.lock();
        state.job = None;
        while state.active > 0 {
            shared.done.wait(&mut state);
        }
        let theirs = state.panic.take();
        drop(state);
        if let Err(panic) = own.and(theirs.map_or(Ok(()), Err)) {
            resume_unwind(panic);
        }
    }
}

impl Shared {
    fn take_parts(&self, job: Job) {
        // SAFETY: `Pool::run` keeps the work alive while a thread is at it.
        let work = unsafe { &*job.work };
        loop {
            let part = self.next.fetch_add(1, Ordering::Relaxed);
            if part >= job.parts {
                return;
            }
            work(part);
        }
    }

    /// What a thread of the pool does until the pool ends.
    fn serve(&self) {
        let mut state = self.state.lock();
        let mut seen = 0;
        loop {
            if state.stop {
                return;
            }
            match state.job {
                Some(job) if state.number != seen => {
                    seen = state.number;
                    state.active += 1;
                    drop(state);
                    let result = catch_unwind(AssertUnwindSafe(|| self.take_parts(job)));
                    state = self.state.lock();
                    if let Err(panic) = result {
                        state.panic = Some(panic);
                    }
                    state.active -= 1;
                    if state.active == 0 {
                        self.done.notify_one();
                    }
                }
                _ => {
                    state.sleeping += 1;
                    self.wake.wait(&mut state);
                    state.sleeping -= 1;
                }
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.state.lock().stop = true;
        self.shared.wake.notify_all();
        for thread in self.threads.drain(..) {
            // Panics were handed to who ran the work.
            let _ = thread.join();
        }
    }
}

/// A slice of which threads write different parts at the same time.
pub struct Disjoint<'a, T> {
    first: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: who takes a part says that no other thread has it.
unsafe impl<T: Send> Sync for Disjoint<'_, T> {}

impl<'a, T> Disjoint<'a, T> {
    pub fn new(slice: &'a mut [T]) -> Self {
        Disjoint { first: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// A part of the slice.
    ///
    /// # Safety
    ///
    /// No other thread reads or writes any of the part while it is in use.
    #[expect(clippy::mut_from_ref)]
    pub unsafe fn slice(&self, first: usize, len: usize) -> &mut [T] {
        assert!(first.checked_add(len).is_some_and(|end| end <= self.len), "{len} from {first} on, of {}", self.len);
        // SAFETY: it lies within the slice, which is borrowed for as long as this, and the caller has it alone.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(first), len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_done_once() {
        for threads in [1, 2, 5] {
            let pool = Pool::new(threads).unwrap();
            assert_eq!(pool.threads(), threads);
            for round in 0..2_000 {
                let mut done = vec![0u32; round % 37];
                let parts = Disjoint::new(&mut done);
                // SAFETY: each part is another element.
                pool.run(round % 37, &|part| unsafe { parts.slice(part, 1)[0] += 1 });
                assert!(done.iter().all(|done| *done == 1), "round {round}: {done:?}");
            }
        }
    }

    #[test]
    fn a_panic_comes_out_and_the_pool_goes_on() {
        let pool = Pool::new(3).unwrap();
        for part in [0, 7, 63] {
            let run = || pool.run(64, &|index| assert_ne!(index, part));
            assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
            let sum = AtomicUsize::new(0);
            pool.run(64, &|index| _ = sum.fetch_add(index, Ordering::Relaxed));
            assert_eq!(sum.into_inner(), 64 * 63 / 2);
        }
    }

    #[test]
    fn a_part_outside_of_the_slice_is_refused() {
        let mut values = [0; 4];
        let parts = Disjoint::new(&mut values);
        // SAFETY: there is one thread.
        let taken = |first, len| catch_unwind(AssertUnwindSafe(|| unsafe { parts.slice(first, len).len() }));
        assert_eq!(taken(1, 3).unwrap(), 3);
        assert!(taken(2, 3).is_err() && taken(usize::MAX, 2).is_err());
    }
}
