//! Processes of this machine: what is needed to start one, and whose manifests may.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use weirgate_deploy_core::{Executor, InferenceService, InferenceServiceSpec, Metadata, PredictorSpec, ServicePlan};
use weirgate_replicas::child::{Guard, Ports, this_program};

use crate::control::{Named, Owner};

/// What the platform starts processes with.
#[derive(Clone, Debug)]
pub struct Processes {
    /// Whose manifests may have commands run.
    pub allowed: AllowCommands,
    /// The program that guards a command.
    pub guard: Guard,
    /// This program for one service; `$(MANIFEST)` and `$(SOCKET)` are filled in.
    pub replica: Vec<String>,
    /// For sockets: nobody else may enter it, and its path is short.
    pub folder: PathBuf,
    pub ports: Arc<Ports>,
    /// Names for what lies in the folder.
    pub numbers: Arc<AtomicU64>,
}

/// Whose manifests may have commands run: `predictor.containers`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AllowCommands {
    /// Those of watched files: whoever may write them may run programs here anyway.
    #[default]
    Files,
    /// Those that are applied over the control API too.
    All,
    /// Nobody's.
    None,
}

impl AllowCommands {
    /// Why commands of this owner's manifests are not run; none where they are.
    pub(super) fn refusal(self, owner: &Owner) -> Option<&'static str> {
        match (self, owner) {
            (AllowCommands::All, _) | (AllowCommands::Files, Owner::File { .. }) => None,
            (AllowCommands::Files, Owner::State) => Some(
                "is not run for a manifest that was applied: put it into a file that the server watches (-f), or start the \
                 server with --allow-commands all",
            ),
            (AllowCommands::None, _) => Some(
                "is not run: the server was started with --allow-commands none, use model or weirgate.dev/upstream",
            ),
        }
    }

    /// The same for a whole plan, by the field that asks for a command.
    pub(super) fn refuses(self, owner: &Owner, plan: &ServicePlan) -> Option<String> {
        let commands = plan.revisions().any(|revision| matches!(revision.executor, Executor::Command(_)));
        self.refusal(owner).filter(|_| commands).map(|why| format!("spec.predictor.containers {why}"))
    }
}

impl Processes {
    /// Of this program, with its sockets in `folder`.
    pub fn new(allowed: AllowCommands, folder: PathBuf) -> Processes {
        let program = this_program().to_owned();
        let words = ["replica", "-f", "$(MANIFEST)", "--listen", "unix:$(SOCKET)"];
        let replica = std::iter::once(program.display().to_string()).chain(words.map(str::to_owned)).collect();
        let guard = Guard { program, arguments: ["child-guard", "--"].map(str::to_owned).to_vec() };
        Processes { allowed, guard, replica, folder, ports: Arc::default(), numbers: Arc::default() }
    }
}

/// The InferenceService that a process of ours serves: one replica of a revision, its model at a path.
pub(super) fn manifest(service: &Named, predictor: &PredictorSpec, model: &Path) -> Result<String, String> {
    let mut predictor = predictor.clone();
    predictor.component.min_replicas = Some(1);
    predictor.component.annotations.clear();
    if let Some(spec) = &mut predictor.model {
        spec.storage_uri = Some(model.to_string_lossy().into_owned());
    }
    let metadata =
        Metadata { name: service.name.clone(), namespace: Some(service.namespace.clone()), ..Metadata::default() };
    let spec = InferenceServiceSpec { predictor, ..InferenceServiceSpec::default() };
    let object = InferenceService { metadata, spec, ..InferenceService::default() };
    serde_json::to_string(&object).map_err(|error| format!("its manifest can't be written: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_a_matter_of_who_wrote_the_manifest() {
        let (file, state) = (Owner::File { path: "a.yaml".to_owned(), document: 1 }, Owner::State);
        for (allowed, of_file, of_state) in
            [(AllowCommands::Files, true, false), (AllowCommands::All, true, true), (AllowCommands::None, false, false)]
        {
            assert_eq!(allowed.refusal(&file).is_none(), of_file, "{allowed:?}");
            assert_eq!(allowed.refusal(&state).is_none(), of_state, "{allowed:?}");
        }
    }
}
