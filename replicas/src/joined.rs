//! A batch of jobs as one run: their rows joined, and the outputs shared out again.

use smallvec::SmallVec;
use weirgate_protocol::{Payload, Tensor};

use crate::batch::{join, join_padded, split};
use crate::job::Job;

/// What the jobs of a batch ask for as one.
pub(crate) struct Joined {
    /// In the model's order.
    pub inputs: Vec<Tensor>,
    /// The indices of the outputs that any of them asks for, counting up.
    pub wanted: Vec<usize>,
}

impl Joined {
    /// Joins jobs of one model; there is at least one.
    pub fn new(jobs: &[Job]) -> Joined {
        let mut wanted: Vec<usize> = jobs.iter().flat_map(|job| tensors(job).1.iter().copied()).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let lengths = || jobs.iter().filter_map(|job| job.call.work.length);
        let padded = lengths().max().filter(|longest| lengths().any(|length| length != *longest));
        let count = jobs.first().map_or(0, |job| tensors(job).0.len());
        let joined = |index: usize| {
            let parts: Vec<&Tensor> = jobs.iter().map(|job| &tensors(job).0[index]).collect();
            match padded {
                Some(length) => join_padded(&parts, length),
                None => join(&parts),
            }
        };
        Joined { inputs: (0..count).map(joined).collect(), wanted }
    }

    /// Bytes of input, padding included.
    pub fn bytes(&self) -> usize {
        self.inputs.iter().map(|input| input.data.len()).sum()
    }

    /// Each job's own rows of the outputs it asked for, in the order it asked. `outputs` are those that are wanted, in that
    /// order. `None` where they have not as many rows as the jobs: then the model does not keep rows apart.
    pub fn share(&self, outputs: &[Tensor], jobs: &[Job]) -> Option<Vec<Vec<Tensor>>> {
        let place = |output: &usize| self.wanted.binary_search(output).ok();
        if let [job] = jobs {
            if tensors(job).1.is_empty() {
                // It names none, and nobody knows which there are: it gets all.
                return Some(vec![outputs.to_vec()]);
            }
            let asked = tensors(job).1.iter().map(|output| outputs.get(place(output)?).cloned());
            return Some(vec![asked.collect::<Option<_>>()?]);
        }
        let rows: Vec<usize> = jobs.iter().map(|job| job.call.work.rows).collect();
        let mut parts = Vec::with_capacity(outputs.len());
        for output in outputs {
            parts.push(split(output, &rows)?.into_iter());
        }
        let mut shares = Vec::with_capacity(jobs.len());
        for job in jobs {
            let mut own: SmallVec<[Option<Tensor>; 4]> = parts.iter_mut().map(Iterator::next).collect();
            let asked = tensors(job).1.iter().map(|output| own.get_mut(place(output)?)?.take());
            shares.push(asked.collect::<Option<_>>()?);
        }
        Some(shares)
    }
}

/// A job's inputs, and the outputs it asks for.
fn tensors(job: &Job) -> (&[Tensor], &[usize]) {
    match &job.call.payload {
        Payload::Infer { inputs, outputs, .. } => (inputs, outputs),
        // The lane of a tensor model is only ever given tensors; `#[non_exhaustive]` asks for this arm.
        _ => (&[], &[]),
    }
}
