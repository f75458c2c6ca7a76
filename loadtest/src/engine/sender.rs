//! One sender: a connection of its own or a share of one, and a request at a time on it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::alarm::Alarm;
use super::clock::Clock;
use super::links::{Link, Links};
use super::lobby::Arrival;
use super::schedule::{Schedule, later};
use crate::client::{Call, Failure};
use crate::measure::{Ended, Recorder};
use crate::outcome::Outcome;
use crate::request::{Answer, Request};
use crate::workload::Workload;

/// What the senders of a thread share in a run.
pub(super) struct Context {
    /// Its number among all of the engine's.
    pub run: u64,
    pub workload: Arc<Workload>,
    pub timeout: Duration,
    pub schedule: Arc<Schedule>,
    pub clock: Rc<Clock>,
    pub recorder: RefCell<Recorder>,
    pub links: Rc<Links>,
    /// In all threads.
    pub most_in_flight: usize,
}

impl Context {
    /// Waits until something is due. None if it isn't any more, as the run has ended or is to stop.
    pub async fn comes(&self, due: Instant) -> Option<Turn> {
        let end = self.schedule.end();
        if due >= end {
            return None;
        }
        self.clock.until(due).await;
        // The warm-up may have ended meanwhile, and the end come nearer.
        if due >= self.schedule.end() || self.schedule.stopped_at().is_some() {
            return None;
        }
        let measured = self.schedule.is_measured(due);
        self.schedule.take(measured).then_some(Turn { due, measured })
    }

    /// Counts an arrival that no sender had.
    pub fn unsent(&self, arrival: &Arrival, done: Instant) {
        let Arrival { due, measured, .. } = *arrival;
        let outcome = &Outcome::Unsent { in_flight: self.most_in_flight };
        let ended =
            Ended { measured, in_time: false, due, ready: due, sent: None, done, behind: true, outcome, answer: None };
        self.recorder.borrow_mut().ended(&ended);
    }
}

/// Gives a run up at once when the task that holds it panics: nobody may wait for that task before the end.
struct Fuse(Rc<Context>);

impl Drop for Fuse {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.schedule.abandon();
            self.0.clock.interrupt();
        }
    }
}

/// Starts a task without which a run is worth nothing.
pub(super) fn spawn(tasks: &mut JoinSet<()>, context: &Rc<Context>, task: impl Future<Output = ()> + 'static) {
    let fuse = Fuse(context.clone());
    tasks.spawn_local(async move {
        let _fuse = fuse;
        task.await;
    });
}

/// When a request is due, and whether it counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub due: Instant,
    pub measured: bool,
}

pub(super) struct Sender {
    context: Rc<Context>,
    number: usize,
    link: Option<Link>,
    alarm: Alarm,
    /// Since when it has nothing to do.
    free: Instant,
}

/// How a conversation went.
#[derive(Clone, Copy, Debug)]
pub(super) struct Served {
    pub done: Instant,
    /// Whether its last request failed without an answer.
    pub broke: bool,
}

impl Sender {
    pub fn new(context: Rc<Context>, number: usize) -> Sender {
        let free = context.schedule.start();
        Sender { context, number, link: None, alarm: Alarm::default(), free }
    }

    /// Sends a request, and those that follow from the answers. All but the first are counted as due here.
    pub async fn serve(&mut self, mut request: Arc<Request>, mut turn: Turn) -> Served {
        let context = self.context.clone();
        loop {
            let (served, answer) = self.ask(&request, turn).await;
            let Some(next) = answer.and_then(|answer| context.workload.next(&request, &answer)) else { return served };
            let Some(due) = context.comes(later(served.done, next.after)).await else { return served };
            context.recorder.borrow_mut().due(due.due, due.measured);
            (request, turn) = (next.request, due);
        }
    }

    /// Sends one request, and counts what becomes of it. Gives the answer if it was right.
    async fn ask(&mut self, request: &Request, turn: Turn) -> (Served, Option<Answer>) {
        let context = self.context.clone();
        context.recorder.borrow_mut().begun();
        let limit = turn.due + context.timeout;
        let (link, links, number) = (&mut self.link, &context.links, self.number);
        // A call that takes too long is dropped, and can't tell.
        let called = &Cell::new(None);
        let call = self.alarm.before(limit, async move {
            let link = match link {
                Some(open) if open.is_open() => open,
                _ => link.insert(links.get(number).await?),
            };
            called.set(Some(Instant::now()));
            Ok(link.call(request, request.wants_body()).await)
        });
        let (sent, done, outcome, answer, broke) = match call.await {
            Some(Ok(Call { sent, done, result: Ok(answer), .. })) => {
                let outcome = self.judge(request, &answer, turn);
                (Some(sent), done, outcome, Some(answer), false)
            }
            Some(Ok(Call { sent, done, result: Err(failure), .. })) => {
                (Some(sent), done, self.failed(failure, turn), None, true)
            }
            Some(Err(failure)) => (None, Instant::now(), self.failed(failure, turn), None, true),
            None => (called.get(), Instant::now(), Outcome::TimedOut, None, false),
        };
        // One that broke or was given up is closed now, not when the next request is due.
        self.link.take_if(|link| !link.is_open());
        let behind = sent.is_some_and(|sent| context.schedule.is_behind(sent));
        let ended = Ended {
            measured: turn.measured,
            in_time: context.schedule.is_in_time(done),
            due: turn.due,
            ready: turn.due.max(self.free),
            sent,
            done,
            behind,
            outcome: &outcome,
            answer: answer.as_ref(),
        };
        context.recorder.borrow_mut().ended(&ended);
        self.free = done;
        (Served { done, broke }, answer.filter(|_| outcome == Outcome::Ok))
    }

    fn judge(&self, request: &Request, answer: &Answer, turn: Turn) -> Outcome {
        let mut recorder = self.context.recorder.borrow_mut();
        self.context.workload.judge(request, answer, recorder.samples(turn.measured))
    }

    fn failed(&self, failure: Failure, turn: Turn) -> Outcome {
        self.context.recorder.borrow_mut().failure(&failure, turn.measured);
        failure.into()
    }
}

impl Drop for Sender {
    /// The connection stays, for the next run.
    fn drop(&mut self) {
        if let Some(link) = self.link.take() {
            self.context.links.put(link);
        }
    }
}
