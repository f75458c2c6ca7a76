//! How requests are timed, and how long.

use std::time::Duration;

use humantime::format_duration;

use crate::Result;
use crate::arrivals::Arrivals;
use crate::result::LoadSummary;

/// How requests are timed.
#[derive(Clone, Debug)]
pub enum Load {
    /// Each caller sends its next request when it has the answer to the one before, and has thought.
    Closed { callers: usize, think: Duration },
    /// Requests are due at their times, whatever became of those before.
    Open(Arrivals),
}

/// How long a run is.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub warmup: Warmup,
    /// Measured, after the warm-up.
    pub until: Until,
}

#[derive(Clone, Copy, Debug)]
pub enum Warmup {
    /// A rate that changes by itself stays at its first until then.
    For(Duration),
    /// Until rate and median latency of three windows agree, at most this long.
    Steady { at_most: Duration },
}

#[derive(Clone, Copy, Debug)]
pub enum Until {
    After(Duration),
    /// This many arrivals were due, or requests sent in a closed loop. Later turns of conversations come on top of
    /// arrivals, and count as requests of a closed loop.
    Requests(u64),
    /// The arrivals have an end of their own.
    End,
}

impl Load {
    /// In words and figures.
    pub fn summary(&self) -> LoadSummary {
        match self {
            Load::Closed { callers, think } => {
                let plural = if *callers == 1 { "caller" } else { "callers" };
                let mut what = format!("closed, {callers} {plural}");
                if !think.is_zero() {
                    what.push_str(&format!(", thinking {}", format_duration(*think)));
                }
                LoadSummary { what, open: false, rate: None, callers: Some(*callers) }
            }
            Load::Open(Arrivals::Drawn { course, gaps, .. }) => {
                LoadSummary { what: format!("open, {gaps}, {course}"), open: true, rate: course.rate(), callers: None }
            }
            Load::Open(Arrivals::Recorded(times)) => {
                let what = format!("open, recorded, {} arrivals", times.len());
                LoadSummary { what, open: true, rate: None, callers: None }
            }
        }
    }

    /// The same of a workload whose arrivals begin conversations.
    pub(super) fn summary_of_conversations(&self) -> LoadSummary {
        let summary = self.summary();
        match self {
            Load::Open(Arrivals::Drawn { .. }) => {
                LoadSummary { what: summary.what.replace("/s", " conversations/s"), ..summary }
            }
            Load::Open(Arrivals::Recorded(_)) | Load::Closed { .. } => summary,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self, Load::Open(_))
    }

    /// When a recording ends: a mean gap after its last arrival, where the next one would be. None of one without gaps.
    pub(super) fn end(&self) -> Option<Duration> {
        let Load::Open(Arrivals::Recorded(times)) = self else { return None };
        let last = *times.last()?;
        let gap = last.div_f64(times.len().checked_sub(1).filter(|gaps| *gaps > 0)? as f64);
        (!gap.is_zero()).then(|| last + gap)
    }

    pub(super) fn is_recorded(&self) -> bool {
        matches!(self, Load::Open(Arrivals::Recorded(_)))
    }

    /// Whether it can be put on a server for that long.
    pub(super) fn check(&self, span: &Span) -> Result<()> {
        match (self, span.until) {
            (Load::Closed { callers: 0, .. }, _) => Err(crate::error("a closed loop needs a caller")),
            (Load::Closed { .. } | Load::Open(Arrivals::Drawn { .. }), Until::End) => Err(crate::error(
                "only recorded arrivals have an end of their own: give a duration or a number of requests",
            )),
            (Load::Open(Arrivals::Drawn { course, .. }), _)
                if course.rate().is_none() && matches!(span.warmup, Warmup::Steady { .. }) =>
            {
                Err(crate::error("a rate that changes by itself never becomes steady: give a warm-up of a fixed time"))
            }
            _ => Ok(()),
        }
    }
}

impl Span {
    /// The latest that the warm-up ends, and whether it may end earlier.
    pub(super) fn warmup(&self) -> (Duration, bool) {
        match self.warmup {
            Warmup::For(time) => (time, false),
            Warmup::Steady { at_most } => (at_most, true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrivals::{Course, Gaps};

    #[test]
    fn loads_in_words() {
        let drawn = |course, gaps| Load::Open(Arrivals::Drawn { course, gaps, seed: 1 });
        let ramp = Course::Ramp { from: 1.0, to: 2.5, over: Duration::from_secs(10) };
        for (load, what, rate) in [
            (drawn(Course::Constant(200.0), Gaps::Poisson), "open, poisson, 200/s", Some(200.0)),
            (
                drawn(Course::Constant(11313.70849898476), Gaps::Poisson),
                "open, poisson, 11313.7/s",
                Some(11313.70849898476),
            ),
            (drawn(ramp, Gaps::gamma(2.0).unwrap()), "open, gamma:2, 1/s to 2.5/s over 10s", None),
            (Load::Open(Arrivals::Recorded([Duration::ZERO; 3].into())), "open, recorded, 3 arrivals", None),
            (Load::Closed { callers: 16, think: Duration::ZERO }, "closed, 16 callers", None),
            (Load::Closed { callers: 1, think: Duration::from_secs(1) }, "closed, 1 caller, thinking 1s", None),
        ] {
            let summary = load.summary();
            assert_eq!((summary.what.as_str(), summary.rate), (what, rate));
        }
        let talks = drawn(Course::Constant(10.0), Gaps::Poisson).summary_of_conversations();
        assert_eq!((talks.what.as_str(), talks.rate), ("open, poisson, 10 conversations/s", Some(10.0)));
    }

    #[test]
    fn a_recording_ends_where_its_next_arrival_would_be() {
        let end =
            |ms: &[u64]| Load::Open(Arrivals::Recorded(ms.iter().copied().map(Duration::from_millis).collect())).end();
        assert_eq!(end(&[0, 3, 3, 40, 100]), Some(Duration::from_millis(125)));
        assert_eq!((end(&[]), end(&[0]), end(&[0, 0])), (None, None, None));
    }
}
