//! One exchange with a server, and a second server for a call that takes long.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use http::Response;
use weirgate_protocol::{Error, RetryClass};
use weirgate_replicas::remote::{Fault, FaultKind, InBody, OutBody};

use super::run::Sending;
use crate::dispatch::Lease;

type Sent = Result<Response<InBody>, Fault>;

/// Sends a call, until its deadline. Where a second server answers first, `lease` becomes its.
pub(super) async fn exchange(call: &Sending<'_>, lease: &mut Lease, body: OutBody) -> Sent {
    let hedge = match &body {
        OutBody::Whole(bytes) if call.hedges() => {
            lease.hedge_after(Instant::now()).map(|after| (after, OutBody::Whole(bytes.clone())))
        }
        _ => None,
    };
    let sent = async {
        let Some((after, copy)) = hedge else { return send(call, lease, body).await };
        hedged(call, lease, body, after, copy).await
    };
    let started = Instant::now();
    let sent = tokio::time::timeout_at(call.deadline.into(), sent).await;
    if call.hedges() && matches!(sent, Ok(Ok(_))) {
        lease.had(started.elapsed());
    }
    sent.unwrap_or_else(|_| Err(late(call, lease)))
}

async fn send(call: &Sending<'_>, lease: &Lease, body: OutBody) -> Sent {
    let request = call.request(lease, body)?;
    lease.remote().transport.send(request).await
}

/// Asks a second server once the first has taken so long. The first answer counts, and the other exchange is dropped.
async fn hedged(call: &Sending<'_>, lease: &mut Lease, body: OutBody, after: Duration, copy: OutBody) -> Sent {
    let mut second;
    let (sent, winner) = {
        let mut first = pin!(send(call, lease, body));
        if let Ok(sent) = tokio::time::timeout(after, first.as_mut()).await {
            return sent;
        }
        let mut wanting = call.wanting.clone();
        wanting.avoid.push(lease.remote().id);
        let now = Instant::now();
        let other = if lease.may_hedge(now) { lease.second(&wanting, now) } else { None };
        let Some(other) = other else { return first.await };
        second = other;
        // Where the one that ends first has failed, the other may still answer.
        match select(first, pin!(send(call, &second, copy))).await {
            Either::Left((Ok(answer), _)) => (Ok(answer), 0),
            Either::Left((Err(_), second)) => (second.await, 1),
            Either::Right((Ok(answer), _)) => (Ok(answer), 1),
            Either::Right((Err(_), first)) => (first.await, 0),
        }
    };
    lease.lane().metrics.hedged(sent.is_ok().then_some(winner));
    if winner == 1 {
        std::mem::swap(lease, &mut second);
    }
    sent
}

/// The deadline passed. Where it was the caller's own and short, that says nothing of the server.
fn late(call: &Sending<'_>, lease: &Lease) -> Fault {
    let longest = call.routed.service().timeout;
    let own = call.arrival.timeout.is_some_and(|timeout| timeout < longest);
    let text = format!("the deadline passed while server '{}' had the call", lease.remote().name);
    let error = Error::deadline(text, RetryClass::MayHaveExecuted);
    Fault { kind: if own { FaultKind::Caller } else { FaultKind::Broken }, error }
}
