//! Records of services whose file is gone. They are kept for a while: a folder may be away for a moment, and a service
//! that comes back must not take its canary for a first rollout.

use std::collections::BTreeMap;

use super::record::Record;
use super::service::seconds;
use crate::control::{Named, Owner};
use crate::state::StateFolder;

/// Seconds after which a service that comes back is a new one.
const PATIENCE: u64 = 3_600;
const MOST: usize = 1_000;

#[derive(Debug, Default)]
pub(super) struct Absent(BTreeMap<Named, Record>);

impl Absent {
    pub fn get(&self, named: &Named) -> Option<&Record> {
        self.0.get(named)
    }

    /// The record of a service that is back, unless it was away for too long.
    pub fn take(&mut self, named: &Named) -> Option<Record> {
        let record = self.0.remove(named)?;
        record.absent_since.is_none_or(|since| since + PATIENCE >= seconds()).then_some(record)
    }

    /// Has records of an earlier process here, as they are in the folder.
    pub fn hold(&mut self, records: BTreeMap<Named, Record>) {
        self.0.extend(records);
    }

    /// Keeps all that is here from now on. Returns those that could not be, and why.
    pub fn keep_all(&mut self, state: &StateFolder) -> Vec<(Named, String)> {
        let held: Vec<_> = self.0.iter().map(|(named, record)| (named.clone(), record.clone())).collect();
        let kept = held.into_iter().filter_map(|(named, record)| {
            let error = self.keep(state, &named, record).err()?;
            Some((named, error))
        });
        kept.collect()
    }

    /// Keeps a record from now on, and forgets those that were kept for too long.
    pub fn keep(&mut self, state: &StateFolder, named: &Named, mut record: Record) -> Result<(), String> {
        if record.absent_since.is_none() {
            record.absent_since = Some(seconds());
            state.save(named, &record)?;
        }
        self.0.insert(named.clone(), record);
        let since = |record: &Record| record.absent_since.unwrap_or_default();
        let mut over: Vec<Named> = Vec::new();
        let late = seconds().saturating_sub(PATIENCE);
        over.extend(self.0.iter().filter(|(_, record)| since(record) < late).map(|(named, _)| named.clone()));
        if self.0.len() - over.len() > MOST {
            over.extend(self.0.iter().min_by_key(|(_, record)| since(record)).map(|(named, _)| named.clone()));
        }
        for named in over {
            self.0.remove(&named);
            state.remove(&named)?;
        }
        Ok(())
    }
}

/// What lies in the state folder at the start: what was applied there, and what files held.
pub(super) fn split(records: Vec<(Named, Record)>) -> (BTreeMap<Named, Record>, BTreeMap<Named, Record>) {
    records.into_iter().partition(|(_, record)| record.owner == Owner::State)
}
