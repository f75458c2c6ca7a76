//! What streams and servers tell beside their answers.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::histogram::Histogram;
use crate::client::openai::Usage;
use crate::request::{Answer, Stream};
use crate::result::{Revision, ServerSide, Streams};
use crate::slo;

/// The most revisions that are told apart.
const REVISIONS: usize = 20;

/// Of right answers that came in parts.
#[derive(Debug)]
pub(super) struct StreamTotals {
    ttft: Histogram,
    itl: Histogram,
    tpot: Histogram,
    output_tokens: u64,
    prompt_tokens: u64,
    /// Answers by who counted their tokens.
    counted_by_server: u64,
    counted_by_parts: u64,
}

impl StreamTotals {
    pub fn new() -> StreamTotals {
        StreamTotals {
            ttft: Histogram::fine(),
            itl: Histogram::fine(),
            tpot: Histogram::fine(),
            output_tokens: 0,
            prompt_tokens: 0,
            counted_by_server: 0,
            counted_by_parts: 0,
        }
    }

    pub fn record(&mut self, due: Instant, stream: &Stream) {
        if let Some(first) = stream.first {
            self.ttft.record(first - due);
        }
        for gap in &stream.gaps_us {
            self.itl.record_us(u64::from(*gap));
        }
        if let Some(tpot) = tpot(stream) {
            self.tpot.record(tpot);
        }
        self.output_tokens += u64::from(tokens(stream));
        self.prompt_tokens += u64::from(stream.prompt_tokens.unwrap_or_default());
        let counted =
            if stream.output_tokens.is_some() { &mut self.counted_by_server } else { &mut self.counted_by_parts };
        *counted += 1;
    }

    /// An answer that came whole: of it there are only tokens.
    pub fn record_whole(&mut self, usage: Usage) {
        self.output_tokens += u64::from(usage.completion_tokens.unwrap_or_default());
        self.counted_by_server += u64::from(usage.completion_tokens.is_some());
        self.prompt_tokens += u64::from(usage.prompt_tokens.unwrap_or_default());
    }

    pub fn add(&mut self, other: &StreamTotals) {
        self.ttft.add(&other.ttft);
        self.itl.add(&other.itl);
        self.tpot.add(&other.tpot);
        self.output_tokens += other.output_tokens;
        self.prompt_tokens += other.prompt_tokens;
        self.counted_by_server += other.counted_by_server;
        self.counted_by_parts += other.counted_by_parts;
    }

    /// `output_tokens_rate` is of what came in measured time, which is not known here.
    pub fn summary(&self, output_tokens_rate: f64) -> Streams {
        Streams {
            ttft: self.ttft.distribution(),
            itl: self.itl.distribution(),
            tpot: self.tpot.distribution(),
            output_tokens: self.output_tokens,
            output_tokens_rate,
            prompt_tokens: self.prompt_tokens,
            counted_by_server: self.counted_by_parts == 0,
            answers_counted_by_server: self.counted_by_server,
            answers_counted_by_parts: self.counted_by_parts,
        }
    }
}

/// None of an answer that was neither streamed nor told of tokens.
pub(super) fn output_tokens(answer: Option<&Answer>) -> u64 {
    let Some(answer) = answer else { return 0 };
    let whole = answer.usage.and_then(|usage| usage.completion_tokens).unwrap_or_default();
    u64::from(answer.stream.as_ref().map_or(whole, tokens))
}

/// The server's own count where it gave one, else each part is one.
fn tokens(stream: &Stream) -> u32 {
    stream.output_tokens.unwrap_or(stream.parts)
}

/// Time from first to last part, by the tokens after the first.
fn tpot(stream: &Stream) -> Option<Duration> {
    let after = tokens(stream).checked_sub(1).filter(|after| *after > 0)?;
    Some((stream.last? - stream.first?) / after)
}

/// What the objective judges of one right answer.
pub(super) fn times(due: Instant, done: Instant, answer: &Answer) -> slo::Times {
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    let stream = answer.stream.as_ref();
    // Of all its gaps, not only of those that were kept.
    let itl = stream.and_then(|stream| {
        let gaps = stream.parts.checked_sub(1).filter(|gaps| *gaps > 0)?;
        Some((stream.last? - stream.first?) / gaps)
    });
    slo::Times {
        latency: milliseconds(done - due),
        ttft: stream.and_then(|stream| stream.first).map(|first| milliseconds(first - due)),
        itl: itl.map(milliseconds),
        tpot: stream.and_then(tpot).map(milliseconds),
    }
}

/// What the server said of itself, in right answers.
#[derive(Debug, Default)]
pub(super) struct ServerTotals {
    overhead: Option<Histogram>,
    /// Few, so a search through them costs less than a map.
    revisions: Vec<(Bytes, Histogram)>,
    others: Option<Histogram>,
}

impl ServerTotals {
    pub fn record(&mut self, latency: Duration, answer: &Answer) {
        if let Some(overhead) = answer.overhead_us {
            self.overhead.get_or_insert_with(Histogram::fine).record_us(u64::from(overhead));
        }
        if let Some(revision) = &answer.revision {
            self.revision(revision).record(latency);
        }
    }

    pub fn add(&mut self, other: &ServerTotals) {
        if let Some(overhead) = &other.overhead {
            self.overhead.get_or_insert_with(Histogram::fine).add(overhead);
        }
        for (revision, latency) in &other.revisions {
            self.revision(revision).add(latency);
        }
        if let Some(others) = &other.others {
            self.others.get_or_insert_with(Histogram::fine).add(others);
        }
    }

    fn revision(&mut self, revision: &Bytes) -> &mut Histogram {
        match self.revisions.iter().position(|(known, _)| known == revision) {
            Some(index) => &mut self.revisions[index].1,
            None if self.revisions.len() < REVISIONS => {
                &mut self.revisions.push_mut((revision.clone(), Histogram::fine())).1
            }
            None => self.others.get_or_insert_with(Histogram::fine),
        }
    }

    /// None if it said nothing.
    pub fn summary(&self) -> Option<ServerSide> {
        let named = self.revisions.iter().map(|(name, latency)| (String::from_utf8_lossy(name).into_owned(), latency));
        let others = self.others.iter().map(|latency| ("other".to_owned(), latency));
        let revision = |latency: &Histogram| {
            let latency = latency.distribution();
            Revision { answers: latency.count, latency }
        };
        let side = ServerSide {
            overhead: self.overhead.as_ref().map(Histogram::distribution),
            revisions: named.chain(others).map(|(name, latency)| (name, revision(latency))).collect(),
        };
        (side.overhead.is_some() || !side.revisions.is_empty()).then_some(side)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Protocol;
    use crate::workload::fixtures;

    fn stream(start: Instant, at_ms: &[u64], output_tokens: Option<u32>) -> Stream {
        let at = |ms: &u64| start + Duration::from_millis(*ms);
        Stream {
            first: at_ms.first().map(at),
            last: at_ms.last().map(at),
            gaps_us: at_ms.windows(2).map(|two| ((two[1] - two[0]) * 1_000) as u32).collect(),
            parts: at_ms.len() as u32,
            output_tokens,
            ..Stream::default()
        }
    }

    #[test]
    fn streams_are_measured_from_when_they_were_due() {
        let due = Instant::now();
        let mut totals = StreamTotals::new();
        // Two tokens a part but for the first; and one of which the server told nothing.
        totals.record(due, &stream(due, &[100, 110, 120], Some(5)));
        let summary = totals.summary(2.0);
        assert!((summary.ttft.max - 100.0).abs() < 0.1);
        assert!((summary.itl.max - 10.0).abs() < 0.01);
        assert!((summary.tpot.max - 5.0).abs() < 0.01);
        assert_eq!((summary.output_tokens, summary.output_tokens_rate), (5, 2.0));
        assert!(summary.counted_by_server);
        totals.record(due, &stream(due, &[50], None));
        let summary = totals.summary(2.0);
        assert_eq!((summary.output_tokens, summary.tpot.count, summary.counted_by_server), (6, 1, false));
        assert_eq!((summary.answers_counted_by_server, summary.answers_counted_by_parts), (1, 1));
        let mut all = StreamTotals::new();
        all.add(&totals);
        all.add(&totals);
        let summary = all.summary(2.0);
        assert_eq!((summary.answers_counted_by_server, summary.answers_counted_by_parts), (2, 2));
    }

    #[test]
    fn whole_answers_have_tokens_and_nothing_else() {
        let mut totals = StreamTotals::new();
        totals.record_whole(Usage { prompt_tokens: Some(9), completion_tokens: Some(4) });
        totals.record_whole(Usage { prompt_tokens: Some(1), completion_tokens: None });
        let summary = totals.summary(2.0);
        assert_eq!((summary.output_tokens, summary.prompt_tokens, summary.ttft.count), (4, 10, 0));
        assert_eq!((summary.counted_by_server, summary.answers_counted_by_server), (true, 1));
    }

    #[test]
    fn the_mean_gap_is_of_all_gaps_though_not_all_are_kept() {
        let due = Instant::now();
        let mut stream = stream(due, &[100, 110, 160], None);
        stream.gaps_us.truncate(1);
        let answer = Answer { stream: Some(stream), ..answer(None) };
        assert_eq!(times(due, due + Duration::from_millis(200), &answer).itl, Some(30.0));
    }

    fn answer(revision: Option<String>) -> Answer {
        Answer { revision: revision.map(Bytes::from), ..fixtures::answer(Protocol::V2, 200, "") }
    }

    #[test]
    fn revisions_are_told_apart_up_to_a_number() {
        let mut totals = ServerTotals::default();
        for turn in 0..3 {
            for number in 0..25 {
                let overhead_us = (turn == 0).then_some(30);
                let answer = Answer { overhead_us, ..answer(Some(format!("digits-{number:02}"))) };
                totals.record(Duration::from_millis(number), &answer);
            }
        }
        let mut all = ServerTotals::default();
        all.add(&totals);
        let side = all.summary().unwrap();
        assert_eq!(side.revisions.len(), 21);
        assert_eq!(side.revisions["digits-07"].answers, 3);
        assert_eq!(side.revisions["other"].answers, 15);
        assert_eq!(side.overhead.map(|overhead| overhead.count), Some(25));
        assert!(ServerTotals::default().summary().is_none());
    }
}
