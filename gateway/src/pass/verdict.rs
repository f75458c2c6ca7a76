//! What an answer, or none, says of the server, and whether the call may be sent once more.

use http::{Response, StatusCode};
use weirgate_protocol::{ErrorCode, Protocol, Retry};
use weirgate_replicas::remote::{Fault, FaultKind, InBody};
use weirgate_router::pool::Outcome;

use super::head::{grpc_status, retry_after};

/// gRPC's RESOURCE_EXHAUSTED and UNAVAILABLE: too much to do; INTERNAL and DATA_LOSS: broken.
const GRPC_OVERLOADED: [i32; 2] = [8, 14];
const GRPC_FAILED: [i32; 2] = [13, 15];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub outcome: Outcome,
    /// Sending it once more does no harm, as far as is known.
    pub repeats: bool,
    /// It may have been executed: repeating it costs budget.
    pub executed: bool,
}

pub fn judge(sent: &Result<Response<InBody>, Fault>, retry: Retry, protocol: Protocol) -> Verdict {
    let idempotent = matches!(retry, Retry::Idempotent { .. });
    match sent {
        Err(fault) => {
            let outcome = match fault.kind {
                FaultKind::Connect | FaultKind::Broken => Outcome::Failed,
                FaultKind::Unsent | FaultKind::NotExecuted => Outcome::NotExecuted,
                FaultKind::Caller => Outcome::Cancelled,
            };
            let executed = !fault.not_executed();
            let late = fault.error.code() == ErrorCode::DeadlineExceeded;
            let broke = fault.kind == FaultKind::Broken && !late;
            Verdict { outcome, repeats: !executed || (idempotent && broke), executed }
        }
        Ok(response) => {
            let outcome = of_answer(response, protocol);
            let repeats = matches!(
                response.status(),
                StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
            );
            Verdict { outcome, repeats: repeats && idempotent, executed: true }
        }
    }
}

fn of_answer(response: &Response<InBody>, protocol: Protocol) -> Outcome {
    let headers = response.headers();
    match response.status() {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            return Outcome::Overloaded { retry_after: retry_after(headers) };
        }
        status if status.is_server_error() => return Outcome::Failed,
        _ => {}
    }
    match grpc_status(headers).filter(|_| protocol == Protocol::V2Grpc) {
        Some(code) if GRPC_OVERLOADED.contains(&code) => Outcome::Overloaded { retry_after: retry_after(headers) },
        Some(code) if GRPC_FAILED.contains(&code) => Outcome::Failed,
        _ => Outcome::Answered,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;

    const IDEMPOTENT: Retry = Retry::Idempotent { hedge: false };

    fn answered(status: u16, headers: &[(&'static str, &'static str)]) -> Result<Response<InBody>, Fault> {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        Ok(response.body(InBody::Whole(Bytes::new())).unwrap())
    }

    fn failed(kind: FaultKind) -> Result<Response<InBody>, Fault> {
        Err(Fault::new(kind, "broken".to_owned()))
    }

    #[test]
    fn complaint_37_what_was_handed_over_is_repeated_only_where_that_does_no_harm() {
        for (kind, always, idempotent) in [
            (FaultKind::Connect, true, true),
            (FaultKind::Unsent, true, true),
            (FaultKind::NotExecuted, true, true),
            (FaultKind::Broken, false, true),
            (FaultKind::Caller, false, false),
        ] {
            let repeats = |retry| judge(&failed(kind), retry, Protocol::V2Http).repeats;
            assert_eq!((repeats(Retry::NotExecuted), repeats(IDEMPOTENT)), (always, idempotent), "{kind:?}");
        }
        for (status, idempotent) in [(200, false), (400, false), (429, false), (500, false), (502, true), (503, true)] {
            let repeats = |retry| judge(&answered(status, &[]), retry, Protocol::V2Http).repeats;
            assert_eq!((repeats(Retry::NotExecuted), repeats(IDEMPOTENT)), (false, idempotent), "{status}");
        }
    }

    #[test]
    fn a_server_with_too_much_to_do_is_told_from_a_broken_one() {
        let outcome = |status, headers: &[_], protocol| judge(&answered(status, headers), IDEMPOTENT, protocol).outcome;
        let overloaded = |seconds: Option<u64>| Outcome::Overloaded { retry_after: seconds.map(Duration::from_secs) };
        assert_eq!(outcome(429, &[("retry-after", "7")], Protocol::OpenAi), overloaded(Some(7)));
        assert_eq!(outcome(503, &[("retry-after", "soon")], Protocol::OpenAi), overloaded(None));
        assert_eq!(outcome(500, &[], Protocol::OpenAi), Outcome::Failed);
        assert_eq!(outcome(404, &[], Protocol::OpenAi), Outcome::Answered);
        assert_eq!(outcome(200, &[("grpc-status", "14")], Protocol::V2Grpc), overloaded(None));
        assert_eq!(outcome(200, &[("grpc-status", "13")], Protocol::V2Grpc), Outcome::Failed);
        assert_eq!(outcome(200, &[("grpc-status", "3")], Protocol::V2Grpc), Outcome::Answered);
    }
}
