//! Kubernetes quantities: `500m`, `2`, `1.5`, `512Mi`, `2e3`.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

const NANO: u128 = 1_000_000_000;
/// More digits than any real amount has; keeps the arithmetic within `u128`.
const MOST_DIGITS: usize = 24;

/// An amount of a resource, exact to 10⁻⁹. Keeps the user's spelling; two spellings of one amount are equal.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "String")]
pub struct Quantity {
    text: String,
    nanos: u128,
}

/// The text is no quantity that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuantityError;

impl Quantity {
    /// What messages call an allowed quantity.
    pub(crate) const ALLOWED: &str = "a quantity such as 2, 1.5, 500m or 512Mi";

    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    /// The amount rounded up to a whole number: 500m CPU need 1 CPU.
    pub fn whole(&self) -> u128 {
        self.nanos.div_ceil(NANO)
    }

    /// The same amount in the one spelling that all amounts can have.
    pub(crate) fn canonical(&self) -> Quantity {
        Quantity { text: format!("{}n", self.nanos), nanos: self.nanos }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, suffix) = text.split_at(split);
        let (units, decimals) = number.split_once('.').unwrap_or((number, ""));
        let digits = format!("{units}{decimals}");
        if digits.is_empty() || digits.len() > MOST_DIGITS {
            return Err(QuantityError);
        }
        let amount: u128 = digits.parse().map_err(|_| QuantityError)?;
        let (multiple, divisor) = scale(suffix).ok_or(QuantityError)?;
        let divisor = 10_u128.pow(decimals.len() as u32) * divisor;
        // The smallest step is a nano; what lies below is rounded up, as Kubernetes does.
        let nanos = amount.checked_mul(multiple).and_then(|scaled| scaled.checked_mul(NANO)).ok_or(QuantityError)?;
        Ok(Quantity { text: text.to_owned(), nanos: nanos.div_ceil(divisor) })
    }
}

/// What a suffix multiplies by and divides by.
fn scale(suffix: &str) -> Option<(u128, u128)> {
    let binary = |power: u32| Some((1024_u128.pow(power), 1));
    let decimal = |exponent: i32| match exponent {
        0..=18 => Some((10_u128.pow(exponent.unsigned_abs()), 1)),
        -9..0 => Some((1, 10_u128.pow(exponent.unsigned_abs()))),
        _ => None,
    };
    match suffix {
        "" => decimal(0),
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => decimal(suffix.strip_prefix(['e', 'E'])?.parse().ok()?),
    }
}

/// YAML writes `cpu: 2` as a number and `cpu: 500m` as text: both are quantities.
impl TryFrom<Value> for Quantity {
    type Error = QuantityError;

    fn try_from(value: Value) -> Result<Self, QuantityError> {
        match value {
            Value::String(text) => text.parse(),
            Value::Number(number) => number.to_string().parse(),
            _ => Err(QuantityError),
        }
    }
}

impl From<Quantity> for String {
    fn from(quantity: Quantity) -> String {
        quantity.text
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for QuantityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "allowed is {}", Quantity::ALLOWED)
    }
}

impl std::error::Error for QuantityError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_amounts_are_rounded_up() {
        let cases = [
            ("500m", 1),
            ("2", 2),
            ("1.5", 2),
            ("1500m", 2),
            ("2000m", 2),
            ("0", 0),
            (".5", 1),
            ("1.", 1),
            ("1n", 1),
            ("0.0000000001", 1),
            ("1k", 1_000),
            ("2e3", 2_000),
            ("2E3", 2_000),
            ("2e-3", 1),
            ("1Ki", 1_024),
            ("512Mi", 512 << 20),
            ("1.5Gi", 3 << 29),
            ("1E", 1_000_000_000_000_000_000),
            ("1Ei", 1 << 60),
        ];
        for (text, whole) in cases {
            assert_eq!(text.parse::<Quantity>().map(|quantity| quantity.whole()), Ok(whole), "{text}");
        }
    }

    #[test]
    fn garbage_is_refused() {
        let long = "9".repeat(MOST_DIGITS + 1);
        let cases = [
            "", ".", "-1", "+1", "two", "1 ", " 1", "1.2.3", "1mm", "1K", "1mi", "1e", "1e99", "1e-99", "0x10", "٣",
            "∞",
        ];
        for text in cases.into_iter().chain([long.as_str()]) {
            assert_eq!(text.parse::<Quantity>(), Err(QuantityError), "{text:?}");
        }
    }

    #[test]
    fn spelling_is_kept_and_does_not_matter() {
        let quantity: Quantity = serde_json::from_str("\"1000m\"").unwrap();
        assert_eq!(quantity, serde_json::from_str("1").unwrap());
        assert_eq!(serde_json::to_string(&quantity).unwrap(), "\"1000m\"");
    }
}
