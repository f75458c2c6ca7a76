//! Times as flags give them.

use std::time::Duration;

/// Reads a time with its unit, as `1m30s` or `500ms`, or a bare number of seconds.
///
/// # Errors
/// In words, if it is something else, below 0 or more than a [`Duration`] holds.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if text.starts_with('-') {
        return Err(format!("'{text}' is below 0: give a time, as 10s"));
    }
    let time = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string()),
        Err(_) => humantime::parse_duration(text).map_err(|error| error.to_string()),
    };
    time.map_err(|why| format!("'{text}' is not a time, as 10s or 500ms: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_with_a_unit_and_without() {
        for (text, millis) in [("10", 10_000), ("0.5", 500), ("500ms", 500), ("1m30s", 90_000), ("1m 30s", 90_000)] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for (text, part) in [
            ("-5s", "'-5s' is below 0"),
            ("-1", "below 0"),
            ("soon", "'soon' is not a time"),
            ("inf", "not a time"),
            ("", ""),
        ] {
            assert!(parse(text).unwrap_err().contains(part), "{text}");
        }
    }
}
