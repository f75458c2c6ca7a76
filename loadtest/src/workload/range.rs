//! Ranges as flags write them: `64..256`, both ends included.

use rand::RngExt;
use rand::rngs::StdRng;

/// How many words a prompt has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    pub from: usize,
    pub to: usize,
}

impl Counts {
    /// Reads `128` or `64..256`. `flag` is named in errors.
    pub fn parse(flag: &str, text: &str) -> Result<Counts, String> {
        let wrong = || format!("{flag} '{text}' is not a number of words: give one as 128, or a range as 64..256");
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        let read = |text: &str| text.trim().parse::<usize>().map_err(|_| wrong());
        let counts = Counts { from: read(from)?, to: read(to)? };
        match counts {
            Counts { from: 0, .. } => Err(format!("{flag} '{text}' begins at 0: a prompt has a word at least")),
            Counts { from, to } if from > to => Err(format!("{flag} '{text}' ends before it begins")),
            counts => Ok(counts),
        }
    }

    pub fn draw(&self, rng: &mut StdRng) -> usize {
        rng.random_range(self.from..=self.to)
    }
}

/// Bounds of random values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    pub from: f64,
    pub to: f64,
}

impl Bounds {
    /// Reads `-1..1` or `0..30000`.
    pub fn parse(text: &str) -> Result<Bounds, String> {
        let wrong = || format!("'{text}' is not a range: give it as 0..30000 or -1.5..1.5");
        let (from, to) = text.split_once("..").ok_or_else(wrong)?;
        let read = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite()).ok_or_else(wrong);
        let bounds = Bounds { from: read(from)?, to: read(to)? };
        if bounds.from > bounds.to {
            return Err(format!("'{text}' ends before it begins"));
        }
        Ok(bounds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_words() {
        let parse = |text| Counts::parse("--prompt-words", text);
        assert_eq!(parse("128"), Ok(Counts { from: 128, to: 128 }));
        assert_eq!(parse("64..256"), Ok(Counts { from: 64, to: 256 }));
        for (text, part) in [("0", "begins at 0"), ("9..3", "ends before"), ("many", "is not a number"), ("1..", "1..")]
        {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with("--prompt-words") && error.contains(part), "{error}");
        }
    }

    #[test]
    fn bounds_of_values() {
        assert_eq!(Bounds::parse("-1.5..1.5"), Ok(Bounds { from: -1.5, to: 1.5 }));
        assert_eq!(Bounds::parse("0..30000"), Ok(Bounds { from: 0.0, to: 30000.0 }));
        for text in ["5", "2..1", "a..b", "0..inf", "0..nan"] {
            assert!(Bounds::parse(text).unwrap_err().contains(text), "{text}");
        }
    }
}
