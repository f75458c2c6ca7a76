//! Times in headers: the deadlines `x-request-timeout-seconds` and `grpc-timeout`, and `retry-after`.

use std::time::Duration;

use crate::error::{Error, Result};

/// The longest timeout a header may ask for; more means the same as this.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

/// The longest wait that a server is believed to ask for on purpose; more means the same as this.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// Parses `x-request-timeout-seconds`: a positive decimal number of seconds, as `2.5`.
pub fn parse_timeout_seconds(value: &str) -> Result<Duration> {
    let seconds = value.trim().parse::<f64>().ok().filter(|seconds| seconds.is_finite() && *seconds > 0.0);
    let seconds = seconds.ok_or_else(|| {
        let shown: String = value.chars().take(32).collect();
        Error::invalid(format!("header x-request-timeout-seconds is '{shown}': give a number of seconds above 0"))
    })?;
    Ok(Duration::try_from_secs_f64(seconds).unwrap_or(MAX_TIMEOUT).min(MAX_TIMEOUT))
}

/// Parses `grpc-timeout`: at most eight digits and a unit of `H M S m u n`, as the gRPC wire specification has it.
pub fn parse_grpc_timeout(value: &str) -> Result<Duration> {
    let refused = || {
        let shown: String = value.chars().take(32).collect();
        Error::invalid(format!("header grpc-timeout is '{shown}': give 1 to 8 digits and one of H, M, S, m, u, n"))
    };
    let (digits, unit) = value.split_at_checked(value.len().saturating_sub(1)).ok_or_else(refused)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refused());
    }
    let amount: u64 = digits.parse().map_err(|_| refused())?;
    let timeout = match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return Err(refused()),
    };
    Ok(timeout.min(MAX_TIMEOUT))
}

/// Writes `x-request-timeout-seconds`: what is left, at least a millisecond, for 0 is no timeout.
pub fn timeout_seconds(left: Duration) -> String {
    format!("{:.3}", left.as_secs_f64().max(0.001))
}

/// Writes `grpc-timeout`: at most eight digits and a unit; rounded up, so that nobody gives up too early.
pub fn grpc_timeout(left: Duration) -> String {
    const MOST: u128 = 99_999_999;
    match left.as_micros().max(1) {
        us if us <= MOST => format!("{us}u"),
        us if us.div_ceil(1_000) <= MOST => format!("{}m", us.div_ceil(1_000)),
        us => format!("{}S", us.div_ceil(1_000_000).min(MOST)),
    }
}

/// Parses `retry-after` as a number of seconds. None for dates, which servers that are behind do not send, and for what is
/// neither.
pub fn parse_retry_after(value: &str) -> Option<Duration> {
    let seconds = value.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds() {
        assert_eq!(parse_timeout_seconds("2.5"), Ok(Duration::from_millis(2_500)));
        assert_eq!(parse_timeout_seconds("1e300"), Ok(MAX_TIMEOUT));
        for bad in ["", "0", "-1", "nan", "inf", "ten"] {
            assert!(parse_timeout_seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        assert_eq!(timeout_seconds(Duration::from_millis(1_500)), "1.500");
        assert_eq!(parse_timeout_seconds(&timeout_seconds(Duration::ZERO)), Ok(Duration::from_millis(1)));
        for (left, text) in [
            (Duration::ZERO, "1u"),
            (Duration::from_millis(1_500), "1500000u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_secs(365 * 24 * 3600), "31536000S"),
            (Duration::from_secs(u64::MAX), "99999999S"),
        ] {
            assert_eq!(grpc_timeout(left), text);
            assert!(parse_grpc_timeout(text).is_ok());
        }
    }

    #[test]
    fn waits() {
        assert_eq!(parse_retry_after(" 7 "), Some(Duration::from_secs(7)));
        assert_eq!(parse_retry_after("18446744073709551615"), Some(MAX_RETRY_AFTER));
        for bad in ["", "soon", "-1", "Thu, 01 Jan 1970 00:00:00 GMT"] {
            assert_eq!(parse_retry_after(bad), None, "{bad}");
        }
    }

    #[test]
    fn grpc() {
        assert_eq!(parse_grpc_timeout("100m"), Ok(Duration::from_millis(100)));
        assert_eq!(parse_grpc_timeout("1H"), Ok(Duration::from_secs(3600)));
        assert_eq!(parse_grpc_timeout("99999999H"), Ok(MAX_TIMEOUT));
        for bad in ["", "m", "1", "123456789m", "-1m", "1x", "1é"] {
            assert!(parse_grpc_timeout(bad).is_err(), "{bad}");
        }
    }
}
