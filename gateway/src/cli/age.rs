//! How long ago something was, as kubectl writes it.

use std::time::{Duration, SystemTime};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const YEAR: u64 = 365 * DAY;

/// The age of a moment in RFC 3339; `<unknown>` where there is none. What lies ahead is `0s` old: clocks differ.
pub fn age(moment: &str, now: SystemTime) -> String {
    match humantime::parse_rfc3339(moment) {
        Ok(moment) => short(now.duration_since(moment).unwrap_or_default()),
        Err(_) => "<unknown>".to_owned(),
    }
}

fn short(age: Duration) -> String {
    let seconds = age.as_secs();
    // The larger unit, and the smaller one where it still matters.
    let two = |large: (u64, &str), small: (u64, &str)| {
        let rest = seconds % large.0 / small.0;
        let rest = if rest == 0 { String::new() } else { format!("{rest}{}", small.1) };
        format!("{}{}{rest}", seconds / large.0, large.1)
    };
    match seconds {
        ..120 => format!("{seconds}s"),
        120..600 => two((MINUTE, "m"), (1, "s")),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => two((HOUR, "h"), (MINUTE, "m")),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => two((DAY, "d"), (HOUR, "h")),
        691_200..63_072_000 => format!("{}d", seconds / DAY),
        _ => two((YEAR, "y"), (DAY, "d")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short_and_know_their_bounds() {
        for (seconds, expected) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (190, "3m10s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (12_000, "3h20m"),
            (28_800, "8h"),
            (172_799, "47h"),
            (190_800, "2d5h"),
            (8 * DAY, "8d"),
            (2 * YEAR + 3 * DAY, "2y3d"),
        ] {
            assert_eq!(short(Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn moments_are_read_and_the_future_is_now() {
        let now = humantime::parse_rfc3339("2026-01-01T00:01:00Z").unwrap();
        assert_eq!(age("2026-01-01T00:00:00Z", now), "60s");
        assert_eq!(age("2026-01-01T00:02:00Z", now), "0s");
        assert_eq!(age("", now), "<unknown>");
    }
}
