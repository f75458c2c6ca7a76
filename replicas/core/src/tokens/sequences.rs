//! All sequences that wait or run, by their names.

use std::ops::{Index, IndexMut};

use super::sequence::{Sequence, SequenceId};

/// Slots that are used again, so a name leads to its sequence without a search. A name's number tells it from those that
/// had its slot before.
#[derive(Debug, Default)]
pub(super) struct Sequences {
    slots: Vec<Option<Sequence>>,
    free: Vec<u32>,
    next: u64,
}

impl Sequences {
    /// The queue and the running ones are bounded, so 32 bits name every slot.
    pub fn insert(&mut self, make: impl FnOnce(SequenceId) -> Sequence) -> SequenceId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        let id = SequenceId::new(self.next, slot);
        self.next += 1;
        self.slots[id.slot()] = Some(make(id));
        id
    }

    pub fn get(&self, id: SequenceId) -> Option<&Sequence> {
        self.slots.get(id.slot())?.as_ref().filter(|sequence| sequence.id == id)
    }

    pub fn get_mut(&mut self, id: SequenceId) -> Option<&mut Sequence> {
        self.slots.get_mut(id.slot())?.as_mut().filter(|sequence| sequence.id == id)
    }

    pub fn remove(&mut self, id: SequenceId) -> Option<Sequence> {
        let slot = self.slots.get_mut(id.slot())?;
        let sequence = slot.take_if(|sequence| sequence.id == id)?;
        self.free.push(id.slot() as u32);
        Some(sequence)
    }

    #[cfg(test)]
    pub fn iter(&self) -> impl Iterator<Item = &Sequence> {
        self.slots.iter().flatten()
    }
}

/// For names that the scheduler keeps itself: a sequence is in its lists as long as it is here.
impl Index<SequenceId> for Sequences {
    type Output = Sequence;

    fn index(&self, id: SequenceId) -> &Sequence {
        match self.get(id) {
            Some(sequence) => sequence,
            None => unreachable!("{id} is listed, and has ended"),
        }
    }
}

impl IndexMut<SequenceId> for Sequences {
    fn index_mut(&mut self, id: SequenceId) -> &mut Sequence {
        match self.get_mut(id) {
            Some(sequence) => sequence,
            None => unreachable!("{id} is listed, and has ended"),
        }
    }
}
