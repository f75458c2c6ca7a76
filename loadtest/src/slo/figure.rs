//! What an objective can be about, and the units its limits have.

use std::fmt;

use crate::result::QUANTILES;

/// A figure of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Figure {
    Time(Span, Statistic),
    Share(Share),
    Rate(Rate),
}

/// What is timed of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    Latency,
    Ttft,
    Itl,
    Tpot,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Statistic {
    Quantile(f64),
    Mean,
    Max,
}

/// A kind of requests, as a share of all that were due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    Errors,
    Shed,
    Timeouts,
    Wrong,
    /// Right answers within every limit in time.
    Good,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rate {
    Answers,
    Good,
    Tokens,
}

const SPANS: [(&str, Span); 4] =
    [("latency", Span::Latency), ("ttft", Span::Ttft), ("itl", Span::Itl), ("tpot", Span::Tpot)];

const SHARES: [(&str, Share); 4] =
    [("errors", Share::Errors), ("shed", Share::Shed), ("timeouts", Share::Timeouts), ("wrong", Share::Wrong)];

impl Figure {
    /// The figure of a name. `goodput` is a share if its limit is one.
    pub(super) fn parse(name: &str, percentage: bool) -> Result<Figure, String> {
        let share = SHARES.iter().find(|(known, _)| *known == name);
        let figure = match name {
            _ if let Some((_, share)) = share => Some(Figure::Share(*share)),
            "rate" => Some(Figure::Rate(Rate::Answers)),
            "goodput" if percentage => Some(Figure::Share(Share::Good)),
            "goodput" => Some(Figure::Rate(Rate::Good)),
            "tokens" => Some(Figure::Rate(Rate::Tokens)),
            _ => Figure::parse_time(name),
        };
        figure.ok_or_else(|| {
            let quantiles: Vec<_> = QUANTILES.iter().map(|q| Statistic::Quantile(*q).to_string()).collect();
            format!(
                "'{name}' is not known: use {}, mean or max, the same after ttft., itl. or tpot., or errors, shed, \
                 timeouts, wrong, rate, goodput or tokens",
                quantiles.join(", ")
            )
        })
    }

    fn parse_time(name: &str) -> Option<Figure> {
        // A quantile has a point of its own: 'latency.p99.9'.
        let prefixed = name
            .split_once('.')
            .and_then(|(prefix, rest)| SPANS.iter().find(|(known, _)| *known == prefix).map(|(_, span)| (*span, rest)));
        let (span, statistic) = prefixed.unwrap_or((Span::Latency, name));
        let statistic = match statistic {
            "mean" => Statistic::Mean,
            "max" => Statistic::Max,
            _ => QUANTILES.iter().map(|q| Statistic::Quantile(*q)).find(|known| known.to_string() == statistic)?,
        };
        Some(Figure::Time(span, statistic))
    }

    /// A value with its unit, as text for people: `81 ms`, `0.2 %`, `180/s`.
    pub(super) fn show(&self, value: f64) -> String {
        match self {
            Figure::Time(..) => {
                let (value, unit) = time(value);
                format!("{} {unit}", digits(value))
            }
            Figure::Share(_) => format!("{} %", digits(value * 100.0)),
            Figure::Rate(_) => format!("{}/s", digits(value)),
        }
    }

    /// A limit as it is written in an objective: `50ms`, `0.1%`, `180`.
    pub(super) fn spell(&self, limit: f64) -> String {
        match self {
            Figure::Time(..) => {
                let (value, unit) = time(limit);
                format!("{}{unit}", exact(value))
            }
            Figure::Share(_) => format!("{}%", exact(limit * 100.0)),
            Figure::Rate(_) => exact(limit),
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Figure::Time(Span::Latency, statistic) => write!(f, "{statistic}"),
            Figure::Time(span, statistic) => write!(f, "{}.{statistic}", label(&SPANS, span)),
            Figure::Share(Share::Good) | Figure::Rate(Rate::Good) => f.write_str("goodput"),
            Figure::Share(share) => f.write_str(label(&SHARES, share)),
            Figure::Rate(Rate::Answers) => f.write_str("rate"),
            Figure::Rate(Rate::Tokens) => f.write_str("tokens"),
        }
    }
}

impl fmt::Display for Statistic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Statistic::Quantile(q) => write!(f, "p{}", exact(q * 100.0)),
            Statistic::Mean => f.write_str("mean"),
            Statistic::Max => f.write_str("max"),
        }
    }
}

fn label<T: PartialEq>(table: &[(&'static str, T)], wanted: &T) -> &'static str {
    table.iter().find(|(_, known)| known == wanted).map_or("", |(label, _)| *label)
}

/// Milliseconds in the unit that suits them.
fn time(ms: f64) -> (f64, &'static str) {
    match ms {
        ms if ms >= 1e3 => (ms / 1e3, "s"),
        ms if ms >= 1.0 || ms == 0.0 => (ms, "ms"),
        ms => (ms * 1e3, "us"),
    }
}

/// Four significant digits at most, and no zeros behind the point.
fn digits(value: f64) -> String {
    let before = if value.abs() < 1.0 { 0 } else { value.abs().log10() as usize + 1 };
    trimmed(format!("{value:.*}", 4usize.saturating_sub(before)))
}

/// All digits but those that binary fractions add.
fn exact(value: f64) -> String {
    trimmed(format!("{value:.9}"))
}

fn trimmed(text: String) -> String {
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
