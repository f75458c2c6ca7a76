//! The local platform: watched files and the state folder say what shall run, and all of it runs in this process or in
//! children of it.
//!
//! ```text
//! watch       changed files ──────┐
//! control     apply, rollout ─────┼─► controller ─► service: rollout, status, events ─► state folder
//! running     replicas' states ───┘       │
//!                                         └─► route table
//! ```
//!
//! One task owns every service and acts on one event after the other, so nothing here needs a lock.

mod absent;
mod children;
mod commands;
mod controller;
mod events;
mod executor;
mod files;
mod loading;
mod memory;
mod reconcile;
mod record;
mod running;
mod service;
mod table;
mod view;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch as channel};
use tokio::task::JoinSet;
use weirgate_replicas::Store;

use crate::control::Control;
use crate::plane::DataPlane;
use crate::state::StateFolder;
pub use children::{AllowCommands, Processes};
use controller::Controller;
pub use files::Files;
pub use watch::Watcher;

/// Changes that wait for the controller; who sends more waits too.
const COMMANDS: usize = 64;

/// What the platform needs to know of the process it runs in.
#[derive(Clone)]
pub struct LocalConfig {
    /// Where the data port is reached: `http://127.0.0.1:8080`.
    pub data_url: String,
    /// Folders that models may come from; none: all.
    pub model_roots: Arc<[PathBuf]>,
    /// Where models from URLs are kept.
    pub store: Arc<Store>,
    /// What processes are started with.
    pub processes: Processes,
    /// Starts as if [frozen](Freezer::set): the state folder is still another process's, and replicas are only got ready.
    pub frozen: bool,
}

/// Keeps the platform from changing anything while another process gets ready to take its place.
/// One that has frozen what is got ready to take over thaws it when it has.
#[derive(Clone)]
pub struct Freezer(mpsc::Sender<Freeze>);

/// Whether to freeze, and who waits for that.
type Freeze = (bool, oneshot::Sender<()>);

impl Freezer {
    /// Freezes or thaws, and returns when that holds: nothing is stored, no command is taken and no file acted on while
    /// frozen. Replicas and routes are kept as they are, and kept going.
    pub async fn set(&self, frozen: bool) {
        let (done, is_done) = oneshot::channel();
        // A platform that has stopped changes nothing either.
        if self.0.send((frozen, done)).await.is_ok() {
            let _ = is_done.await;
        }
    }
}

/// The running platform. Dropping it aborts its tasks; [`Local::stop`] ends them in order.
pub struct Local {
    /// The watcher, and the controller, which says what did not end.
    tasks: JoinSet<Result<(), String>>,
    stop: channel::Sender<bool>,
    freezer: Freezer,
}

impl Local {
    /// Starts everything that `files` and the state folder ask for, and goes on watching. An error is one of what is
    /// asked for, as two owners of one service.
    pub fn start<P: DataPlane>(
        plane: Arc<P>,
        state: StateFolder,
        watcher: Watcher,
        files: Files,
        config: LocalConfig,
    ) -> Result<(Local, Control), String> {
        let (stop, stopping) = channel::channel(false);
        let (commands, requests) = mpsc::channel(COMMANDS);
        let (views, seen) = channel::channel(Arc::default());
        let mut controller = Controller::new(plane, state, files, config, views)?;
        controller.settle();
        let (changes, changed) = mpsc::channel(1);
        let mut tasks = JoinSet::new();
        let watching = watcher.run(changes, stopping.clone());
        tasks.spawn(async {
            watching.await;
            Ok(())
        });
        let (freezes, freezing) = mpsc::channel(1);
        tasks.spawn(controller.run(requests, changed, freezing, stopping));
        let freezer = Freezer(freezes);
        Ok((Local { tasks, stop, freezer }, Control::new(commands, seen)))
    }

    pub fn freezer(&self) -> Freezer {
        self.freezer.clone()
    }

    /// Ends every replica after the batch it runs, and waits for as long as any of them may take. An error names those that
    /// did not end.
    pub async fn stop(mut self) -> Result<(), String> {
        let _ = self.stop.send(true);
        let mut stopped = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            let ended = ended.unwrap_or_else(|error| Err(format!("a task of the platform failed: {error}")));
            stopped = stopped.and(ended);
        }
        stopped
    }
}

/// Resolves when a stop is asked for, or whoever could ask for one is gone.
async fn stopped(stop: &mut channel::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
