//! What processes write, as lines of our log: cut where they are long, counted where they are too many.

use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes of one line; what is longer is cut.
const LONGEST_LINE: usize = 4 << 10;
/// Lines of one stream that are logged in a second.
const MOST_LINES: u32 = 200;
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
    let mut lines = Lines::new(Instant::now());
    let mut chunk = [0; LONGEST_LINE];
    while let Ok(read @ 1..) = stream.read(&mut chunk).await {
        lines.take(&chunk[..read], Instant::now(), |line| {
            tracing::info!(target: "weirgate::child", service = &*service, revision = &*revision, replica, from, "{line}");
        });
    }
    lines.end(|line| {
        tracing::info!(target: "weirgate::child", service = &*service, revision = &*revision, replica, from, "{line}");
    });
}

/// Cuts a stream into lines, and decides which are told.
struct Lines {
    line: Vec<u8>,
    /// Bytes of the line that were left out.
    cut: usize,
    second: Instant,
    told: u32,
    dropped: u64,
}

impl Lines {
    fn new(now: Instant) -> Lines {
        Lines { line: Vec::new(), cut: 0, second: now, told: 0, dropped: 0 }
    }

    fn take(&mut self, mut bytes: &[u8], now: Instant, mut tell: impl FnMut(&str)) {
        if now.saturating_duration_since(self.second) >= SECOND {
            self.tell_dropped(&mut tell);
            (self.second, self.told) = (now, 0);
        }
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
        if self.told == MOST_LINES {
            self.dropped += 1;
        } else {
            self.told += 1;
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
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            tell(&format!("({dropped} lines were dropped: more than {MOST_LINES} came in a second)"));
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
        let flood = b"x\n".repeat(MOST_LINES as usize + 500);
        let told = told(&[(&flood, Duration::ZERO), (b"y\n", SECOND)]);
        assert_eq!(told.len(), MOST_LINES as usize + 2);
        assert!(told[MOST_LINES as usize].contains("500 lines were dropped"), "{}", told[MOST_LINES as usize]);
        assert_eq!(told.last().unwrap(), "y");
    }
}
