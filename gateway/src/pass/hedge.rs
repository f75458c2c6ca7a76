//! One exchange with a server, and a second server for a call that takes long.

use std::pin::{Pin, pin};
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use http::Response;
use weirgate_protocol::{Error, RetryClass};
use weirgate_replicas::remote::{Fault, FaultKind, InBody, OutBody, Within};
use weirgate_router::pool::Outcome;

use super::answer::Told;
use super::run::Sending;
use super::verdict::Verdict;
use crate::dispatch::Lease;

pub(super) type Sent = Result<Response<InBody>, Fault>;

/// Sends a call, until its deadline. Where a second server is asked and does better, `lease` becomes its; what became of the
/// other is noted on its lease and in `told`.
pub(super) async fn exchange(call: &Sending<'_>, told: &mut Told, lease: &mut Lease, body: OutBody) -> (Sent, Verdict) {
    let hedge = match &body {
        OutBody::Whole(bytes) if call.hedges() => {
            lease.hedge_after(Instant::now()).map(|after| (after, OutBody::Whole(bytes.clone())))
        }
        _ => None,
    };
    let started = call.hedges().then(Instant::now);
    let (sent, verdict) = match hedge {
        None => judged(call, send(call, lease, body).await),
        // In a box of its own: other calls need not have room for two exchanges.
        Some((after, copy)) => Box::pin(hedged(call, told, lease, body, after, copy)).await,
    };
    if let Some(started) = started
        && sent.is_ok()
    {
        lease.had(started.elapsed());
    }
    (sent, verdict)
}

fn judged(call: &Sending<'_>, sent: Sent) -> (Sent, Verdict) {
    let verdict = call.judge(&sent);
    (sent, verdict)
}

async fn send(call: &Sending<'_>, lease: &Lease, body: OutBody) -> Sent {
    let head = call.request(lease)?;
    // Pinned where it is made: moving it into the timeout would copy all of it.
    let within = || Within { head: call.arrival.head.clone(), deadline: call.deadline };
    let sent = pin!(lease.remote().link.pass(head, body, within));
    let sent = match &call.arrival.timer {
        Some(timer) => timer.timeout_at(call.deadline, sent).await,
        None => tokio::time::timeout_at(call.deadline.into(), sent).await.ok(),
    };
    sent.unwrap_or_else(|| Err(late(call, lease)))
}

/// What became of one of two exchanges, and when that was known.
type Ended = Option<(Sent, Verdict, Instant)>;

/// Asks a second server once the first has taken so long. The first good answer counts, and the other exchange is dropped.
async fn hedged(
    call: &Sending<'_>,
    told: &mut Told,
    lease: &mut Lease,
    body: OutBody,
    after: Duration,
    copy: OutBody,
) -> (Sent, Verdict) {
    let mut second;
    let (first, other) = {
        let mut first = pin!(send(call, lease, body));
        if let Ok(sent) = tokio::time::timeout(after, first.as_mut()).await {
            return judged(call, sent);
        }
        let mut wanting = call.wanting.clone();
        wanting.avoid.push(lease.remote().id);
        let now = Instant::now();
        let other = if lease.may_hedge(now) { lease.second(&wanting, now) } else { None };
        let Some(other) = other else { return judged(call, first.await) };
        second = other;
        race(call, first, pin!(send(call, &second, copy))).await
    };
    let better = match (&first, &other) {
        (Some((first, verdict, _)), Some((other, others, _))) => rank(other, others) > rank(first, verdict),
        (first, _) => first.is_none(),
    };
    let (winner, loser) = if better { (other, first) } else { (first, other) };
    if better {
        std::mem::swap(lease, &mut second);
    }
    let now = Instant::now();
    // One that is dropped may have been executed, and took at least so long.
    let (outcome, fault, at, executed) = match &loser {
        Some((sent, verdict, at)) => (verdict.outcome, sent.as_ref().err(), *at, verdict.executed),
        None => (Outcome::Cancelled, None, now, true),
    };
    second.ends(outcome, at);
    told.attempt(&second, outcome, fault, at);
    told.executed |= executed;
    let Some((sent, verdict, _)) = winner else {
        let error = Error::internal("two servers were asked, and neither was waited for");
        return judged(call, Err(Fault { kind: FaultKind::Broken, error }));
    };
    let won = verdict.outcome == Outcome::Answered;
    lease.lane().metrics.hedged(won.then_some(usize::from(better)));
    (sent, Verdict { executed: verdict.executed || executed, ..verdict })
}

/// Waits for a good answer of either, or for both.
async fn race<A, B>(call: &Sending<'_>, first: Pin<&mut A>, other: Pin<&mut B>) -> (Ended, Ended)
where
    A: Future<Output = Sent>,
    B: Future<Output = Sent>,
{
    let ended = |sent: Sent| {
        let verdict = call.judge(&sent);
        Some((sent, verdict, Instant::now()))
    };
    let is_good = |ended: &Ended| ended.as_ref().is_some_and(|(_, verdict, _)| verdict.outcome == Outcome::Answered);
    match select(first, other).await {
        Either::Left((sent, other)) => {
            let first = ended(sent);
            if is_good(&first) { (first, None) } else { (first, ended(other.await)) }
        }
        Either::Right((sent, first)) => {
            let other = ended(sent);
            if is_good(&other) { (None, other) } else { (ended(first.await), other) }
        }
    }
}

/// Which of two exchanges is told to the caller: a good answer, else any answer, else what says that the call may have been
/// executed.
fn rank(sent: &Sent, verdict: &Verdict) -> u8 {
    match (verdict.outcome, sent) {
        (Outcome::Answered, _) => 3,
        (_, Ok(_)) => 2,
        _ => u8::from(verdict.executed),
    }
}

/// The deadline passed. Where it was the caller's own and short, the server is not at fault; that it was slow is learned all the
/// same.
fn late(call: &Sending<'_>, lease: &Lease) -> Fault {
    let text = format!("the deadline passed while server '{}' had the call", lease.remote().name);
    let error = Error::deadline(text, RetryClass::MayHaveExecuted);
    Fault { kind: if call.is_impatient() { FaultKind::Caller } else { FaultKind::Broken }, error }
}
