//! How far a run is, on standard error: a line that renews itself on a terminal, else a line now and then.

use std::io::{IsTerminal, Stderr, Write};

use super::number;
use super::text::plain;
use crate::cli::Progress as ProgressOption;
use crate::engine::{Begin, Observer};
use crate::result::{Run, Window, supports};

/// Seconds of a run between two lines that stay.
const BETWEEN_LINES: f64 = 5.0;
/// Characters of the bar.
const BAR: usize = 10;
/// Between the items of a line.
const GAP: &str = "  ";
/// Where a terminal doesn't tell its width.
const WIDTH: usize = 80;

/// How it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// One line, written again and again.
    Renewed,
    /// Lines that stay.
    Lines,
    Silent,
}

/// Shows each window of a run as it ends.
#[derive(Debug)]
pub struct Progress<W: Write> {
    out: W,
    style: Style,
    /// Characters of a line, asked for each time: people resize their windows.
    width: fn() -> usize,
    /// What runs, in words.
    what: String,
    failed: u64,
    /// End of the last window that had a line, and requests that had been answered right since.
    told: f64,
    since: Since,
    /// Whether a renewed line stands on the terminal.
    stands: bool,
}

/// What ended since the last line.
#[derive(Clone, Copy, Debug, Default)]
struct Since {
    seconds: f64,
    ok: u64,
}

impl Progress<Stderr> {
    /// As the flag asks for, on standard error.
    pub fn stderr(how: ProgressOption) -> Progress<Stderr> {
        let style = match how {
            ProgressOption::Auto if std::io::stderr().is_terminal() => Style::Renewed,
            ProgressOption::Auto | ProgressOption::Lines => Style::Lines,
            ProgressOption::Line => Style::Renewed,
            ProgressOption::None => Style::Silent,
        };
        Progress::new(std::io::stderr(), style, terminal_width)
    }
}

fn terminal_width() -> usize {
    let columns = rustix::termios::tcgetwinsize(std::io::stderr()).map_or(0, |size| usize::from(size.ws_col));
    if columns == 0 { WIDTH } else { columns }
}

impl<W: Write> Progress<W> {
    pub fn new(out: W, style: Style, width: fn() -> usize) -> Progress<W> {
        let (what, since) = (String::new(), Since::default());
        Progress { out, style, width, what, failed: 0, told: 0.0, since, stands: false }
    }

    fn line(&mut self, text: &str) {
        self.clear();
        // Whoever closed standard error doesn't want to be told; the run goes on.
        let _ = writeln!(self.out, "{}", plain(text));
    }

    /// Shows as many of the items as fit beside each other.
    fn renew(&mut self, items: &[String]) {
        let room = self.room();
        let mut text = String::new();
        for item in items.iter().map(|item| plain(item)).filter(|item| !item.is_empty()) {
            if text.is_empty() {
                text = cut(&item, room);
            } else if text.chars().count() + GAP.len() + item.chars().count() <= room {
                text += GAP;
                text += &item;
            } else {
                break;
            }
        }
        let _ = write!(self.out, "\r\x1b[2K{text}");
        let _ = self.out.flush();
        self.stands = true;
    }

    /// Characters of a line. One column stays free, as some terminals begin a new line when the last is written to.
    fn room(&self) -> usize {
        (self.width)().saturating_sub(1)
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.stands) {
            let _ = write!(self.out, "\r\x1b[2K");
            let _ = self.out.flush();
        }
    }
}

impl<W: Write> Drop for Progress<W> {
    /// A run that fails leaves a clean line to its error.
    fn drop(&mut self) {
        self.clear();
    }
}

impl<W: Write> Observer for Progress<W> {
    fn begins(&mut self, run: &Begin<'_>) {
        self.what = named(run);
        (self.failed, self.told, self.since) = (0, 0.0, Since::default());
        match self.style {
            Style::Renewed => {
                let what = vec![self.what.clone()];
                self.renew(&what);
            }
            Style::Lines => self.line(&self.what.clone()),
            Style::Silent => {}
        }
    }

    fn window(&mut self, window: &Window, done: Option<f64>) {
        self.failed += window.shed + window.failed;
        self.since.seconds += window.seconds;
        self.since.ok += window.ok;
        let elapsed = window.start + window.seconds;
        match self.style {
            Style::Renewed => {
                let items = state(window, self.since, self.failed, elapsed, done);
                self.since = Since::default();
                self.renew(&[vec![bar(done)], items].concat());
            }
            Style::Lines if elapsed - self.told >= BETWEEN_LINES - 1e-9 => {
                let text = format!("  {}", state(window, self.since, self.failed, elapsed, done).join(GAP));
                (self.told, self.since) = (elapsed, Since::default());
                self.line(&text);
            }
            Style::Lines | Style::Silent => {}
        }
    }

    fn ends(&mut self, run: &Run) {
        if self.style == Style::Silent {
            return;
        }
        let count = run.latency.count;
        let value = |value: f64| (count > 0).then_some(value);
        let (rate, failed) = (number::number(run.rate), number::count(run.outcomes.failed()));
        let (p50, high) = (time(run.latency.at(0.5)), high(count, run.latency.at(0.99), value(run.latency.max)));
        let figures = format!(": {rate} right/s, p50 {p50}, {high}, {failed} not right");
        let mut what = std::mem::take(&mut self.what);
        if self.style == Style::Renewed {
            // The figures matter more than what they are of.
            what = cut(&what, self.room().saturating_sub(figures.chars().count()));
        }
        self.line(&format!("{what}{figures}"));
    }
}

/// What runs, with its label if it has one. A label that ends with the rate tells it, and the load need not.
fn named(run: &Begin<'_>) -> String {
    let without_rate = || run.what.rsplit_once(", ").filter(|(_, rate)| rate.ends_with("/s")).map(|(what, _)| what);
    match run.label {
        Some(label) if label.ends_with("/s") => format!("{label}, {}", without_rate().unwrap_or(run.what)),
        Some(label) => format!("{label}: {}", run.what),
        None => run.what.to_owned(),
    }
}

fn bar(done: Option<f64>) -> String {
    let Some(done) = done else { return String::new() };
    let done = done.clamp(0.0, 1.0);
    let full = (done * BAR as f64).round() as usize;
    format!("[{}{}] {:>3.0} %", "#".repeat(full), "-".repeat(BAR - full), done * 100.0)
}

/// The state of a run; what matters most comes first, as a narrow terminal has no room for the end.
fn state(window: &Window, since: Since, failed: u64, elapsed: f64, done: Option<f64>) -> Vec<String> {
    let rate = if since.seconds > 0.0 { since.ok as f64 / since.seconds } else { 0.0 };
    let left = done.filter(|done| *done > 0.0 && *done <= 1.0);
    let left = left.map_or_else(String::new, |done| format!(", {:.0} s left", elapsed * (1.0 - done) / done));
    let warm = if window.warmup { " (warm-up)" } else { "" };
    vec![
        format!("{} right/s", number::number(rate)),
        format!("p50 {}", time(window.p50)),
        high(window.ok, window.p99, window.max),
        format!("{} not right", number::count(failed)),
        format!("{elapsed:.0} s{left}{warm}"),
        format!("{} in flight", number::count(window.in_flight)),
    ]
}

/// The p99 if so many values support one, else the greatest.
fn high(count: u64, p99: Option<f64>, max: Option<f64>) -> String {
    if supports(count, 0.99) { format!("p99 {}", time(p99)) } else { format!("max {}", time(max)) }
}

fn time(value: Option<f64>) -> String {
    value.map_or_else(|| number::NONE.to_owned(), number::time)
}

fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        text.to_owned()
    } else {
        text.chars().take(room.saturating_sub(1)).chain(['…']).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    fn shown(style: Style, width: fn() -> usize, finish: bool) -> String {
        let run = fixture::run(200.0, 12, 10.0, 2.0, 1);
        let mut out = Vec::new();
        {
            let mut progress = Progress::new(&mut out, style, width);
            progress.begins(&Begin { what: "open, 200/s", label: Some("point\x1b[2J 3") });
            for (index, window) in run.windows.iter().enumerate() {
                progress.window(window, Some((index + 1) as f64 / run.windows.len() as f64));
            }
            if finish {
                progress.ends(&run);
            }
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_terminal_has_one_line_that_fits_and_goes() {
        let text = shown(Style::Renewed, || 60, true);
        assert_eq!(text.matches('\n').count(), 1, "only the last line stays: {text:?}");
        let (renewed, last) = text.rsplit_once("\r\x1b[2K").unwrap();
        assert!(last.starts_with("point\u{fffd}") && last.ends_with(" not right\n"), "{last:?}");
        let lines: Vec<&str> = renewed.split("\r\x1b[2K").skip(1).collect();
        assert_eq!(lines.len(), 1 + 15, "{lines:?}");
        assert!(lines.iter().all(|line| line.chars().count() < 60 && !line.contains('\x1b')), "{lines:?}");
        assert!(lines[15].starts_with("[##########] 100 %  ") && lines[15].contains("  p50 "), "{lines:?}");
        assert!(lines[1..].iter().all(|line| !line.ends_with(|end: char| end.is_whitespace())), "no item is cut");
    }

    #[test]
    fn the_line_that_stays_fits_a_terminal_too() {
        let mut out = Vec::new();
        let mut progress = Progress::new(&mut out, Style::Renewed, || 80);
        progress.begins(&Begin { what: &"a long load ".repeat(20), label: None });
        progress.ends(&fixture::run(200.0, 12, 10.0, 2.0, 1));
        drop(progress);
        let text = String::from_utf8(out).unwrap();
        let (_, last) = text.rsplit_once("\r\x1b[2K").unwrap();
        assert!(last.trim_end().chars().count() < 80 && last.ends_with(" not right\n"), "{last:?}");
    }

    #[test]
    fn a_p99_on_few_values_is_not_shown() {
        assert_eq!(high(999, Some(5.0), Some(9.0)), "max 9.00 ms");
        assert_eq!(high(1000, Some(5.0), Some(9.0)), "p99 5.00 ms");
        assert_eq!(high(0, None, None), "max –");
    }

    #[test]
    fn what_is_not_a_terminal_gets_a_line_now_and_then() {
        let text = shown(Style::Lines, || 10, true);
        assert!(!text.contains('\x1b') && !text.contains('\r'));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5, "begin, three times five seconds, end: {text}");
        assert!(lines[1].contains("5 s, 10 s left") && lines[3].contains("15 s, 0 s left"), "{text}");
        let rate: f64 = lines[2].split_whitespace().next().unwrap().parse().unwrap();
        assert!((180.0..220.0).contains(&rate), "the rate is that of all five seconds: {text}");
    }

    #[test]
    fn a_rate_is_told_once() {
        let named = |label| named(&Begin { what: "open, poisson, 11314/s", label });
        assert_eq!(named(Some("point 7: 11314/s")), "point 7: 11314/s, open, poisson");
        assert_eq!(named(Some("a, round 1 of 5")), "a, round 1 of 5: open, poisson, 11314/s");
        assert_eq!(named(None), "open, poisson, 11314/s");
    }

    #[test]
    fn nothing_is_nothing() {
        assert_eq!(shown(Style::Silent, || 80, true), "");
    }

    #[test]
    fn a_run_that_is_cut_off_leaves_a_clean_line() {
        assert!(shown(Style::Renewed, || 80, false).ends_with("\r\x1b[2K"));
    }
}
