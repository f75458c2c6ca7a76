//! What processes write, as lines of our log: cut where they are long, counted where they are too many.

use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes of one line; what is longer is cut.
const LONGEST_LINE: usize = 4 << 10;
/// Lines of one stream that are logged in a second.
const MOST_LINES: usize = 200;
/// Bytes of them.
const MOST_BYTES: usize = 64 << 10;
const SECOND: Duration = Duration::from_secs(1);

/// Whose lines they are.
#[derive(Clone, Debug)]
pub(super) struct Whose {
    pub service: std::sync::Arc<str>,
    pub revision: std::sync::Arc<str>,
    pub replica: u64,
    /// `stdout` or `stderr`.
    pub stream: &'static str,
}

/// Logs a stream until it ends.
pub(super) async fn log(mut stream: impl AsyncRead + Unpin, whose: Whose) {
    let Whose { service, revision, replica, stream: from } = whose;
    let tell = |line: &str| {
        tracing::info!(target: "weirgate::child", %service, %revision, replica, from, "{line}");
    };
    let mut lines = Lines::new(Instant::now());
    let mut chunk = [0; LONGEST_LINE];
    loop {
        let read = tokio::select! {
            read = stream.read(&mut chunk) => read,
            () = sleep_until(lines.due()) => {
                lines.begin_second(Instant::now(), tell);
                continue;
            }
        };
        let Ok(read @ 1..) = read else { break };
        lines.take(&chunk[..read], Instant::now(), tell);
    }
    lines.end(tell);
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Cuts a stream into lines, and decides which are told.
struct Lines {
    line: Vec<u8>,
    /// Bytes of the line that were left out.
    cut: usize,
    second: Instant,
    told: Amount,
    dropped: Amount,
}

#[derive(Clone, Copy, Default)]
struct Amount {
    lines: usize,
    bytes: usize,
}

impl Amount {
    fn add(&mut self, bytes: usize) {
        (self.lines, self.bytes) = (self.lines + 1, self.bytes.saturating_add(bytes));
    }
}

impl Lines {
    fn new(now: Instant) -> Lines {
        let (told, dropped) = (Amount::default(), Amount::default());
        Lines { line: Vec::new(), cut: 0, second: now, told, dropped }
    }

    /// When it is to be told what was dropped, if nothing else comes.
    fn due(&self) -> Option<Instant> {
        (self.dropped.lines > 0).then(|| self.second + SECOND)
    }

    /// Begins another second, where the last one is over.
    fn begin_second(&mut self, now: Instant, mut tell: impl FnMut(&str)) {
        if now.saturating_duration_since(self.second) >= SECOND {
            self.tell_dropped(&mut tell);
            (self.second, self.told) = (now, Amount::default());
        }
    }

    fn take(&mut self, mut bytes: &[u8], now: Instant, mut tell: impl FnMut(&str)) {
        self.begin_second(now, &mut tell);
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.add(&bytes[..end]);
            self.end_line(&mut tell);
            bytes = &bytes[end + 1..];
        }
        self.add(bytes);
    }

    fn end(mut self, mut tell: impl FnMut(&str)) {
        if !self.line.is_empty() {
            self.end_line(&mut tell);
        }
        self.tell_dropped(&mut tell);
    }

    fn add(&mut self, bytes: &[u8]) {
        let room = LONGEST_LINE - self.line.len();
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.cut += bytes.len().saturating_sub(room);
    }

    fn end_line(&mut self, tell: &mut impl FnMut(&str)) {
        let cut = std::mem::take(&mut self.cut);
        if self.told.lines == MOST_LINES || self.told.bytes + self.line.len() > MOST_BYTES {
            self.dropped.add(self.line.len().saturating_add(cut));
        } else {
            self.told.add(self.line.len());
            // Whatever would move a terminal's cursor is shown instead.
            let text = String::from_utf8_lossy(&self.line);
            let text = text.trim_end_matches('\r').chars();
            let mut shown: String = text.map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect();
            if cut > 0 {
                shown += &format!(" (and {cut} more bytes)");
            }
            tell(&shown);
        }
        self.line.clear();
    }

    fn tell_dropped(&mut self, tell: &mut impl FnMut(&str)) {
        let Amount { lines, bytes } = std::mem::take(&mut self.dropped);
        if lines > 0 {
            tell(&format!(
                "({lines} lines of {bytes} bytes were dropped: more than {MOST_LINES} lines or {} KiB came in a second)",
                MOST_BYTES >> 10
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(chunks: &[(&[u8], Duration)]) -> Vec<String> {
        let start = Instant::now();
        let mut told = Vec::new();
        let mut lines = Lines::new(start);
        for (chunk, after) in chunks {
            lines.take(chunk, start + *after, |line| told.push(line.to_owned()));
        }
        lines.end(|line| told.push(line.to_owned()));
        told
    }

    #[test]
    fn lines_are_whole_however_they_come() {
        let at = Duration::ZERO;
        let chunks: [(&[u8], _); 4] = [(b"one\ntw", at), (b"o\r\n\n", at), (b"\x1b[31mred\xff", at), (b"", at)];
        assert_eq!(told(&chunks), ["one", "two", "", "\u{fffd}[31mred\u{fffd}"]);
    }

    #[test]
    fn a_long_line_is_cut() {
        let line = [b'x'; 3 * LONGEST_LINE];
        let told = told(&[(&line, Duration::ZERO), (b"\nnext", Duration::ZERO)]);
        assert_eq!(told[0].len(), LONGEST_LINE + " (and 8192 more bytes)".len());
        assert_eq!(told[1], "next");
    }

    #[test]
    fn a_flood_is_counted_and_told_again_in_the_next_second() {
        let flood = b"x\n".repeat(MOST_LINES + 500);
        let told = told(&[(&flood, Duration::ZERO), (b"y\n", SECOND)]);
        assert_eq!(told.len(), MOST_LINES + 2);
        let expected = "(500 lines of 500 bytes were dropped: more than 200 lines or 64 KiB came in a second)";
        assert_eq!(told[MOST_LINES], expected);
        assert_eq!(told.last().unwrap(), "y");
    }

    #[test]
    fn long_lines_are_dropped_by_their_bytes_and_short_ones_that_still_fit_are_told() {
        let line = [vec![b'x'; 3000], vec![b'\n']].concat();
        let mut flood = line.repeat(100);
        flood.extend_from_slice(b"short\n");
        let told = told(&[(&flood, Duration::ZERO), (b"y\n", SECOND)]);
        let fit = MOST_BYTES / 3000;
        assert_eq!(told.iter().filter(|line| line.starts_with("xxx")).count(), fit);
        assert_eq!(told[fit], "short");
        assert!(told[fit + 1].starts_with(&format!(
            "({} lines of {} bytes were dropped",
            100 - fit,
            (100 - fit) * 3000
        )));
        assert_eq!(told[fit + 2..], ["y"]);
    }

    #[test]
    fn what_was_dropped_is_told_when_the_second_is_over_though_nothing_comes() {
        let start = Instant::now();
        let mut told = Vec::new();
        let mut lines = Lines::new(start);
        assert_eq!(lines.due(), None);
        lines.take(&b"x\n".repeat(MOST_LINES + 1), start, |_| {});
        assert_eq!(lines.due(), Some(start + SECOND));
        lines.begin_second(start + SECOND / 2, |line| told.push(line.to_owned()));
        assert!(told.is_empty(), "{told:?}");
        lines.begin_second(start + SECOND, |line| told.push(line.to_owned()));
        assert!(told.len() == 1 && told[0].contains("1 lines of 1 bytes"), "{told:?}");
        assert_eq!(lines.due(), None, "it is told once");
    }
}
