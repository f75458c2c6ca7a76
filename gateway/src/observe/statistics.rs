//! Triton's model statistics, added up over the revisions of a service.

use std::time::{Duration, SystemTime};

use weirgate_protocol::oip::{InferBatchStatistics, InferStatistics, ModelStatistics, StatisticDuration};

use super::tally::{Batches, Tally};

/// What several revisions answered.
#[derive(Debug, Default)]
pub struct Statistics {
    success: (u64, Duration),
    fail: (u64, Duration),
    batches: Batches,
}

impl Statistics {
    pub fn add(&mut self, tally: &Tally) {
        self.success.0 += tally.answers();
        self.success.1 += tally.answer_time();
        let (fails, time) = tally.failures();
        self.fail.0 += fails;
        self.fail.1 += time;
        let (all, own) = (&mut self.batches, tally.batches());
        all.last = all.last.max(own.last);
        all.runs += own.runs;
        all.calls += own.calls;
        all.rows += own.rows;
        all.queue += own.queue;
        all.join += own.join;
        all.engine += own.engine;
        for (size, own) in own.sizes {
            all.sizes.entry(size).or_default().add(&own);
        }
    }

    /// Splitting an output copies nothing, so it takes no time that is measured; and there is no cache.
    pub fn message(self, name: &str, version: &str) -> ModelStatistics {
        let Statistics { success, fail, batches } = self;
        let none = |count| duration(count, Duration::ZERO);
        let calls = batches.calls;
        ModelStatistics {
            name: name.to_owned(),
            version: version.to_owned(),
            last_inference: batches.last.map_or(0, millis),
            inference_count: batches.rows,
            execution_count: batches.runs,
            inference_stats: Some(InferStatistics {
                success: duration(success.0, success.1),
                fail: duration(fail.0, fail.1),
                queue: duration(calls, batches.queue),
                compute_input: duration(calls, batches.join),
                compute_infer: duration(calls, batches.engine),
                compute_output: none(calls),
                cache_hit: none(0),
                cache_miss: none(0),
            }),
            batch_stats: batches
                .sizes
                .into_iter()
                .map(|(batch_size, size)| InferBatchStatistics {
                    batch_size,
                    compute_input: duration(size.batches, size.join),
                    compute_infer: duration(size.batches, size.engine),
                    compute_output: none(size.batches),
                })
                .collect(),
            memory_usage: Vec::new(),
        }
    }
}

fn duration(count: u64, time: Duration) -> Option<StatisticDuration> {
    Some(StatisticDuration { count, ns: u64::try_from(time.as_nanos()).unwrap_or(u64::MAX) })
}

/// Since 1970.
fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
