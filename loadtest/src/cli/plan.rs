//! From options to a load, and to what it is put on.

use std::path::Path;
use std::time::Duration;

use super::Wrong;
use super::options::{LoadOptions, Options};
use super::{rules, sockets};
use crate::arrivals::{Arrivals, Course, Gaps, Trace};
use crate::client::TlsOptions;
use crate::engine::{Load, Span, Until, Warmup};
use crate::workload;

/// A warm-up that ends by itself takes half of the time to measure at most, but this long at most however long that is.
const LONGEST_WARMUP: Duration = Duration::from_secs(10);
/// And it may take this long however short that is: to see that nothing changes takes some windows.
const LONG_ENOUGH: Duration = Duration::from_secs(1);

/// What is to be done, once the flags are known to make sense.
#[derive(Debug)]
pub(super) struct Plan {
    /// Without those that give way to others or mean nothing.
    pub(super) options: Options,
    pub(super) load: Load,
    pub(super) span: Span,
    pub(super) gaps: Gaps,
    pub(super) trace: Option<Trace>,
    pub(super) threads: usize,
    pub(super) most_in_flight: usize,
}

impl Plan {
    pub(super) fn of(mut options: Options) -> Result<Plan, Wrong> {
        rules::choose(&mut options)?;
        check(&options)?;
        let speed = options.load.speed.unwrap_or(1.0);
        let trace = options.load.trace.as_deref().map(|path| trace(path, speed)).transpose()?;
        rules::check(&mut options, trace.as_ref().is_some_and(Trace::has_sizes))?;
        let gaps = options.load.arrivals.as_deref().map_or(Ok(Gaps::Poisson), arrivals)?;
        let load = load(&options.load, gaps, options.payload.seed, trace.as_ref())?;
        let span = span(&options.load, &load)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // The server is often on the same machine.
        let threads = options.connection.threads.unwrap_or((cores / 2).max(1));
        workload::check(
            options.protocol,
            &options.payload,
            &options.judge.expect,
            trace.as_ref().is_some_and(Trace::has_sizes),
        )
        .map_err(Wrong::Usage)?;
        let most_in_flight = sockets::most_in_flight(&options, sockets::most_files())?;
        Ok(Plan { options, load, span, gaps, trace, threads, most_in_flight })
    }

    /// The rate at which a search begins, where one was given.
    pub(super) fn first_rate(&self) -> Result<Option<f64>, Wrong> {
        match &self.load {
            Load::Open(Arrivals::Drawn { course, .. }) => course.rate().map(Some).ok_or_else(|| {
                Wrong::Usage("--sweep begins at one rate, not at several: give one, or leave --rate out".to_owned())
            }),
            _ => Ok(None),
        }
    }
}

fn check(options: &Options) -> Result<(), Wrong> {
    for (flag, time) in [("--duration", options.load.duration()), ("--timeout", options.load.timeout)] {
        if time.is_zero() {
            return Err(Wrong::Usage(format!("{flag} is 0: give a time, as 10s")));
        }
    }
    if let Some(speed) = options.load.speed
        && !(speed.is_finite() && speed > 0.0)
    {
        return Err(Wrong::Usage(format!("--speed {speed} is not above 0")));
    }
    Ok(())
}

fn load(options: &LoadOptions, gaps: Gaps, seed: u64, trace: Option<&Trace>) -> Result<Load, Wrong> {
    Ok(match (&options.rate, trace) {
        (_, Some(trace)) => Load::Open(Arrivals::Recorded(trace.times().into())),
        (Some(rate), None) => {
            let course = Course::parse(rate, options.duration());
            let course = course.map_err(|error| Wrong::Usage(format!("--rate '{rate}': {error}")))?;
            Load::Open(Arrivals::Drawn { course, gaps, seed })
        }
        (None, None) => Load::Closed { callers: options.callers.unwrap_or(1), think: options.think_time() },
    })
}

fn span(options: &LoadOptions, load: &Load) -> Result<Span, Wrong> {
    let until = match (load, options.requests) {
        (_, Some(requests)) => Until::Requests(requests),
        (Load::Open(Arrivals::Recorded(_)), None) => options.duration.map_or(Until::End, Until::After),
        (Load::Open(Arrivals::Drawn { course: Course::Steps(steps), .. }), None) => {
            Until::After(steps.iter().map(|(_, time)| *time).sum())
        }
        _ => Until::After(options.duration()),
    };
    // A load that changes by itself never becomes steady, and its change is what is to be seen.
    let changes = match load {
        Load::Open(Arrivals::Drawn { course, .. }) => course.rate().is_none(),
        Load::Open(Arrivals::Recorded(_)) => true,
        Load::Closed { .. } => false,
    };
    let warmup = match options.warmup.as_deref().unwrap_or("auto") {
        "auto" if changes => Warmup::For(Duration::ZERO),
        "auto" => Warmup::Steady { at_most: (options.duration() / 2).clamp(LONG_ENOUGH, LONGEST_WARMUP) },
        text => Warmup::For(
            crate::time::parse(text)
                .map_err(|error| Wrong::Usage(format!("--warmup '{text}' is neither auto nor a time: {error}")))?,
        ),
    };
    Ok(Span { warmup, until })
}

fn arrivals(text: &str) -> Result<Gaps, Wrong> {
    text.parse().map_err(|error| Wrong::Usage(format!("--arrivals '{text}': {error}")))
}

fn trace(path: &Path, speed: f64) -> Result<Trace, Wrong> {
    let text =
        String::from_utf8(read(path)?).map_err(|_| Wrong::Failed(format!("{} is not UTF-8 text", path.display())))?;
    Trace::parse(&text, speed).map_err(|error| Wrong::Failed(format!("{}: {error}", path.display())))
}

pub(super) fn tls(options: &Options) -> Result<TlsOptions, Wrong> {
    let roots = options.connection.ca_file.as_deref().map(read).transpose()?;
    Ok(TlsOptions { roots, insecure: options.connection.insecure })
}

fn read(path: &Path) -> Result<Vec<u8>, Wrong> {
    std::fs::read(path).map_err(|error| Wrong::Failed(format!("can't read {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::super::options::tests::parse;
    use super::*;

    fn plan(flags: &[&str]) -> Result<Plan, Wrong> {
        Plan::of(parse(flags))
    }

    #[test]
    fn without_a_rate_it_is_a_closed_loop() {
        let plan = plan(&["-c", "8", "--think-time", "5ms", "-n", "100"]).unwrap();
        assert!(matches!(plan.load, Load::Closed { callers: 8, think } if think == Duration::from_millis(5)));
        assert!(matches!(plan.span.until, Until::Requests(100)));
        assert!(matches!(plan.span.warmup, Warmup::Steady { at_most } if at_most == Duration::from_secs(5)));
        assert_eq!(plan.first_rate(), Ok(None));
    }

    #[test]
    fn what_changes_by_itself_is_measured_from_its_start() {
        let steps = plan(&["-r", "10:2s,20:3s"]).unwrap();
        assert!(matches!(steps.span.until, Until::After(time) if time == Duration::from_secs(5)));
        assert!(matches!(steps.span.warmup, Warmup::For(Duration::ZERO)));
        assert!(matches!(steps.first_rate(), Err(Wrong::Usage(_))));
        let constant = plan(&["-r", "10", "--warmup", "2s"]).unwrap();
        assert!(matches!(constant.span.warmup, Warmup::For(time) if time == Duration::from_secs(2)));
        assert_eq!(constant.first_rate(), Ok(Some(10.0)));
    }

    #[test]
    fn a_trace_goes_on_to_its_end_or_for_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("trace.csv");
        std::fs::write(&file, "TIMESTAMP\n1\n9\n").unwrap();
        let trace = ["--trace", file.to_str().unwrap()];
        assert!(matches!(plan(&trace).unwrap().span.until, Until::End));
        let cut = plan(&[&trace[..], &["-d", "3s"]].concat()).unwrap();
        assert!(matches!(cut.span.until, Until::After(time) if time == Duration::from_secs(3)));
    }

    #[test]
    fn a_warm_up_that_ends_by_itself_has_the_time_it_needs_and_no_more() {
        for (duration, seconds) in [("100ms", 1), ("4s", 2), ("1h", 10)] {
            let warmup = plan(&["-d", duration]).unwrap().span.warmup;
            assert!(matches!(warmup, Warmup::Steady { at_most } if at_most == Duration::from_secs(seconds)));
        }
    }

    #[test]
    fn flags_that_ask_for_nothing_are_told() {
        for (flags, part) in [
            (&["-d", "0s"][..], "--duration is 0"),
            (&["--trace", "x", "--speed", "0"], "--speed 0"),
            (&["--warmup", "soon"], "--warmup 'soon'"),
            (&["--warmup", "-2s"], "below 0"),
            (&["-r", "fast"], "--rate 'fast': "),
            (&["-r", "5:0"], "--rate '5:0': "),
            (&["-r", "1", "--arrivals", "odd"], "--arrivals 'odd': "),
        ] {
            let Err(Wrong::Usage(error)) = plan(flags) else { panic!("{flags:?}") };
            assert!(error.contains(part), "{flags:?}: {error}");
        }
        assert!(matches!(plan(&["--trace", "/nowhere"]), Err(Wrong::Failed(error)) if error.contains("/nowhere")));
    }
}
