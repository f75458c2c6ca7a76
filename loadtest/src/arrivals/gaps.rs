//! How arrivals are spaced at a rate.

use std::fmt;
use std::str::FromStr;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_distr::{Distribution, Exp1, Gamma};

/// The least and most coefficient of variation of gamma gaps. Below they are constant, above it all comes in one burst.
const CV: std::ops::RangeInclusive<f64> = 0.01..=100.0;

/// How arrivals are spaced at a rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gaps {
    /// All alike.
    Constant,
    /// Exponential: callers that know nothing of each other.
    Poisson,
    /// Gamma with a coefficient of variation: 1 is Poisson, more comes in bursts.
    Gamma(Cv),
}

/// A coefficient of variation that gamma gaps can have: 0.01 to 100.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cv(f64);

impl Gaps {
    /// Gaps with a mean of one.
    pub(super) fn draw(self, seed: u64) -> Box<dyn Iterator<Item = f64> + Send> {
        let mut rng = StdRng::seed_from_u64(seed);
        match self {
            Gaps::Constant => Box::new(std::iter::once(0.0).chain(std::iter::repeat(1.0))),
            Gaps::Poisson => Box::new(std::iter::repeat_with(move || Exp1.sample(&mut rng))),
            Gaps::Gamma(Cv(cv)) => {
                let variance = cv * cv;
                let gamma = Gamma::new(1.0 / variance, variance).expect("both are above zero");
                Box::new(gamma.sample_iter(rng))
            }
        }
    }

    /// # Errors
    /// If the coefficient of variation is not from 0.01 to 100.
    pub fn gamma(cv: f64) -> Result<Gaps, String> {
        // NaN is in no range.
        if CV.contains(&cv) {
            return Ok(Gaps::Gamma(Cv(cv)));
        }
        Err(format!("'{cv}' is not a coefficient of variation: give a number from {} to {}", CV.start(), CV.end()))
    }

    /// The coefficient of variation: standard deviation by mean.
    pub fn cv(self) -> f64 {
        match self {
            Gaps::Constant => 0.0,
            Gaps::Poisson => 1.0,
            Gaps::Gamma(Cv(cv)) => cv,
        }
    }
}

impl FromStr for Gaps {
    type Err = String;

    /// Reads `constant`, `poisson` or `gamma:2`.
    fn from_str(text: &str) -> Result<Gaps, String> {
        match text.split_once(':') {
            None if text == "constant" => Ok(Gaps::Constant),
            None if text == "poisson" => Ok(Gaps::Poisson),
            Some(("gamma", cv)) => match cv.parse() {
                Ok(cv) => Gaps::gamma(cv),
                Err(_) => Err(format!("'{cv}' is not a coefficient of variation: give a number, as gamma:2")),
            },
            _ => Err(format!("arrivals '{text}' are not known: give constant, poisson or gamma:CV, as gamma:2")),
        }
    }
}

impl fmt::Display for Gaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Gaps::Constant => f.write_str("constant"),
            Gaps::Poisson => f.write_str("poisson"),
            Gaps::Gamma(Cv(cv)) => write!(f, "gamma:{cv}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_read_as_they_are_shown() {
        for gaps in [Gaps::Constant, Gaps::Poisson, Gaps::gamma(2.5).unwrap()] {
            assert_eq!(gaps.to_string().parse(), Ok(gaps));
        }
        for (text, part) in [
            ("uniform", "'uniform' are not known"),
            ("gamma", "as gamma:2"),
            ("gamma:", "'' is not a coefficient"),
            ("gamma:0", "from 0.01 to 100"),
            ("gamma:-1", "'-1'"),
            ("gamma:NaN", "'NaN'"),
            ("poisson:2", "are not known"),
        ] {
            let error = text.parse::<Gaps>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
