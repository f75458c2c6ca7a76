//! The objective that a service is held to, as `p99<50ms,errors<0.1%`.

use std::str::FromStr;

use crate::result::Run;

/// All of its terms must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    /// As it was given.
    pub text: String,
}

impl FromStr for Slo {
    type Err = String;

    fn from_str(text: &str) -> Result<Slo, String> {
        Ok(Slo { text: text.to_owned() })
    }
}

impl Slo {
    /// What the run missed, a term each, as `p99 81 ms is not below 50 ms`. Empty: it was met.
    pub fn missed(&self, run: &Run) -> Vec<String> {
        let _ = run;
        vec!["objectives are not built yet".to_owned()]
    }

    /// Whether one right answer met every limit in time that is set to requests, whatever the quantile. Milliseconds.
    pub fn is_good(&self, request: &Times) -> bool {
        let _ = request;
        false
    }
}

/// The times of one request, in milliseconds from when it was due.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    pub latency: f64,
    /// Of streamed answers only.
    pub ttft: Option<f64>,
    /// The mean gap between parts.
    pub itl: Option<f64>,
    pub tpot: Option<f64>,
}
