//! One sender: a connection of its own or a share of one, and a request at a time on it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

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
        let outcome = &Outcome::Unsent;
        let ended = Ended { measured, due, sent: None, done, behind: true, outcome, answer: None };
        self.recorder.borrow_mut().ended(&ended);
    }
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
        Sender { context, number, link: None, alarm: Alarm::default() }
    }

    /// Sends the request of an arrival, and those that follow from the answers. All but the first are counted as due
    /// here.
    pub async fn serve(&mut self, number: u64, mut turn: Turn) -> Served {
        let context = self.context.clone();
        let mut request = context.workload.request(context.run, number);
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
        let call = self.alarm.before(limit, async move {
            let link = match link {
                Some(open) if open.is_open() => open,
                _ => link.insert(links.get(number).await?),
            };
            Ok(link.call(request, request.wants_body()).await)
        });
        let (sent, done, outcome, answer, broke) = match call.await {
            Some(Ok(Call { sent, done, result: Ok(answer), .. })) => {
                (Some(sent), done, context.workload.judge(request, &answer), Some(answer), false)
            }
            Some(Ok(Call { sent, done, result: Err(failure), .. })) => {
                (Some(sent), done, self.failed(failure, turn), None, true)
            }
            Some(Err(failure)) => (None, Instant::now(), self.failed(failure, turn), None, true),
            None => (None, Instant::now(), Outcome::TimedOut, None, false),
        };
        // One that broke or was given up is closed now, not when the next request is due.
        self.link.take_if(|link| !link.is_open());
        let behind = sent.is_some_and(|sent| context.schedule.is_behind(sent));
        let ended = Ended {
            measured: turn.measured,
            due: turn.due,
            sent,
            done,
            behind,
            outcome: &outcome,
            answer: answer.as_ref(),
        };
        context.recorder.borrow_mut().ended(&ended);
        (Served { done, broke }, answer.filter(|_| outcome == Outcome::Ok))
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
