//! Models that are loaded and unloaded by name, without a change of their manifest: what the repository API asks for.
//!
//! An unloaded service keeps its manifest and its place, and takes no calls. That is forgotten by a restart, and by a
//! manifest that changes. A service that is loaded while it runs has each replica replaced by one that reads the model's
//! files anew; the replicas before serve until then, and go on where the files can't be loaded.

use super::controller::Controller;
use super::memory;
use super::service::Managed;
use crate::control::{Answer, Named, Refused};
use crate::plane::DataPlane;

/// Those who may wait for one service to be loaded.
const MOST_WAITING: usize = 64;

/// Somebody who waits for a load.
#[derive(Debug)]
pub(super) struct Waiting {
    /// The number of the load.
    load: u64,
    answer: Answer<()>,
}

impl<P: DataPlane> Controller<P> {
    /// Loads a service's model, anew if it runs. Answered when every revision that is to run has done so, or one has failed.
    pub(super) fn load(&mut self, named: &Named, answer: Answer<()>) {
        let Some(service) = self.services.get_mut(named).filter(|service| !service.deleted) else {
            return reply(answer, Err(Refused::NotFound(named.to_string())));
        };
        if let Err(refused) = service.load(named) {
            return reply(answer, Err(refused));
        }
        service.waiting.push(Waiting { load: service.loads, answer });
        self.dirty.insert(named.clone());
    }

    /// Takes a service's model out of memory: its calls finish, further ones are refused.
    pub(super) fn unload(&mut self, named: &Named) -> Result<(), Refused> {
        let service = self.services.get_mut(named).filter(|service| !service.deleted);
        let service = service.ok_or_else(|| Refused::NotFound(named.to_string()))?;
        if std::mem::replace(&mut service.unloaded, true) {
            return Ok(());
        }
        service.event("Normal", "Unloaded", "the model is unloaded, and calls are refused".to_owned());
        if let Some(plan) = service.plan.clone() {
            service.act_on(plan);
        }
        self.dirty.insert(named.clone());
        Ok(())
    }
}

impl<L> Managed<L> {
    fn load(&mut self, named: &Named) -> Result<(), Refused> {
        if let Some(text) = &self.unsupported {
            return Err(Refused::Invalid(format!("inferenceservice {named} can't run: {text}")));
        }
        let plan = self.plan.clone();
        let plan = plan.ok_or_else(|| Refused::Invalid(format!("inferenceservice {named} has no predictor to run")))?;
        if plan.settings.stopped {
            let text =
                format!("inferenceservice {named} is stopped by its annotation serving.kserve.io/stop: remove that");
            return Err(Refused::Owned(text));
        }
        self.waiting.retain(|waiting| !waiting.answer.is_closed());
        if self.waiting.len() >= MOST_WAITING {
            let text = format!("{MOST_WAITING} others wait for inferenceservice {named} to be loaded: try again later");
            return Err(Refused::Busy(text));
        }
        // One more replica than usual runs for a while.
        if let Some(missing) =
            self.running.iter().filter(|running| running.started()).find_map(|running| memory::missing(&running.plan))
        {
            return Err(Refused::Failed(format!(
                "inferenceservice {named} can't load another replica beside those that run: {missing}"
            )));
        }
        self.loads += 1;
        self.event("Normal", "Loading", "the model is loaded by request".to_owned());
        if std::mem::replace(&mut self.unloaded, false) {
            self.act_on(plan);
        }
        for running in &self.running {
            running.load(self.loads);
        }
        Ok(())
    }

    /// Answers those whose load is done.
    pub(super) fn answer_loads(&mut self) {
        for waiting in std::mem::take(&mut self.waiting) {
            match self.loaded(waiting.load) {
                Some(result) => reply(waiting.answer, result),
                None => self.waiting.push(waiting),
            }
        }
    }

    /// What became of a load; `None` as long as it goes on.
    fn loaded(&self, load: u64) -> Option<Result<(), Refused>> {
        if self.deleted || self.unloaded {
            return Some(Err(Refused::Failed("the model was taken out while it was being loaded".to_owned())));
        }
        for run in &self.decision.run {
            let running = self.running(&run.revision)?;
            if running.health.ready > 0 && running.loads.done >= load {
                continue;
            }
            running.loads.failed.filter(|failed| *failed >= load)?;
            let failure =
                running.health.failure.as_ref().map_or("the log says more", |failure| failure.message.as_str());
            return Some(Err(Refused::Failed(format!(
                "revision {} failed to load its model: {failure}",
                run.revision
            ))));
        }
        Some(Ok(()))
    }
}

/// Whoever asked may be gone.
fn reply(answer: Answer<()>, result: Result<(), Refused>) {
    let _ = answer.send(result);
}
