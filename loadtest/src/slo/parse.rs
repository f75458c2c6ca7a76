//! Objectives from text.

use std::fmt;
use std::str::FromStr;

use super::Slo;
use super::figure::Figure;

/// One figure and its limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Term {
    pub(super) figure: Figure,
    pub(super) is: Comparison,
    /// Milliseconds, a share from 0 to 1, or a number a second.
    pub(super) limit: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Below,
    AtMost,
    Above,
    AtLeast,
}

impl Comparison {
    pub(super) fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Comparison::Below => value < limit,
            Comparison::AtMost => value <= limit,
            Comparison::Above => value > limit,
            Comparison::AtLeast => value >= limit,
        }
    }

    /// What a value is that doesn't hold.
    pub(super) fn broken(self) -> &'static str {
        match self {
            Comparison::Below => "is not below",
            Comparison::AtMost => "is above",
            Comparison::Above => "is not above",
            Comparison::AtLeast => "is below",
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Comparison::Below => "<",
            Comparison::AtMost => "<=",
            Comparison::Above => ">",
            Comparison::AtLeast => ">=",
        }
    }
}

impl FromStr for Slo {
    type Err = String;

    fn from_str(text: &str) -> Result<Slo, String> {
        let terms: Result<Vec<Term>, String> = text.split(',').map(|term| term.trim().parse()).collect();
        let terms = terms?;
        Ok(Slo { text: text.to_owned(), limits: super::judge::limits(&terms), terms })
    }
}

impl FromStr for Term {
    type Err = String;

    fn from_str(text: &str) -> Result<Term, String> {
        if text.is_empty() {
            return Err("a term is empty: give terms as 'p99<50ms', separated by commas".to_owned());
        }
        let wrong = |why: String| format!("'{text}': {why}");
        let Some(at) = text.find(['<', '>']) else {
            return Err(wrong("has no comparison: give a figure, one of <, <=, > or >=, and a limit".to_owned()));
        };
        let (name, rest) = text.split_at(at);
        let (is, limit) = match rest.as_bytes() {
            [b'<', b'=', ..] => (Comparison::AtMost, &rest[2..]),
            [b'>', b'=', ..] => (Comparison::AtLeast, &rest[2..]),
            [b'<', ..] => (Comparison::Below, &rest[1..]),
            _ => (Comparison::Above, &rest[1..]),
        };
        let (name, limit) = (name.trim(), limit.trim());
        let figure = Figure::parse(name, limit.ends_with('%')).map_err(wrong)?;
        let parsed = match figure {
            Figure::Time(..) => time(limit),
            Figure::Share(_) => share(limit),
            Figure::Rate(_) => rate(limit),
        };
        let limit = parsed.map_err(wrong)?;
        if is == Comparison::Below && limit == 0.0 {
            return Err(wrong("nothing is below 0: give a limit above it, or '<='".to_owned()));
        }
        Ok(Term { figure, is, limit })
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.figure, self.is.sign(), self.figure.spell(self.limit))
    }
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)
}

/// Milliseconds.
fn time(text: &str) -> Result<f64, String> {
    // Longer units first: all of them end in 's'.
    let units = [("us", 1e-3), ("µs", 1e-3), ("μs", 1e-3), ("ms", 1.0), ("s", 1e3)];
    let with_unit = units.iter().find_map(|(unit, ms)| text.strip_suffix(unit).map(|text| (text, *ms)));
    match with_unit {
        Some((text, ms)) => number(text).map(|number| number * ms),
        None if number(text).is_some() => {
            return Err(format!("a time needs a unit: give {text}us, {text}ms or {text}s"));
        }
        None => None,
    }
    .ok_or_else(|| format!("'{text}' is not a time: give a number and us, ms or s"))
}

fn share(text: &str) -> Result<f64, String> {
    let share = match (text.strip_suffix('%'), number(text)) {
        (Some(text), _) => number(text).map(|number| number / 100.0),
        (None, Some(0.0)) => Some(0.0),
        // Either meaning of it, 0.1 % or 10 %, is what someone expects.
        (None, Some(_)) => return Err(format!("{text} of what is not said: give a percentage, as {text}%")),
        (None, None) => None,
    };
    share
        .filter(|share| *share <= 1.0)
        .ok_or_else(|| format!("'{text}' is not a share: give a percentage up to 100%, as 0.1%"))
}

fn rate(text: &str) -> Result<f64, String> {
    number(text.trim_end_matches("/s")).ok_or_else(|| format!("'{text}' is not a rate: give a number a second"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_for_all() {
        for (text, canonical) in [
            ("p99<50ms,errors<0.1%", "p99<50ms,errors<0.1%"),
            (" latency.p99.9 <= 0.25s , errors<0.1% ", "p99.9<=250ms,errors<0.1%"),
            ("mean<250us,max<1500ms", "mean<250us,max<1.5s"),
            ("p50<250µs,p99.99<2s,p75<1ms", "p50<250us,p99.99<2s,p75<1ms"),
            (
                "ttft.p99<300ms,itl.p95<40ms,tpot.mean<=0.03s,itl.p99.9<1s",
                "ttft.p99<300ms,itl.p95<40ms,tpot.mean<=30ms,itl.p99.9<1s",
            ),
            ("rate>=180/s,goodput>100,goodput>=99.5%,tokens>1e3", "rate>=180,goodput>100,goodput>=99.5%,tokens>1000"),
            ("shed<=0%,timeouts<1%,wrong<=0", "shed<=0%,timeouts<1%,wrong<=0%"),
        ] {
            let slo: Slo = text.parse().unwrap();
            assert_eq!(slo.to_string(), canonical);
            assert_eq!(slo.text, text, "kept as given");
            let again: Slo = canonical.parse().unwrap();
            assert_eq!(again.to_string(), canonical, "what is printed can be given again");
        }
    }

    #[test]
    fn what_is_no_objective_is_told_with_its_term() {
        for (text, parts) in [
            ("p99<50ms,p98<60ms", &["'p98<60ms'", "'p98' is not known", "p99.99", "ttft.", "goodput"][..]),
            ("latency<50ms", &["'latency' is not known"]),
            ("ttft.p98<50ms", &["'ttft.p98' is not known"]),
            ("p99<50", &["'p99<50'", "needs a unit", "50ms"]),
            ("p99<fast", &["'fast' is not a time"]),
            ("p99<-1ms", &["is not a time"]),
            ("p99<infs", &["is not a time"]),
            ("p99", &["has no comparison"]),
            ("p99=50ms", &["has no comparison"]),
            ("p99<50ms,", &["a term is empty"]),
            ("", &["a term is empty"]),
            ("errors<0.1", &["'errors<0.1'", "give a percentage, as 0.1%"]),
            ("shed<=1,p99<1s", &["give a percentage, as 1%"]),
            ("errors<101%", &["'101%' is not a share"]),
            ("errors<1ms", &["'1ms' is not a share"]),
            ("rate>10%", &["'10%' is not a rate"]),
            ("errors<0%", &["nothing is below 0"]),
        ] {
            let error = text.parse::<Slo>().unwrap_err();
            for part in parts {
                assert!(error.contains(part), "{text}: {error}");
            }
        }
    }
}
