//! One exchange with a server, and a second server for a call that takes long.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use http::Response;
use weirgate_protocol::{Error, RetryClass};
use weirgate_replicas::{Fault, FaultKind, InBody, OutBody};

use super::run::Run;
use crate::dispatch::Lease;

type Sent = Result<Response<InBody>, Fault>;

/// Sends a call, until its deadline. Where a second server answers first, `lease` becomes its.
pub(super) async fn exchange(run: &Run<'_>, lease: &mut Lease, body: OutBody) -> Sent {
    let hedge = match &body {
        OutBody::Whole(bytes) if run.hedges() => {
            lease.hedge_after(Instant::now()).map(|after| (after, OutBody::Whole(bytes.clone())))
        }
        _ => None,
    };
    let sent = async {
        let Some((after, copy)) = hedge else { return send(run, lease, body).await };
        hedged(run, lease, body, after, copy).await
    };
    let started = Instant::now();
    let sent = tokio::time::timeout_at(run.deadline.into(), sent).await;
    if run.hedges() && matches!(sent, Ok(Ok(_))) {
        lease.had(started.elapsed());
    }
    sent.unwrap_or_else(|_| Err(late(run, lease)))
}

async fn send(run: &Run<'_>, lease: &Lease, body: OutBody) -> Sent {
    let request = run.request(lease, body)?;
    lease.remote().transport.send(request).await
}

/// Asks a second server once the first has taken so long. The first answer counts, and the other exchange is dropped.
async fn hedged(run: &Run<'_>, lease: &mut Lease, body: OutBody, after: Duration, copy: OutBody) -> Sent {
    let mut second = {
        let mut first = pin!(send(run, lease, body));
        if let Ok(sent) = tokio::time::timeout(after, first.as_mut()).await {
            return sent;
        }
        let now = Instant::now();
        let mut wanting = run.wanting().clone();
        wanting.avoid.push(lease.remote().id);
        let second = if lease.may_hedge(now) { lease.second(&wanting, now) } else { None };
        let Some(second) = second else { return first.await };
        let metrics = &lease.lane().metrics;
        let other = pin!(send(run, &second, copy));
        match select(first, other).await {
            Either::Left((Ok(answer), _)) => {
                metrics.hedged(Some(0));
                return Ok(answer);
            }
            Either::Left((Err(_), other)) => {
                let sent = other.await;
                metrics.hedged(sent.is_ok().then_some(1));
                match sent {
                    Ok(answer) => (second, Ok(answer)),
                    Err(fault) => return Err(fault),
                }
            }
            Either::Right((Ok(answer), _)) => {
                metrics.hedged(Some(1));
                (second, Ok(answer))
            }
            Either::Right((Err(_), first)) => {
                let sent = first.await;
                metrics.hedged(sent.is_ok().then_some(0));
                return sent;
            }
        }
    };
    std::mem::swap(lease, &mut second.0);
    second.1
}

/// The deadline passed. Where it was the caller's own and short, that says nothing of the server.
fn late(run: &Run<'_>, lease: &Lease) -> Fault {
    let longest = run.routed.service().timeout;
    let own = run.arrival.timeout.is_some_and(|timeout| timeout < longest);
    let text = format!("the deadline passed while server '{}' had the call", lease.remote().name);
    let error = Error::deadline(text, RetryClass::MayHaveExecuted);
    Fault { kind: if own { FaultKind::Caller } else { FaultKind::Broken }, error }
}
