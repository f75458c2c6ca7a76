//! A set of small numbers, in no order, from which one can be drawn at random in constant time.

#[derive(Clone, Debug, Default)]
pub(super) struct Set {
    list: Vec<u32>,
    /// Where a number is in the list, plus one; 0 where it is not.
    place: Vec<u32>,
}

impl Set {
    pub(super) fn put(&mut self, number: u32, inside: bool) {
        if inside { self.insert(number) } else { self.remove(number) }
    }

    fn insert(&mut self, number: u32) {
        let index = number as usize;
        if self.place.len() <= index {
            self.place.resize(index + 1, 0);
        }
        if self.place[index] == 0 {
            self.list.push(number);
            self.place[index] = self.list.len() as u32;
        }
    }

    fn remove(&mut self, number: u32) {
        let Some(place) = self.place.get_mut(number as usize).map(std::mem::take) else { return };
        if place > 0 {
            self.list.swap_remove(place as usize - 1);
            if let Some(&moved) = self.list.get(place as usize - 1) {
                self.place[moved as usize] = place;
            }
        }
    }

    pub(super) fn contains(&self, number: u32) -> bool {
        self.place.get(number as usize).is_some_and(|&place| place > 0)
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All numbers once, from the given place in the list on and round.
    pub(super) fn from(&self, start: usize) -> impl Iterator<Item = u32> {
        let (before, after) = self.list.split_at(start.min(self.list.len()));
        after.iter().chain(before).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(steps in prop::collection::vec((0u32..20, any::<bool>()), 0..200), start in 0usize..30) {
            let (mut set, mut model) = (Set::default(), BTreeSet::new());
            for (number, inside) in steps {
                set.put(number, inside);
                if inside { model.insert(number); } else { model.remove(&number); }
                prop_assert_eq!(set.len(), model.len());
                prop_assert!((0..20).all(|number| set.contains(number) == model.contains(&number)));
                prop_assert_eq!(set.from(start).collect::<BTreeSet<_>>(), model.clone());
                prop_assert_eq!(set.from(start).count(), model.len());
            }
        }
    }
}
