//! What an answer, or none, says of the server, and whether the call may be sent once more.

use http::{HeaderMap, Response, StatusCode};
use weirgate_protocol::{ErrorCode, Protocol, Retry};
use weirgate_replicas::remote::{Fault, FaultKind, InBody};
use weirgate_router::pool::Outcome;

use super::head::{grpc_status, retry_after};
use crate::dispatch::blame;

/// gRPC's UNAVAILABLE; with RESOURCE_EXHAUSTED it says that there is too much to do.
const GRPC_UNAVAILABLE: i32 = 14;
/// INTERNAL and DATA_LOSS: broken.
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
            let outcome = blame(fault);
            let executed = !fault.not_executed();
            let late = fault.error.code() == ErrorCode::DeadlineExceeded;
            let broke = fault.kind == FaultKind::Broken && !late;
            Verdict { outcome, repeats: !executed || (idempotent && broke), executed }
        }
        Ok(response) => {
            let outcome = of_answer(response, protocol);
            let away = matches!(
                response.status(),
                StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
            );
            let repeats = away || of_grpc(response.headers(), protocol) == Some(GRPC_UNAVAILABLE);
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
    of_grpc(headers, protocol).map_or(Outcome::Answered, |code| grpc_outcome(code, headers))
}

/// The status of gRPC within the head of an answer without messages, or within trailers.
pub fn of_grpc(headers: &HeaderMap, protocol: Protocol) -> Option<i32> {
    if protocol == Protocol::V2Grpc { grpc_status(headers) } else { None }
}

/// What a status of gRPC says of its server; `headers` are those that it came with.
pub fn grpc_outcome(code: i32, headers: &HeaderMap) -> Outcome {
    match code {
        8 | GRPC_UNAVAILABLE => Outcome::Overloaded { retry_after: retry_after(headers) },
        _ if GRPC_FAILED.contains(&code) => Outcome::Failed,
        _ => Outcome::Answered,
    }
}

/// A server's own refusals and failures are counted as what they would be if they were ours.
pub fn counted(status: StatusCode, grpc: Option<i32>) -> Option<ErrorCode> {
    Some(match (status.as_u16(), grpc) {
        (0..400, None | Some(0)) => return None,
        (0..400, Some(code)) => match code {
            1 => ErrorCode::Cancelled,
            3 | 9 | 11 => ErrorCode::InvalidRequest,
            4 => ErrorCode::DeadlineExceeded,
            5 => ErrorCode::NotFound,
            7 => ErrorCode::Forbidden,
            8 => ErrorCode::QueueFull,
            12 => ErrorCode::Unsupported,
            GRPC_UNAVAILABLE => ErrorCode::Unavailable,
            16 => ErrorCode::Unauthenticated,
            _ => ErrorCode::UpstreamFailed,
        },
        (401, _) => ErrorCode::Unauthenticated,
        (403, _) => ErrorCode::Forbidden,
        (404, _) => ErrorCode::NotFound,
        (405, _) => ErrorCode::MethodNotAllowed,
        (413, _) => ErrorCode::TooLarge,
        (429, _) => ErrorCode::QueueFull,
        (400..500, _) => ErrorCode::InvalidRequest,
        (503, _) => ErrorCode::Unavailable,
        (504, _) => ErrorCode::DeadlineExceeded,
        (508, _) => ErrorCode::LoopDetected,
        _ => ErrorCode::UpstreamFailed,
    })
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
    fn a_server_of_grpc_that_is_away_is_one_whatever_http_says() {
        let repeats = |code: &'static str, protocol| {
            judge(&answered(200, &[("grpc-status", code)]), IDEMPOTENT, protocol).repeats
        };
        assert!(repeats("14", Protocol::V2Grpc));
        assert!(!repeats("13", Protocol::V2Grpc) && !repeats("14", Protocol::V2Http));
        let code = |status, grpc| counted(StatusCode::from_u16(status).unwrap(), grpc);
        assert_eq!([code(200, None), code(200, Some(0)), code(302, None)], [None; 3]);
        assert_eq!(code(200, Some(14)), Some(ErrorCode::Unavailable));
        assert_eq!((code(503, None), code(418, None)), (Some(ErrorCode::Unavailable), Some(ErrorCode::InvalidRequest)));
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
