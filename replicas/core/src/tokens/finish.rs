//! The end of a step: what was computed is kept, tokens go to their sequences, and those that are through leave.

use super::end::{EndReason, Leave, Sample};
use super::plan::{Produced, Progress, Step};
use super::refusal::StepError;
use super::scheduler::Scheduler;
use super::sequence::{SequenceId, Stage};

impl Scheduler {
    /// Reports a step that was run, with a sample for each row that wants logits, in the order of the rows. The sample of a
    /// sequence that left meanwhile is dropped.
    ///
    /// On a wrong number of samples the step stays under way, and can be [`undo`](Scheduler::undo)ne.
    pub fn done(&mut self, step: &Step, samples: &[Sample]) -> Result<Progress, StepError> {
        self.check_under_way(step)?;
        let wanted = step.samples();
        if wanted != samples.len() {
            return Err(StepError::Samples { step: step.number, wanted, given: samples.len() });
        }
        self.under_way = None;
        let mut progress = Progress::default();
        let mut samples = samples.iter();
        for row in &step.rows {
            let sample = if row.logits { samples.next() } else { None };
            let sequence = &mut self.sequences[row.sequence];
            sequence.in_step = false;
            // What the network failed on may be broken, and is not for others.
            let failed = sequence.leaving == Some(Leave::Failed) || sample == Some(&Sample::End(Leave::Failed));
            if !failed {
                self.computed(row.sequence, row.positions.end, &mut progress);
            }
            self.go_on(row.sequence, sample, &mut progress);
        }
        Ok(progress)
    }

    /// Reports a step that was not run, or failed as a whole: nothing of it counts, and the next plan has the same again.
    /// Sequences that left meanwhile end.
    pub fn undo(&mut self, step: &Step) -> Result<Progress, StepError> {
        self.check_under_way(step)?;
        self.under_way = None;
        let mut progress = Progress::default();
        for row in &step.rows {
            let sequence = &mut self.sequences[row.sequence];
            sequence.in_step = false;
            if let Some(leave) = sequence.leaving {
                progress.ended.push(self.end(row.sequence, leave.into()));
            }
        }
        Ok(progress)
    }

    fn check_under_way(&self, step: &Step) -> Result<(), StepError> {
        match self.under_way == Some(step.number) {
            true => Ok(()),
            false => Err(StepError::NotUnderWay { step: step.number }),
        }
    }

    /// Counts tokens as computed up to `end`, and makes the blocks known that are full with them.
    fn computed(&mut self, id: SequenceId, end: usize, progress: &mut Progress) {
        let sequence = &mut self.sequences[id];
        let size = self.policy.block_tokens;
        let filled = sequence.computed / size..end / size;
        self.totals.recomputed_tokens += sequence.reached.min(end).saturating_sub(sequence.computed) as u64;
        sequence.reached = sequence.reached.max(end);
        sequence.computed = end;
        let (lineage, table) = sequence.parts();
        progress.kept.extend(filled.filter_map(|index| self.kv.keep(lineage, index, table)));
    }

    /// Gives a sequence its token, and sees whether it is through.
    fn go_on(&mut self, id: SequenceId, sample: Option<&Sample>, progress: &mut Progress) {
        let sequence = &mut self.sequences[id];
        let reason = match (sequence.leaving, sample) {
            (Some(leave), _) | (None, Some(&Sample::End(leave))) => Some(leave.into()),
            (None, None) => None,
            (None, Some(&(Sample::Next(token) | Sample::Last(token)))) => {
                if sequence.stage == Stage::Prefilling {
                    sequence.stage = Stage::Decoding;
                    self.prefilling.retain(|&other| other != id);
                }
                sequence.tokens.push(token);
                self.totals.new_tokens += 1;
                let length = sequence.tokens.len();
                progress.produced.push(Produced { sequence: id, token, index: length - sequence.prompt - 1 });
                let (most, reason) = sequence.limit;
                match sample {
                    Some(Sample::Last(_)) => Some(EndReason::Stopped),
                    _ => (length >= most).then_some(reason),
                }
            }
        };
        if let Some(reason) = reason {
            progress.ended.push(self.end(id, reason));
        }
    }
}
