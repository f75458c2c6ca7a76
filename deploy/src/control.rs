//! What can be asked of a platform: the contract between the admin API and whoever runs the services.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use weirgate_deploy_core::{Problem, Service};

/// A handle on the platform. Reading never waits for it; what changes something is answered when it is safely stored.
#[derive(Clone, Debug)]
pub struct Control {
    commands: mpsc::Sender<Command>,
    views: watch::Receiver<Arc<Vec<Arc<ServiceView>>>>,
}

/// What a change of a service is answered with.
pub type Answer<T> = oneshot::Sender<Result<T, Refused>>;

/// What a platform is asked by [`Control`].
#[derive(Debug)]
pub enum Command {
    Apply(Vec<Service>, Answer<Vec<Applied>>),
    Delete(Named, Answer<()>),
    Load(Named, Answer<()>),
    Unload(Named, Answer<()>),
    Rollout {
        named: Named,
        rollout: Rollout,
        /// Change the owning file too.
        write_back: bool,
        answer: Answer<Applied>,
    },
}

/// A service's namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Named {
    pub namespace: String,
    pub name: String,
}

/// A change of how calls are split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "camelCase")]
pub enum Rollout {
    /// All calls to the newest revision, or to the one canary of `spec.canary`, or to the one of this name.
    Promote { canary: Option<String> },
    /// No calls to any canary; where none runs, back to the revision that was rolled out before.
    Rollback,
    /// This share of the calls to the newest revision, or to the canary of this name.
    Set { percent: u8, canary: Option<String> },
}

/// What became of an applied manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    #[serde(flatten)]
    pub named: Named,
    pub change: Change,
    /// Why it does not run though nothing is wrong with the manifest: this server may not run it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    Created,
    Configured,
    Unchanged,
}

/// Why a change was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("there is no inferenceservice {0}")]
    NotFound(String),
    /// The text names the owner, mostly a file.
    #[error("{0}")]
    Owned(String),
    #[error("{0}")]
    Invalid(String),
    /// The state folder could not take it; nothing has changed.
    #[error("{0}")]
    NotStored(String),
    /// Too many wait for the same.
    #[error("{0}")]
    Busy(String),
    /// It was tried, and the text says why it did not succeed.
    #[error("{0}")]
    Failed(String),
    #[error("the server is stopping")]
    Stopping,
    #[error("the server is being replaced by another one: ask again in a moment")]
    Replaced,
}

impl Command {
    /// Answers without doing anything.
    pub fn refuse(self, refused: Refused) {
        // Whoever asked may be gone.
        match self {
            Command::Apply(_, answer) => drop(answer.send(Err(refused))),
            Command::Delete(_, answer) | Command::Load(_, answer) | Command::Unload(_, answer) => {
                drop(answer.send(Err(refused)));
            }
            Command::Rollout { answer, .. } => drop(answer.send(Err(refused))),
        }
    }
}

/// Whose word a service's manifest is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Owner {
    /// A watched file, and which of its documents.
    File { path: String, document: usize },
    /// The state folder.
    State,
}

/// A service as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceView {
    #[serde(flatten)]
    pub named: Named,
    pub owner: Owner,
    /// The whole InferenceService with defaults and `status`, without what may be secret in it.
    pub object: Value,
    /// The same as it was written, for those who may change it: none here, where it was not asked for by one of them.
    #[serde(skip)]
    pub written: Option<Value>,
    /// Every revision that is known, the newest first.
    pub revisions: Vec<RevisionView>,
    /// The newest last; capped.
    pub events: Vec<Event>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionView {
    pub name: String,
    pub variant: Option<String>,
    /// `stable`, `latest`, `canary`, `previous`: what it is now; maybe several.
    pub roles: Vec<String>,
    /// Share of the calls.
    pub percent: u8,
    /// `Waiting` for another to end, `Loading`, `Ready`, `Failed`, `Draining`, `Stopped`.
    pub state: String,
    /// Why it failed, or still loads.
    pub message: Option<String>,
    pub ready_replicas: usize,
    /// They run, or are being started, and are not ready.
    pub starting_replicas: usize,
    /// They have failed, and are started anew later.
    pub waiting_replicas: usize,
    /// They finish what they hold, and go.
    pub draining_replicas: usize,
    /// Those that shall be ready.
    pub replicas: usize,
    /// How often a replica was started because another had failed.
    pub restarts: u64,
    /// Who answers: where the model lies, the servers' URLs, or the command; without what may be secret in it.
    pub source: String,
    /// RFC 3339.
    pub created: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// RFC 3339.
    pub time: String,
    /// `Normal` or `Warning`.
    pub kind: String,
    /// One word: `RevisionReady`, `TrafficChanged`, `ReplicaExited`.
    pub reason: String,
    pub message: String,
    /// How often it has happened; the message is the last one's.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub count: u64,
    /// RFC 3339: the first time, where there were several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_time: Option<String>,
}

fn once() -> u64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_once(count: &u64) -> bool {
    *count == 1
}

impl Event {
    /// One that has happened once.
    pub fn new(time: String, kind: &str, reason: &str, message: String) -> Event {
        Event { time, kind: kind.to_owned(), reason: reason.to_owned(), message, count: 1, first_time: None }
    }
}

impl Control {
    /// A handle on whoever receives the commands and publishes the views, which are in the order of their names.
    pub fn new(commands: mpsc::Sender<Command>, views: watch::Receiver<Arc<Vec<Arc<ServiceView>>>>) -> Control {
        Control { commands, views }
    }

    /// Every service, by namespace and name.
    pub fn list(&self) -> Arc<Vec<Arc<ServiceView>>> {
        self.views.borrow().clone()
    }

    pub fn get(&self, named: &Named) -> Option<Arc<ServiceView>> {
        let views = self.views.borrow();
        views.binary_search_by(|view| view.named.cmp(named)).ok().map(|index| views[index].clone())
    }

    /// Puts manifests into the state folder, all or none of them, and acts on them. Warnings are the caller's to show.
    pub async fn apply(&self, services: Vec<Service>) -> Result<Vec<Applied>, Refused> {
        self.ask(|answer| Command::Apply(services, answer)).await
    }

    /// Takes a service out: its calls finish, further ones find no such model.
    pub async fn delete(&self, named: Named) -> Result<(), Refused> {
        self.ask(|answer| Command::Delete(named, answer)).await
    }

    /// Loads a service's model: anew where it runs, and again where it was unloaded. Answered when it has loaded.
    pub async fn load(&self, named: Named) -> Result<(), Refused> {
        self.ask(|answer| Command::Load(named, answer)).await
    }

    /// Takes a service's model out of memory until it is loaded again, its manifest changes, or the server restarts.
    pub async fn unload(&self, named: Named) -> Result<(), Refused> {
        self.ask(|answer| Command::Unload(named, answer)).await
    }

    /// Changes how calls are split. A service that a file owns is changed only with `write_back`, which changes the file.
    pub async fn rollout(&self, named: Named, rollout: Rollout, write_back: bool) -> Result<Applied, Refused> {
        self.ask(|answer| Command::Rollout { named, rollout, write_back, answer }).await
    }

    async fn ask<T>(&self, command: impl FnOnce(Answer<T>) -> Command) -> Result<T, Refused> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).await.map_err(|_| Refused::Stopping)?;
        answered.await.map_err(|_| Refused::Stopping)?
    }
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The text for problems that forbid a change.
pub fn refusal(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; ")
}
