//! Durations as annotations have them: seconds, or Go's `1m30s`.

use std::time::Duration;

const UNITS: [(&str, f64); 6] = [("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9), ("s", 1.0), ("m", 60.0), ("h", 3_600.0)];

/// Seconds, whole or not, or numbers with `h`, `m`, `s`, `ms`, `us` or `ns` in a row.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let plain = |text: &str| text.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if !plain(text) {
        return None;
    }
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Duration::try_from_secs_f64(text.parse().ok()?).ok();
    }
    let (mut rest, mut seconds) = (text, 0.0);
    while plain(rest) {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let (unit, factor) = UNITS.iter().find(|(unit, _)| after.starts_with(unit))?;
        seconds += number.parse::<f64>().ok()? * factor;
        rest = &after[unit.len()..];
    }
    Duration::try_from_secs_f64(seconds).ok().filter(|_| rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_units() {
        for (text, millis) in
            [("30", 30_000), ("0.5", 500), ("30s", 30_000), ("1m30s", 90_000), ("1.5h", 5_400_000), ("250ms", 250)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "-1", "1 s", "1d", "1m30", "1s1", "inf", "NaN", "1e3", "..", "99999999999999999999h"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
