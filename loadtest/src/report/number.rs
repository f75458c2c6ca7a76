//! Numbers as people read them: units that fit, no more digits than mean something.

use std::fmt;

/// What stands where there is no number.
pub const NONE: &str = "–";

/// A unit of time. All times here are kept in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Micros,
    Millis,
    Seconds,
}

impl Unit {
    /// The unit for one number of milliseconds.
    pub fn of(ms: f64) -> Unit {
        match ms.abs() {
            ms if ms >= 1000.0 => Unit::Seconds,
            ms if ms >= 1.0 || ms == 0.0 => Unit::Millis,
            _ => Unit::Micros,
        }
    }

    pub fn scale(self, ms: f64) -> f64 {
        match self {
            Unit::Micros => ms * 1e3,
            Unit::Millis => ms,
            Unit::Seconds => ms / 1e3,
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unit::Micros => "µs",
            Unit::Millis => "ms",
            Unit::Seconds => "s",
        })
    }
}

/// How all times of a column are shown: in one unit and with the same decimals, so that they line up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    pub unit: Unit,
    decimals: usize,
}

impl Times {
    /// Fits milliseconds from the least to the greatest: the least still has two digits or three.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Times {
        let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
        for value in values.into_iter().filter(|value| value.is_finite() && *value > 0.0) {
            least = least.min(value);
            most = most.max(value);
        }
        let unit = match (least, most) {
            (_, 0.0) => Unit::Millis,
            (_, most) if most < 1.0 => Unit::Micros,
            (least, _) if least >= 1000.0 => Unit::Seconds,
            _ => Unit::Millis,
        };
        let decimals: usize = match unit.scale(least) {
            least if !least.is_finite() || least >= 100.0 => 0,
            least if least >= 10.0 => 1,
            least if least >= 1.0 => 2,
            _ => 3,
        };
        // Where they lie far apart, the least need not be told as exactly.
        let decimals = if most > 100.0 * least { decimals.saturating_sub(1) } else { decimals };
        Times { unit, decimals }
    }

    pub fn show(self, ms: f64) -> String {
        grouped(self.unit.scale(ms), self.decimals)
    }
}

/// One time in the unit that fits it, as `12.3 ms`.
pub fn time(ms: f64) -> String {
    if !ms.is_finite() {
        return NONE.to_owned();
    }
    let unit = Unit::of(ms);
    format!("{} {unit}", number(unit.scale(ms)))
}

/// A time in the words of an axis, as `50 ms`: no digits after those that matter.
pub fn tick_time(ms: f64) -> String {
    let unit = Unit::of(ms);
    format!("{} {unit}", short(unit.scale(ms)))
}

/// Three significant digits, and all digits before the point: `0.0123`, `12.3`, `12,345`.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return NONE.to_owned();
    }
    let decimals = match value.abs() {
        value if value == 0.0 || value >= 99.95 => 0,
        value if value >= 9.995 => 1,
        value if value >= 0.9995 => 2,
        value if value >= 0.0995 => 3,
        _ => 4,
    };
    grouped(value, decimals)
}

/// A number without zeros at the end of its fraction.
pub fn short(value: f64) -> String {
    let text = number(value);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

pub fn count(value: u64) -> String {
    group(&value.to_string())
}

/// So many of something, as `1 round` and `1,200 rounds`.
pub fn plural(of: usize, what: &str) -> String {
    format!("{} {what}{}", count(of as u64), if of == 1 { "" } else { "s" })
}

/// How many of a workload's requests are distinct; none: no two are the same.
pub fn distinct(requests: Option<usize>) -> String {
    requests.map_or_else(|| "all".to_owned(), |requests| count(requests as u64))
}

/// A share as percent, as `0.12 %`; what is not zero never reads as zero.
pub fn share(part: f64) -> String {
    let percent = part * 100.0;
    match percent {
        percent if !percent.is_finite() => NONE.to_owned(),
        0.0 => "0 %".to_owned(),
        percent if percent < 0.01 => "< 0.01 %".to_owned(),
        percent if percent < 10.0 => format!("{percent:.2} %"),
        100.0 => "100 %".to_owned(),
        percent if percent < 99.95 => format!("{percent:.1} %"),
        percent => format!("{:.2} %", percent.min(99.99)),
    }
}

/// Bytes, as `12.3 kB`.
pub fn bytes(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{} MB", number(value / 1e6)),
        value if value >= 1e3 => format!("{} kB", number(value / 1e3)),
        value => format!("{} B", number(value)),
    }
}

/// A quantile's name, as `p99.9`.
pub fn quantile(q: f64) -> String {
    let text = format!("{:.4}", q * 100.0);
    format!("p{}", text.trim_end_matches('0').trim_end_matches('.'))
}

fn grouped(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    match text.split_once('.') {
        Some((whole, fraction)) => format!("{}.{fraction}", group(whole)),
        None => group(&text),
    }
}

/// Puts a comma before every three digits.
fn group(digits: &str) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let mut text = String::from(sign);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_matter() {
        for (value, shown) in [
            (0.0, "0"),
            (0.01234, "0.0123"),
            (1.0, "1.00"),
            (9.999, "10.0"),
            (99.96, "100"),
            (1234.5, "1,234"),
            (-1234567.0, "-1,234,567"),
            (f64::NAN, NONE),
        ] {
            assert_eq!(number(value), shown);
        }
        assert_eq!((short(50.0), short(0.5), short(1000.0)), ("50".into(), "0.5".into(), "1,000".into()));
    }

    #[test]
    fn one_is_no_plural() {
        assert_eq!([0, 1, 1200].map(|of| plural(of, "round")), ["0 rounds", "1 round", "1,200 rounds"]);
    }

    #[test]
    fn times_have_the_unit_that_fits() {
        assert_eq!((time(0.0421), time(12.34), time(2500.0)), ("42.1 µs".into(), "12.3 ms".into(), "2.50 s".into()));
        let column = Times::of([0.2, 81.25, f64::NAN]);
        assert_eq!((column.unit, column.show(0.2), column.show(81.25)), (Unit::Millis, "0.20".into(), "81.25".into()));
        assert_eq!(Times::of([0.012, 0.9]).unit, Unit::Micros);
        assert_eq!(Times::of([1200.0, 3000.0]).show(1200.0), "1.20");
        assert_eq!(Times::of([]).show(0.0), "0");
    }

    #[test]
    fn a_share_that_is_not_zero_or_all_never_reads_so() {
        for (part, shown) in [
            (0.0, "0 %"),
            (0.00001, "< 0.01 %"),
            (0.0012, "0.12 %"),
            (0.5, "50.0 %"),
            (0.99999, "99.99 %"),
            (1.0, "100 %"),
        ] {
            assert_eq!(share(part), shown);
        }
    }

    #[test]
    fn quantiles_have_the_names_people_give_them() {
        assert_eq!([0.0, 0.5, 0.999, 0.9999].map(quantile), ["p0", "p50", "p99.9", "p99.99"]);
    }
}
