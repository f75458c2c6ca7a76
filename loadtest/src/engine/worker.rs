//! A thread that sends: a runtime and connections of its own, and run after run what it is told.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, LocalOptions};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::clock::Clock;
use super::links::Links;
use super::schedule::Schedule;
use super::sender::{Context, Sender, spawn};
use super::share::Share;
use super::{Setup, closed, open};
use crate::Result;
use crate::measure::{Cpu, Grid, Recorder, Slice, Totals};

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
    pub grid: Grid,
    pub tell: mpsc::Sender<Told>,
}

pub(super) enum Part {
    Open { share: Share, most_senders: usize },
    Closed { callers: usize, think: Duration },
}

/// What a thread tells of a run.
pub(super) enum Told {
    Window(Box<Slice>),
    Done(Box<Done>),
    Failed(std::io::Error),
}

pub(super) struct Done {
    pub thread: usize,
    pub totals: Totals,
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
            let tell = job.tell.clone();
            let told = match run(&setup, &links, job).await {
                Ok(done) => Told::Done(Box::new(done)),
                Err(error) => Told::Failed(error),
            };
            // Nobody listens any more only where the run was given up.
            let _ = tell.send(told);
        }
    });
}

async fn run(setup: &Setup, links: &Rc<Links>, job: Job) -> Result<Done> {
    let Job { run, thread, part, schedule, grid, tell } = job;
    let clock = Rc::new(Clock::new()?);
    let hand_over = move |slice| {
        // Nobody listens any more only where the run was given up.
        let _ = tell.send(Told::Window(Box::new(slice)));
    };
    let (start, slo) = (schedule.start(), setup.slo.clone());
    let recorder = Recorder::new(thread, start, grid, slo, Cpu::of_this_thread, hand_over);
    let context = Rc::new(Context {
        run,
        workload: setup.workload.clone(),
        timeout: setup.timeout,
        schedule,
        clock: clock.clone(),
        recorder: RefCell::new(recorder),
        links: links.clone(),
        most_in_flight: setup.most_in_flight,
    });
    let mut helpers = JoinSet::new();
    spawn(&mut helpers, &context, async move { clock.run().await });
    spawn(&mut helpers, &context, look(context.clone()));

    let mut senders = JoinSet::new();
    match part {
        Part::Open { share, most_senders } => open::run(&context, share, most_senders, &mut senders).await,
        Part::Closed { callers, think } => {
            for number in 0..callers {
                let sender = Sender::new(context.clone(), number);
                spawn(&mut senders, &context, closed::call(context.clone(), sender, think));
            }
        }
    }
    drain(&context, &mut senders, &mut helpers).await?;
    helpers.shutdown().await;
    let context = Rc::into_inner(context).ok_or_else(|| crate::error("a task of the load tester did not end"))?;
    let totals = context.recorder.into_inner().finish(Instant::now());
    Ok(Done { thread, totals })
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

/// Waits for all senders; once the run is to stop, not for long, and not at all if nobody will have its result. An error if
/// a sender or helper has panicked.
async fn drain(context: &Context, senders: &mut JoinSet<()>, helpers: &mut JoinSet<()>) -> Result<()> {
    let grace = GRACE.min(context.timeout);
    let give_up = |at: Duration| context.schedule.start() + at + grace;
    loop {
        let ended = timeout(LOOK, senders.join_next()).await;
        let is_all = matches!(ended, Ok(None));
        for ended in ended.ok().flatten().into_iter().chain(helpers.try_join_next()) {
            if let Err(error) = ended
                && error.is_panic()
            {
                return Err(crate::error(format!("the load tester has failed: {error}")));
            }
        }
        if is_all {
            return Ok(());
        }
        let is_late = || context.schedule.stopped_at().is_some_and(|at| Instant::now() >= give_up(at));
        if context.schedule.is_abandoned() || is_late() {
            senders.abort_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;
    use crate::client::Client;
    use crate::engine::schedule::Source;
    use crate::engine::{Stop, Until};
    use crate::request::{Protocol, Request};
    use crate::result::WorkloadSummary;
    use crate::workload::Workload;

    fn context() -> Rc<Context> {
        let summary = WorkloadSummary {
            protocol: Protocol::V2,
            model: None,
            what: String::new(),
            streams: false,
            distinct_requests: Some(1),
            mean_bytes: 0.0,
        };
        let client = Client::plain(SocketAddr::from((Ipv4Addr::LOCALHOST, 9))).unwrap();
        let hour = Duration::from_secs(3_600);
        let (start, grid) = (Instant::now(), Grid::new(hour, Duration::ZERO));
        Rc::new(Context {
            run: 0,
            workload: Arc::new(Workload::of(summary, vec![Request::get(Protocol::V2, "/")]).unwrap()),
            timeout: hour,
            schedule: Arc::new(Schedule::new(start, Duration::ZERO, Until::End, Source::Callers, Stop::default())),
            clock: Rc::new(Clock::new().unwrap()),
            recorder: RefCell::new(Recorder::new(0, start, grid, None, || None, drop)),
            links: Rc::new(Links::new(client, Protocol::V2, 1)),
            most_in_flight: 1,
        })
    }

    #[test]
    fn a_task_that_panics_ends_the_run_at_once() {
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
        for helper_panics in [false, true] {
            let ended = runtime.block_on(async {
                let context = context();
                let (mut senders, mut helpers) = (JoinSet::new(), JoinSet::new());
                spawn(&mut senders, &context, pending());
                spawn(&mut helpers, &context, pending());
                let panics = if helper_panics { &mut helpers } else { &mut senders };
                spawn(panics, &context, async { panic!("a test wants it so") });
                // What waits for its time, as arrivals do, waits no more.
                context.clock.until(Instant::now() + Duration::from_secs(3_600)).await;
                assert!(context.schedule.is_abandoned());
                drain(&context, &mut senders, &mut helpers).await
            });
            assert!(ended.unwrap_err().to_string().contains("a test wants it so"));
        }
    }
}
