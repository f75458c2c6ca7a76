//! A thread that sends: a runtime and connections of its own, and run after run what it is told.

use std::cell::RefCell;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, LocalOptions};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};

use super::clock::Clock;
use super::links::Links;
use super::schedule::Schedule;
use super::sender::{Context, Sender};
use super::share::Share;
use super::{Setup, closed, open};
use crate::measure::{Recorder, Slice, Totals};

/// How often a thread looks whether a window is over, though nothing happened, or the run is to stop.
const LOOK: Duration = Duration::from_millis(20);
/// How long answers are awaited after a stop, if the time limit isn't shorter.
pub const GRACE: Duration = Duration::from_secs(5);

/// One thread's part of a run.
pub(super) struct Job {
    /// The run's number among all of the engine's.
    pub run: u64,
    /// From zero, of those that take part.
    pub thread: usize,
    pub part: Part,
    pub schedule: Arc<Schedule>,
    pub window: Duration,
    pub tell: mpsc::Sender<Told>,
}

pub(super) enum Part {
    Open {
        share: Share,
        most_senders: usize,
    },
    /// The callers of these numbers, of so many.
    Closed {
        callers: Vec<u64>,
        of: u64,
        think: Duration,
    },
}

/// What a thread tells of a run.
pub(super) enum Told {
    Window(Box<Slice>),
    Done(Box<Done>),
    Failed(std::io::Error),
}

pub(super) struct Done {
    pub totals: Totals,
    pub connections: usize,
}

/// Runs jobs until no more can come. Tells first whether it can.
pub(super) fn work(
    setup: Setup,
    connections: usize,
    mut jobs: tokio::sync::mpsc::Receiver<Job>,
    ready: &mpsc::Sender<std::io::Result<()>>,
) {
    let runtime = match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
        Ok(runtime) => runtime,
        Err(error) => {
            // The engine waits for this, unless it has given up already.
            let _ = ready.send(Err(error));
            return;
        }
    };
    let _ = ready.send(Ok(()));
    runtime.block_on(async {
        let protocol = setup.workload.summary.protocol;
        let links = Rc::new(Links::new(setup.client.clone(), protocol, connections));
        // Connections are driven while it waits.
        while let Some(job) = jobs.recv().await {
            run(&setup, &links, job).await;
        }
    });
}

async fn run(setup: &Setup, links: &Rc<Links>, job: Job) {
    let Job { run, thread, part, schedule, window, tell } = job;
    let clock = match Clock::new() {
        Ok(clock) => Rc::new(clock),
        Err(error) => {
            let _ = tell.send(Told::Failed(error));
            return;
        }
    };
    let tell_window = tell.clone();
    let hand_over = move |slice| {
        // Nobody listens any more only where the run was given up.
        let _ = tell_window.send(Told::Window(Box::new(slice)));
    };
    let recorder = Recorder::new(thread, schedule.start(), window, setup.slo.clone(), hand_over);
    let context = Rc::new(Context {
        run,
        workload: setup.workload.clone(),
        timeout: setup.timeout,
        schedule,
        clock: clock.clone(),
        recorder: RefCell::new(recorder),
        links: links.clone(),
    });
    let mut helpers = JoinSet::new();
    helpers.spawn_local(async move { clock.run().await });
    helpers.spawn_local(look(context.clone()));

    let mut senders = JoinSet::new();
    let count = match part {
        Part::Open { share, most_senders } => open::run(&context, share, most_senders, &mut senders).await,
        Part::Closed { callers, of, think } => {
            for (index, number) in callers.iter().enumerate() {
                let sender = Sender::new(context.clone(), index);
                senders.spawn_local(closed::call(context.clone(), sender, *number, of, think));
            }
            callers.len()
        }
    };
    drain(&context, &mut senders).await;
    helpers.shutdown().await;
    let connections = links.count(count);
    // All who shared it have ended.
    if let Some(context) = Rc::into_inner(context) {
        let totals = context.recorder.into_inner().finish(Instant::now());
        let _ = tell.send(Told::Done(Box::new(Done { totals, connections })));
    }
}

/// Cuts windows in which nothing happens, and ends waits when the run is to stop.
async fn look(context: Rc<Context>) {
    loop {
        sleep(LOOK).await;
        let now = Instant::now();
        context.recorder.borrow_mut().roll(now);
        if context.schedule.look_for_stop(now) {
            context.clock.interrupt();
        }
    }
}

/// Waits for all senders; once the run is to stop, not for long.
async fn drain(context: &Context, senders: &mut JoinSet<()>) {
    let grace = GRACE.min(context.timeout);
    let give_up = |at: Duration| context.schedule.start() + at + grace;
    loop {
        match timeout(LOOK, senders.join_next()).await {
            Ok(None) => return,
            Ok(Some(ended)) => check(ended),
            Err(_) if context.schedule.stopped_at().is_some_and(|at| Instant::now() >= give_up(at)) => {
                senders.abort_all();
            }
            Err(_) => {}
        }
    }
}

/// A sender that panicked takes its thread with it, and so the run.
fn check(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        resume_unwind(error.into_panic());
    }
}
