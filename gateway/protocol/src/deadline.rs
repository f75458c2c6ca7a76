//! Deadlines that clients send: `x-request-timeout-seconds` and `grpc-timeout`.

use std::time::Duration;

use crate::error::{Error, Result};

/// The longest timeout a header may ask for; more means the same as this.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

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
    fn grpc() {
        assert_eq!(parse_grpc_timeout("100m"), Ok(Duration::from_millis(100)));
        assert_eq!(parse_grpc_timeout("1H"), Ok(Duration::from_secs(3600)));
        assert_eq!(parse_grpc_timeout("99999999H"), Ok(MAX_TIMEOUT));
        for bad in ["", "m", "1", "123456789m", "-1m", "1x", "1é"] {
            assert!(parse_grpc_timeout(bad).is_err(), "{bad}");
        }
    }
}
