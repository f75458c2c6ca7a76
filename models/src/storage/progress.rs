//! What the log says of a download.

use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_secs(5);

/// Tells how far a download has come: now and then, and at its end.
pub(super) struct Progress<'a> {
    service: &'a str,
    /// As it may be shown.
    url: &'a str,
    started: Instant,
    told: Instant,
    /// Bytes that came since the start.
    came: u64,
}

impl<'a> Progress<'a> {
    pub fn new(service: &'a str, url: &'a str) -> Self {
        let now = Instant::now();
        Progress { service, url, started: now, told: now, came: 0 }
    }

    /// More bytes came; so many are there now, of so many in all.
    pub fn came(&mut self, more: usize, bytes: u64, total: Option<u64>) {
        self.came += more as u64;
        if self.told.elapsed() >= EVERY {
            self.told = Instant::now();
            self.tell("downloading the model", bytes, total);
        }
    }

    pub fn done(&self, bytes: u64) {
        self.tell("the model is downloaded", bytes, Some(bytes));
    }

    pub fn again(&self, reason: &str, bytes: u64, pause: Duration) {
        let Progress { service, url, .. } = self;
        let what = if bytes == 0 { "the download can't begin" } else { "the download is interrupted" };
        tracing::warn!(%service, url, reason, bytes, retry_in = ?pause, "{what}");
    }

    fn tell(&self, what: &str, bytes: u64, total: Option<u64>) {
        let Progress { service, url, .. } = self;
        let per_second = self.came as f64 / 1e6 / self.started.elapsed().as_secs_f64().max(1e-3);
        let mb_per_second = (per_second * 10.0).round() / 10.0;
        tracing::info!(%service, url, bytes, total, mb_per_second, "{what}");
    }
}
