//! What one revision answered: counts and times, kept in its lane.
//!
//! A call that is answered pays for two counters. All else is counted once for each batch, by the engine's thread.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use weirgate_protocol::ErrorCode;
use weirgate_replicas::BatchReport;

/// Batch sizes that are told apart. Batches of further sizes are counted, but not by their size.
const MOST_SIZES: usize = 256;

/// What a revision has answered so far.
#[derive(Debug, Default)]
pub struct Tally {
    ok: AtomicU64,
    ok_nanos: AtomicU64,
    /// Failures on our side.
    errors: AtomicU64,
    failed: AtomicU64,
    failed_nanos: AtomicU64,
    batches: Mutex<Batches>,
}

/// What the batches of a revision were, and took.
#[derive(Clone, Debug, Default)]
pub(super) struct Batches {
    /// When the last of them ended.
    pub last: Option<SystemTime>,
    pub runs: u64,
    pub calls: u64,
    pub rows: u64,
    pub queue: Duration,
    pub join: Duration,
    pub engine: Duration,
    pub sizes: BTreeMap<u64, Size>,
}

/// The batches of one size in rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub batches: u64,
    pub join: Duration,
    pub engine: Duration,
}

impl Size {
    pub(super) fn add(&mut self, other: &Size) {
        self.batches += other.batches;
        self.join += other.join;
        self.engine += other.engine;
    }
}

impl Tally {
    pub(super) fn answered(&self, took: Duration) {
        self.ok.fetch_add(1, Ordering::Relaxed);
        self.ok_nanos.fetch_add(nanos(took), Ordering::Relaxed);
    }

    pub(super) fn failed(&self, code: ErrorCode, took: Duration) {
        if code.row().http >= 500 {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.failed_nanos.fetch_add(nanos(took), Ordering::Relaxed);
    }

    pub(super) fn batch(&self, report: &BatchReport) {
        let now = SystemTime::now();
        let mut batches = self.batches.lock();
        batches.last = Some(now);
        batches.runs += report.runs as u64;
        batches.calls += report.answered.calls as u64;
        batches.rows += report.answered.rows as u64;
        batches.queue += report.answered.timing.queue;
        batches.join += report.answered.timing.batch;
        batches.engine += report.answered.timing.engine;
        // One that was taken apart has no time as a batch.
        if let Some(engine) = report.engine {
            let size = report.rows as u64;
            if batches.sizes.len() < MOST_SIZES || batches.sizes.contains_key(&size) {
                batches.sizes.entry(size).or_default().add(&Size { batches: 1, join: report.join, engine });
            }
        }
    }

    /// Calls that were answered.
    pub fn answers(&self) -> u64 {
        self.ok.load(Ordering::Relaxed)
    }

    /// From the heads of these calls to their answers.
    pub fn answer_time(&self) -> Duration {
        Duration::from_nanos(self.ok_nanos.load(Ordering::Relaxed))
    }

    /// Calls that failed on our side.
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// Calls that failed, whose fault ever it was, and the time from their heads to that.
    pub fn failures(&self) -> (u64, Duration) {
        let time = Duration::from_nanos(self.failed_nanos.load(Ordering::Relaxed));
        (self.failed.load(Ordering::Relaxed), time)
    }

    pub(super) fn batches(&self) -> Batches {
        self.batches.lock().clone()
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(rows: usize, engine: Option<Duration>) -> BatchReport {
        BatchReport { rows, engine, runs: 1, ..BatchReport::default() }
    }

    #[test]
    fn batches_are_told_apart_by_size_up_to_a_bound() {
        let tally = Tally::default();
        for rows in 1..=2 * MOST_SIZES {
            tally.batch(&report(rows, Some(Duration::from_millis(1))));
        }
        tally.batch(&report(1, Some(Duration::from_millis(2))));
        tally.batch(&report(1, None));
        let batches = tally.batches();
        assert_eq!((batches.runs, batches.sizes.len()), (2 * MOST_SIZES as u64 + 2, MOST_SIZES));
        assert_eq!(batches.sizes[&1], Size { batches: 2, join: Duration::ZERO, engine: Duration::from_millis(3) });
    }

    #[test]
    fn every_failure_counts_and_those_on_our_side_count_against_the_revision() {
        let tally = Tally::default();
        tally.failed(ErrorCode::InvalidRequest, Duration::from_millis(1));
        tally.failed(ErrorCode::EngineFailed, Duration::from_millis(2));
        assert_eq!((tally.errors(), tally.failures()), (1, (2, Duration::from_millis(3))));
    }
}
