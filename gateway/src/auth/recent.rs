//! A map of what was asked for lately, with a bound.

use std::collections::HashMap;
use std::hash::Hash;

/// Keeps at least the `most` keys that were asked for last, and never more than twice as many.
///
/// Two maps: when the young one is full it becomes the old one, and what is left in the old one is forgotten; whatever is
/// asked for moves to the young one. That is as good as an exact order here, and takes no list.
#[derive(Debug)]
pub struct Recent<K, V> {
    most: usize,
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Eq + Hash + Clone, V: Clone> Recent<K, V> {
    pub fn new(most: usize) -> Self {
        Recent { most, young: HashMap::new(), old: HashMap::new() }
    }

    pub fn get(&mut self, key: &K) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let (key, value) = self.old.remove_entry(key)?;
        self.put(key, value.clone());
        Some(value)
    }

    pub fn put(&mut self, key: K, value: V) {
        if self.young.len() >= self.most && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stays_and_the_rest_goes() {
        let mut recent = Recent::new(10);
        recent.put(0, 0);
        for key in 1..1_000 {
            recent.put(key, key);
            assert_eq!(recent.get(&0), Some(0), "{key}");
            assert!(recent.young.len() + recent.old.len() <= 20);
        }
        assert!((990..1_000).all(|key| recent.get(&key) == Some(key)));
        assert_eq!(recent.get(&500), None);
    }
}
