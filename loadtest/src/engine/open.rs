//! The open loop: requests are due at their times, whatever became of those before.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{JoinSet, yield_now};

use super::lobby::{Arrival, Entry, Lobby};
use super::schedule::later;
use super::sender::{Context, Sender, Turn, spawn};
use super::share::Share;
use crate::request::Request;

/// The share of its time limit that a request may wait for a connection.
const PATIENCE: f64 = 0.75;

/// Hands arrivals out when they are due, to at most so many senders, until the last or the end.
///
/// Senders are started in `senders` when they are needed, and end when all is served.
pub(super) async fn run(context: &Rc<Context>, mut share: Share, most_senders: usize, senders: &mut JoinSet<()>) {
    let lobby = Rc::new(Lobby::new(most_senders));
    while let Some(next) = share.next() {
        // Made before it is due, as making it may take time.
        let request = context.workload.request(context.run, next.number);
        let Some(now) = is_due(context, next.at).await else { break };
        hand_out(context, &mut share, request, now, &lobby, senders);
        // Let what was handed out be sent, even if more is due by now.
        yield_now().await;
    }
    if context.schedule.stopped_at().is_some() {
        // They are given up.
        lobby.clear();
    }
    lobby.close();
}

/// Waits for an arrival. None if it does not come before the end or the run is to stop.
async fn is_due(context: &Context, at: Duration) -> Option<Instant> {
    let schedule = &context.schedule;
    let at = later(schedule.start(), at);
    context.clock.until(at.min(schedule.end())).await;
    let now = Instant::now();
    (at < schedule.end() && schedule.stopped_at().is_none()).then_some(now)
}

/// All that is due by now, of which the first request is made already.
fn hand_out(
    context: &Rc<Context>,
    share: &mut Share,
    first: Arc<Request>,
    now: Instant,
    lobby: &Rc<Lobby>,
    senders: &mut JoinSet<()>,
) {
    let schedule = &context.schedule;
    let (start, measured_from) = (schedule.start(), schedule.measured_from());
    let mut first = Some(first);
    while share.next().is_some_and(|next| later(start, next.at) < schedule.end()) {
        let Some(due) = share.pop(now.saturating_duration_since(start), measured_from) else { return };
        if let Some(end) = share.end() {
            schedule.arrivals_end(end);
        }
        let request = first.take().unwrap_or_else(|| context.workload.request(context.run, due.number));
        let arrival = Arrival { number: due.number, due: start + due.at, measured: due.at >= measured_from };
        context.recorder.borrow_mut().due(arrival.due, arrival.measured);
        match lobby.enter(arrival, &request) {
            Entry::Taken => {}
            Entry::Hire(number) => {
                spawn(senders, context, serve(context.clone(), number, (arrival, Some(request)), lobby.clone()));
            }
            Entry::Waits(count) => context.recorder.borrow_mut().waits(count, arrival.measured),
            Entry::Full => context.unsent(&arrival, now),
        }
        expire(context, lobby, now);
    }
}

/// Gives up those that have waited too long. What is sent with hardly any time left is sent in vain: it would keep a
/// connection from one that can still be answered, and under overload nothing would be answered any more.
fn expire(context: &Context, lobby: &Lobby, now: Instant) {
    let Some(before) = now.checked_sub(context.timeout.mul_f64(PATIENCE)) else { return };
    while let Some(arrival) = lobby.pop_before(before) {
        context.unsent(&arrival, now);
    }
}

/// A sender's work, from its first arrival on.
async fn serve(context: Rc<Context>, number: usize, first: (Arrival, Option<Arc<Request>>), lobby: Rc<Lobby>) {
    let mut sender = Sender::new(context.clone(), number);
    let mut next = Some(first);
    while let Some((Arrival { number: arrival, due, measured }, request)) = next {
        let request = request.unwrap_or_else(|| context.workload.request(context.run, arrival));
        let served = sender.serve(request, Turn { due, measured }).await;
        expire(&context, &lobby, served.done);
        next = lobby.next(number).await;
    }
}
