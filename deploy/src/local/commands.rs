//! Changes that people ask for. Each is stored before it is acted on, and answered after that.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use weirgate_deploy_core::rollout::Rollout as Revisions;
use weirgate_deploy_core::{InferenceService, Service, Severity, plan, rollout_edit, set_canary_percent};

use super::controller::{Controller, shown, wanted_by_apply};
use super::files::{folder_of, named};
use super::record::Record;
use super::service::{Wanted, reasons, seconds};
use super::watch::{Content, Text};
use crate::control::{Applied, Change, Command, Named, Owner, Refused, Rollout, refusal};
use crate::plane::DataPlane;
use crate::state::write_atomically;

impl<P: DataPlane> Controller<P> {
    pub(super) fn command(&mut self, command: Command) {
        if self.frozen {
            return command.refuse(Refused::Replaced);
        }
        // Whoever asked may be gone; what was asked is done all the same.
        match command {
            Command::Apply(services, answer) => {
                let result = self.apply(services);
                self.settle();
                let _ = answer.send(result);
            }
            Command::Delete(named, answer) => {
                let result = self.delete(&named);
                self.settle();
                let _ = answer.send(result);
            }
            Command::Load(named, answer) => {
                self.load(&named, answer);
                self.settle();
            }
            Command::Unload(named, answer) => {
                let result = self.unload(&named);
                self.settle();
                let _ = answer.send(result);
            }
            Command::Rollout { named, rollout, write_back, answer } => {
                let result = self.roll_out(named, &rollout, write_back);
                self.settle();
                let _ = answer.send(result);
            }
        }
    }

    fn apply(&mut self, services: Vec<Service>) -> Result<Vec<Applied>, Refused> {
        let mut names = BTreeSet::new();
        for service in &services {
            let named = named(service);
            if let Some(owner @ Owner::File { .. }) = self.owner(&named) {
                let owner = shown(owner);
                return Err(Refused::Owned(format!("inferenceservice {named} is held by {owner}: change it there")));
            }
            if !names.insert(named.clone()) {
                return Err(Refused::Invalid(format!("inferenceservice {named} is applied twice: give it once")));
            }
        }
        let allowed = self.config.processes.allowed;
        let wanted = services.into_iter().map(|service| (named(&service), wanted_by_apply(service, allowed)));
        self.put(wanted.collect())
    }

    /// Who holds a service, if somebody does.
    fn owner(&self, named: &Named) -> Option<&Owner> {
        self.services.get(named).filter(|service| !service.deleted).map(|service| &service.record.owner)
    }

    /// Stores all of it, and then acts on it; where something can't be stored, nothing has changed.
    fn put(&mut self, wanted: Vec<(Named, Wanted)>) -> Result<Vec<Applied>, Refused> {
        let mut undo: Vec<(Named, Option<Record>)> = Vec::new();
        for (named, wanted) in &wanted {
            let stored = self.services.get(named).and_then(|service| service.stored.clone());
            // One that fails may lie there all the same.
            undo.push((named.clone(), stored.or_else(|| self.absent.get(named).cloned())));
            if let Err(error) = self.state.save(named, &self.record(named, wanted)) {
                for (named, stored) in undo {
                    let undone = match stored {
                        Some(record) => self.state.save(&named, &record),
                        None => self.state.remove(&named),
                    };
                    if let Err(error) = undone {
                        tracing::error!(%named, error, "what was not acknowledged can't be taken back");
                    }
                }
                return Err(Refused::NotStored(error));
            }
        }
        let mut applied = Vec::with_capacity(wanted.len());
        for (named, wanted) in wanted {
            let refused = wanted.refused.clone();
            let change = match self.services.get(&named).filter(|service| !service.deleted) {
                None => Change::Created,
                Some(service) if service.differs(&wanted.owner, &wanted.manifest, wanted.unsupported.as_deref()) => {
                    Change::Configured
                }
                Some(_) => Change::Unchanged,
            };
            if change != Change::Unchanged {
                self.want(named.clone(), wanted);
            }
            applied.push(Applied { named, change, refused });
        }
        Ok(applied)
    }

    /// What is stored of a service before a change is acted on.
    fn record(&self, named: &Named, wanted: &Wanted) -> Record {
        let service = self.services.get(named).filter(|service| !service.deleted);
        let known = service.map(|service| &service.record).or_else(|| self.absent.get(named));
        let mut record = known.cloned().unwrap_or_else(|| Record {
            owner: Owner::State,
            manifest: wanted.manifest.clone(),
            runnable: None,
            generation: 1,
            created: seconds(),
            absent_since: None,
            rollout: Revisions::default(),
        });
        // As the service will remember it: what runs goes on where the manifest can't be acted on.
        let runs = service.is_some_and(|service| service.unsupported.is_none() && service.plan.is_some());
        match wanted.plan {
            Some(_) => record.runnable = None,
            None if runs => record.runnable = Some(record.manifest.clone()),
            None => {}
        }
        record.owner = Owner::State;
        record.manifest = wanted.manifest.clone();
        record
    }

    fn delete(&mut self, named: &Named) -> Result<(), Refused> {
        match self.owner(named) {
            None => Err(Refused::NotFound(named.to_string())),
            Some(owner @ Owner::File { .. }) => {
                Err(Refused::Owned(format!("inferenceservice {named} is held by {}: take it out there", shown(owner))))
            }
            Some(Owner::State) => {
                self.state.remove(named).map_err(Refused::NotStored)?;
                self.remove(named);
                Ok(())
            }
        }
    }

    fn roll_out(&mut self, named: Named, rollout: &Rollout, write_back: bool) -> Result<Applied, Refused> {
        let missing = || Refused::NotFound(named.to_string());
        let service = self.services.get(&named).filter(|service| !service.deleted).ok_or_else(missing)?;
        let mut manifest = service.record.manifest.clone();
        let revisions = &service.record.rollout;
        let edited = match rollout {
            Rollout::Promote { canary } => rollout_edit::promote(&mut manifest, canary.as_deref()),
            Rollout::Set { percent, canary } => rollout_edit::set(&mut manifest, *percent, canary.as_deref()),
            Rollout::Rollback => {
                let canary_runs = service.decision.shares.len() > 1;
                let newest = revisions.asked().map(|asked| &asked.predictor);
                // A newest one that never took over is rolled back to the one that goes on.
                let stable = revisions.stable().filter(|stable| newest != Some(&stable.name));
                let stable = stable.or(revisions.stable().filter(|_| service.unsupported.is_some()));
                let previous = stable.or(revisions.previous()).map(|known| &known.predictor);
                rollout_edit::rollback(&mut manifest, previous, canary_runs)
            }
        };
        edited.map_err(|error: String| Refused::Invalid(format!("inferenceservice {named}: {error}")))?;
        let wanted = wanted(manifest, &service.record.owner)?.within(self.config.processes.allowed);
        match service.record.owner.clone() {
            Owner::State => {
                let mut applied = self.put(vec![(named, wanted)])?;
                Ok(applied.remove(0))
            }
            owner if !write_back => Err(Refused::Owned(format!(
                "inferenceservice {named} is held by {}: change it there, or have it changed there by --write-back",
                shown(&owner)
            ))),
            Owner::File { path, document } => {
                let owner = &service.record.owner;
                let change = if service.differs(owner, &wanted.manifest, wanted.unsupported.as_deref()) {
                    self.write_back(Path::new(&path), document, &wanted.manifest)?;
                    Change::Configured
                } else {
                    Change::Unchanged
                };
                Ok(Applied { named, change, refused: wanted.refused })
            }
        }
    }

    /// Changes the file that holds a service, so far as that is its `canaryTrafficPercent`, and acts on the file.
    fn write_back(&mut self, path: &Path, document: usize, wanted: &InferenceService) -> Result<(), Refused> {
        let failed = |error: &dyn std::fmt::Display| {
            Refused::NotStored(format!("{} can't be written back: {error}", path.display()))
        };
        let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
        let percent = wanted.spec.predictor.component.canary_traffic_percent;
        let percent = percent.map(u8::try_from).transpose().map_err(|error| failed(&error))?;
        let by_hand = |error: &dyn std::fmt::Display| {
            Refused::Invalid(format!("{} can't be written back: {error}: edit it by hand", path.display()))
        };
        let edited = set_canary_percent(&text, document, percent).map_err(|error| by_hand(&error))?;
        let loaded = weirgate_deploy_core::load(&edited, &path.display().to_string(), &folder_of(path));
        let same = loaded.services.iter().any(|service| service.document == document && service.service == *wanted);
        if !same {
            return Err(by_hand(&"the change is more than a canaryTrafficPercent"));
        }
        // The file keeps its mode, and a link to it stays a link.
        let replace = || {
            let file = std::fs::canonicalize(path)?;
            let mode = std::fs::metadata(&file)?.permissions();
            write_atomically(&file, edited.as_bytes())?;
            std::fs::set_permissions(&file, mode)
        };
        replace().map_err(|error: std::io::Error| failed(&error))?;
        self.changed(vec![Text { path: PathBuf::from(path), content: Content::Text(edited) }]);
        Ok(())
    }
}

/// An edited manifest, unless the edit made it wrong.
fn wanted(manifest: InferenceService, owner: &Owner) -> Result<Wanted, Refused> {
    let (plan, problems) = plan(&manifest, "rollout", Path::new("/"));
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(Refused::Invalid(refusal(&problems)));
    }
    let unsupported: Vec<_> =
        problems.into_iter().filter(|problem| problem.severity == Severity::Unsupported).collect();
    let unsupported = (!unsupported.is_empty()).then(|| reasons(&unsupported));
    Ok(Wanted { owner: owner.clone(), manifest, plan, unsupported, refused: None })
}
