//! `strftime_now`: the date in a template's words, in UTC.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

struct Moment {
    year: i64,
    /// From 1.
    month: usize,
    /// From 1.
    day: i64,
    /// From 1.
    day_of_year: i64,
    /// From 0, which is Monday.
    weekday: usize,
    /// Within the day.
    seconds: i64,
}

impl Moment {
    fn of(now: SystemTime) -> Moment {
        let seconds = match now.duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX / 2),
            Err(before) => -i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX / 2),
        };
        let days = seconds.div_euclid(86_400);
        // Years are counted from March, so that the odd day is the last; eras of 400 years have equal days.
        let shifted = days + 719_468;
        let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let march = (5 * day + 2) / 153;
        let month = if march < 10 { march + 3 } else { march - 9 };
        let year = year + era * 400 + i64::from(month <= 2);
        let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        let day_of_year = if month <= 2 { day - 305 } else { day + 60 + i64::from(leap) };
        Moment {
            year,
            month: month as usize,
            day: day - (153 * march + 2) / 5 + 1,
            day_of_year,
            // 1 January 1970 was a Thursday.
            weekday: (days + 3).rem_euclid(7) as usize,
            seconds: seconds.rem_euclid(86_400),
        }
    }
}

/// The moment in C's format, as far as templates use it. Another directive is an error that names it.
pub(super) fn strftime(now: SystemTime, format: &str) -> Result<String, String> {
    let at = Moment::of(now);
    let (hour, minute, second) = (at.seconds / 3600, at.seconds / 60 % 60, at.seconds % 60);
    let hour12 = (hour + 11) % 12 + 1;
    let month = MONTHS.get(at.month.wrapping_sub(1)).copied().unwrap_or_default();
    let weekday = DAYS.get(at.weekday).copied().unwrap_or_default();
    let mut out = String::new();
    let mut characters = format.chars();
    while let Some(one) = characters.next() {
        if one != '%' {
            out.push(one);
            continue;
        }
        let (padded, directive) = match characters.next() {
            Some('-') => (false, characters.next()),
            other => (true, other),
        };
        let mut number = |value: i64, width: usize| {
            let width = if padded { width } else { 1 };
            write!(out, "{value:0width$}").map_err(|error| error.to_string())
        };
        match directive {
            Some('Y') => number(at.year, 4)?,
            Some('y') => number(at.year.rem_euclid(100), 2)?,
            Some('m') => number(at.month as i64, 2)?,
            Some('d') => number(at.day, 2)?,
            Some('j') => number(at.day_of_year, 3)?,
            Some('H') => number(hour, 2)?,
            Some('I') => number(hour12, 2)?,
            Some('M') => number(minute, 2)?,
            Some('S') => number(second, 2)?,
            Some('B') => out.push_str(month),
            Some('b' | 'h') => out.extend(month.chars().take(3)),
            Some('A') => out.push_str(weekday),
            Some('a') => out.extend(weekday.chars().take(3)),
            Some('p') => out.push_str(if hour < 12 { "AM" } else { "PM" }),
            Some('Z') => out.push_str("UTC"),
            Some('z') => out.push_str("+0000"),
            Some('F') => out.push_str(&strftime(now, "%Y-%m-%d")?),
            Some('T') => out.push_str(&strftime(now, "%H:%M:%S")?),
            Some('%') => out.push('%'),
            other => {
                let other = other.map_or("% at the end".to_owned(), |other| format!("%{other}"));
                return Err(format!("strftime_now knows no {other}"));
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // Python's datetime.fromtimestamp(seconds, timezone.utc).strftime(format) says the same.
        let all = "%Y-%m-%d %H:%M:%S %j %A %a %B %b %y %I%p %-d/%-m %F %T %% %Z";
        for (seconds, expected) in [
            (0, "1970-01-01 00:00:00 001 Thursday Thu January Jan 70 12AM 1/1 1970-01-01 00:00:00 % UTC"),
            (951_782_399, "2000-02-28 23:59:59 059 Monday Mon February Feb 00 11PM 28/2 2000-02-28 23:59:59 % UTC"),
            (951_868_800, "2000-03-01 00:00:00 061 Wednesday Wed March Mar 00 12AM 1/3 2000-03-01 00:00:00 % UTC"),
            (1_735_646_400, "2024-12-31 12:00:00 366 Tuesday Tue December Dec 24 12PM 31/12 2024-12-31 12:00:00 % UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 060 Monday Mon March Mar 00 12AM 1/3 2100-03-01 00:00:00 % UTC"),
        ] {
            assert_eq!(strftime(UNIX_EPOCH + Duration::from_secs(seconds), all).as_deref(), Ok(expected));
        }
        assert_eq!(strftime(UNIX_EPOCH, "%Q").unwrap_err(), "strftime_now knows no %Q");
        assert_eq!(strftime(UNIX_EPOCH, "a%").unwrap_err(), "strftime_now knows no % at the end");
    }
}
