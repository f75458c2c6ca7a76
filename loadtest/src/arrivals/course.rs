//! How the rate of arrivals goes over time.

use std::fmt;
use std::time::Duration;

/// The most arrivals a second that may be asked for: beyond what one machine sends.
const MOST: f64 = 1e7;

/// How the rate goes over time, per second.
#[derive(Clone, Debug, PartialEq)]
pub enum Course {
    Constant(f64),
    /// From one rate to another, evenly over a time; then it stays.
    Ramp {
        from: f64,
        to: f64,
        over: Duration,
    },
    /// Each for its time; the last then stays.
    Steps(Vec<(f64, Duration)>),
}

impl Course {
    /// Reads `200`, a ramp over `over` as `100..500`, or steps as `100:10s,200:10s`.
    pub fn parse(text: &str, over: Duration) -> Result<Course, String> {
        if let Some((from, to)) = text.split_once("..") {
            if over.is_zero() {
                return Err(format!("the ramp '{text}' needs a duration to go over"));
            }
            return Ok(Course::Ramp { from: rate(from)?, to: rate(to)?, over });
        }
        if text.contains(':') {
            return text.split(',').map(step).collect::<Result<_, _>>().map(Course::Steps);
        }
        if text.contains(',') {
            return Err(format!("steps in '{text}' have no times: give each as 100:10s"));
        }
        rate(text).map(Course::Constant)
    }

    /// The same of a course that begins only after a time, in which its first rate holds.
    pub(super) fn when_after(&self, hold: Duration, unit: f64) -> Option<Duration> {
        let first = match self {
            // It does not change: nothing is to be put off.
            Course::Constant(_) => return self.when(unit),
            Course::Ramp { from, .. } => *from,
            Course::Steps(steps) => steps.first()?.0,
        };
        let area = first * hold.as_secs_f64();
        if unit < area {
            Duration::try_from_secs_f64(unit / first).ok()
        } else {
            hold.checked_add(self.when(unit - area)?)
        }
    }

    /// When the integral of the rate reaches `unit`: the time of the arrival that stands there at rate one. None if it
    /// never does, or not in the time that a [`Duration`] holds.
    pub(super) fn when(&self, unit: f64) -> Option<Duration> {
        let seconds = match self {
            Course::Constant(rate) => unit / rate,
            Course::Ramp { from, to, over } => {
                let over = over.as_secs_f64();
                let area = (from + to) / 2.0 * over;
                if unit <= area {
                    // Of from * t + slope / 2 * t² = unit, in the form that stays exact where the slope is small.
                    let slope = (to - from) / over;
                    let root = (from * from + 2.0 * slope * unit).max(0.0).sqrt();
                    if unit == 0.0 { 0.0 } else { 2.0 * unit / (from + root) }
                } else {
                    over + (unit - area) / to
                }
            }
            Course::Steps(steps) => {
                let (mut time, mut left) = (0.0, unit);
                let (last, before) = steps.split_last()?;
                for (rate, length) in before {
                    let area = rate * length.as_secs_f64();
                    if left < area {
                        return Duration::try_from_secs_f64(time + left / rate).ok();
                    }
                    time += length.as_secs_f64();
                    left -= area;
                }
                time + left / last.0
            }
        };
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// The rate, where there is just one.
    pub fn rate(&self) -> Option<f64> {
        match self {
            Course::Constant(rate) => Some(*rate),
            Course::Ramp { .. } | Course::Steps(_) => None,
        }
    }
}

impl fmt::Display for Course {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Course::Constant(rate) => write!(f, "{}/s", shown(*rate)),
            Course::Ramp { from, to, over } => {
                write!(f, "{}/s to {}/s over {}", shown(*from), shown(*to), humantime::format_duration(*over))
            }
            Course::Steps(steps) => {
                for (index, (rate, length)) in steps.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{}/s for {}", shown(*rate), humantime::format_duration(*length))?;
                }
                Ok(())
            }
        }
    }
}

/// A rate without the digits that a search's arithmetic adds: six at most, and no zeros at the end of a fraction.
fn shown(rate: f64) -> String {
    let before = if rate < 1.0 { 0 } else { rate.log10() as usize + 1 };
    let text = format!("{rate:.*}", 6usize.saturating_sub(before));
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn step(text: &str) -> Result<(f64, Duration), String> {
    let (at, length) = text.split_once(':').ok_or_else(|| format!("step '{text}' has no time: give it as 100:10s"))?;
    let length = crate::time::parse(length).map_err(|error| format!("step '{text}': {error}"))?;
    if length.is_zero() {
        return Err(format!("step '{text}' lasts no time"));
    }
    Ok((rate(at)?, length))
}

fn rate(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let rate: f64 = text.parse().map_err(|_| format!("'{text}' is not a rate: give requests a second, as 200"))?;
    // NaN is in no range.
    if !(f64::MIN_POSITIVE..=MOST).contains(&rate) {
        return Err(format!("rate {text} is not above 0 and at most {MOST} a second"));
    }
    Ok(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OVER: Duration = Duration::from_secs(30);

    #[test]
    fn courses_in_the_ways_people_write_them() {
        let second = Duration::from_secs(1);
        for (text, course, shown) in [
            ("200", Course::Constant(200.0), "200/s"),
            ("0.5", Course::Constant(0.5), "0.5/s"),
            ("100..500", Course::Ramp { from: 100.0, to: 500.0, over: OVER }, "100/s to 500/s over 30s"),
            (
                "100:10s,200:500ms",
                Course::Steps(vec![(100.0, 10 * second), (200.0, second / 2)]),
                "100/s for 10s, 200/s for 500ms",
            ),
        ] {
            assert_eq!(Course::parse(text, OVER), Ok(course.clone()), "{text}");
            assert_eq!(course.to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_rate_is_told() {
        for (text, part) in [
            ("fast", "'fast' is not a rate"),
            ("", "is not a rate"),
            ("0", "above 0"),
            ("-5", "rate -5 is not above 0"),
            ("NaN", "above 0"),
            ("inf", "at most 10000000"),
            ("1e8", "rate 1e8"),
            ("1..", "is not a rate"),
            ("0..10", "rate 0 "),
            ("100,200", "have no times"),
            ("100:10s,200", "step '200' has no time"),
            ("100:ten", "step '100:ten'"),
            ("100:0s", "lasts no time"),
        ] {
            let error = Course::parse(text, OVER).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(Course::parse("1..2", Duration::ZERO).is_err());
    }
}
