//! Servers that somebody else runs: there is nothing to start, they are only watched.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch as channel};
use tokio::task::JoinSet;
use weirgate_replicas_core::BatchPolicy;

use crate::credits::DEFAULT_MAX_ROWS;
use crate::kind::{Ending, EventKind, Kind, Start, Started, Tell, stop_asked, undescribed};
use crate::remote::{Described, Remote, Transport, TransportConfig, WatchConfig, WatchEvent, watch};
use crate::replica::FailureKind;
use crate::waits::Waits;

/// One server elsewhere.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// For logs, metrics and explanations: its URL.
    pub name: Arc<str>,
    pub transport: TransportConfig,
}

/// The servers of one revision, and how they are watched.
#[derive(Clone, Debug)]
pub struct UpstreamsConfig {
    /// One for each place.
    pub servers: Vec<Upstream>,
    pub watch: WatchConfig,
    pub limits: RemoteLimits,
}

/// What a server outside of this process is asked to do at a time.
#[derive(Clone, Copy, Debug, Default)]
pub struct RemoteLimits {
    /// Calls that it holds unfinished; none: no limit.
    pub container_concurrency: Option<NonZeroUsize>,
    /// Rows of a batch that is formed for it; none, and no latency either: none is formed.
    pub max_batch_size: Option<NonZeroUsize>,
    pub max_latency: Option<Duration>,
}

impl RemoteLimits {
    pub(crate) fn slots(&self) -> usize {
        self.container_concurrency.map_or(Remote::NO_LIMIT, NonZeroUsize::get)
    }

    pub(crate) fn policy(&self) -> BatchPolicy {
        let unsaid = if self.max_latency.is_some() { DEFAULT_MAX_ROWS } else { 1 };
        BatchPolicy {
            max_rows: self.max_batch_size.map_or(unsaid, NonZeroUsize::get),
            max_calls: usize::MAX,
            linger: self.max_latency.unwrap_or_default(),
        }
    }
}

/// Servers elsewhere as replicas.
pub(crate) struct Upstreams {
    config: UpstreamsConfig,
    ids: Arc<AtomicU64>,
}

impl Upstreams {
    pub fn new(config: UpstreamsConfig) -> Upstreams {
        Upstreams { config, ids: Arc::default() }
    }
}

impl Kind for Upstreams {
    fn start(&self, start: Start, tasks: &mut JoinSet<()>) -> Result<Arc<dyn Started>, String> {
        let UpstreamsConfig { servers, watch, limits } = &self.config;
        let server = servers.get(start.place).ok_or("there are more replicas than upstreams")?.clone();
        let (stop, stopping) = channel::channel(false);
        let (watch, limits, ids) = (watch.clone(), *limits, self.ids.clone());
        tasks.spawn(async move {
            let ending = Ending::new(start.tell.clone());
            let watched = async {
                loop {
                    let remote = connect(&server, limits, &ids)?;
                    let mut follow = Follow {
                        config: &watch,
                        tell: &start.tell,
                        kind: FailureKind::Upstream,
                        waits: &mut None,
                        reason: &|text, _| of_server(&server.name, text),
                    };
                    let reason = follow.until_not_ready(remote).await;
                    start.tell.tell(EventKind::NotReady(FailureKind::Upstream, reason));
                }
            };
            let ended: Result<(), String> = tokio::select! {
                failed = watched => failed,
                () = stop_asked(stopping) => Ok(()),
            };
            ending.tell(EventKind::Exited(ended.err().map(|reason| (FailureKind::Upstream, reason))));
        });
        Ok(Arc::new(Watched { stop, policy: limits.policy() }))
    }
}

/// A new one each time: it is a stranger to its lane when it comes back.
fn connect(server: &Upstream, limits: RemoteLimits, ids: &AtomicU64) -> Result<Arc<Remote>, String> {
    let transport = Transport::new(server.transport.clone()).map_err(|error| format!("{}: {error}", server.name))?;
    let id = ids.fetch_add(1, Ordering::Relaxed);
    Ok(Remote::new(id, server.name.clone(), transport, false, limits.slots()))
}

/// What is wrong with a server, by its name, unless the text has that already.
fn of_server(name: &str, text: &str) -> String {
    if text.contains(name) { text.to_owned() } else { format!("{name}: {text}") }
}

/// How a server is followed, and how its reasons are told.
pub(crate) struct Follow<'a> {
    pub config: &'a WatchConfig,
    pub tell: &'a Tell,
    /// What one that is not ready has failed in.
    pub kind: FailureKind,
    /// Of a process that starts, until it was ready once: nothing has failed before, unless it says so. None: it is a server
    /// that is up or down.
    pub waits: &'a mut Option<Waits>,
    /// The reason in full, from what is wrong, and for how long it has been so, where it starts.
    pub reason: &'a (dyn Fn(&str, Option<Duration>) -> String + Send + Sync),
}

impl Follow<'_> {
    /// Tells how a server fares until it was ready and is not any more, and returns why.
    pub async fn until_not_ready(&mut self, remote: Arc<Remote>) -> String {
        let started = Instant::now();
        // A watch tells at most an event or two each time it is polled, and this is the task that polls it.
        let (sender, mut told) = mpsc::unbounded_channel();
        let name = remote.name.clone();
        let watching = watch(remote.clone(), self.config.clone(), move |event| drop(sender.send(event)));
        tokio::pin!(watching);
        let (mut remote, mut unready) = (Some(remote), None);
        let model = |described: &Described| described.model.clone().unwrap_or_else(undescribed);
        loop {
            let event = tokio::select! {
                event = told.recv() => event,
                () = &mut watching => None,
                () = due(self.waits.as_ref().filter(|_| unready.is_some())) => {
                    unready.iter().for_each(|text: &String| self.waiting(text));
                    continue;
                }
            };
            match event {
                Some(WatchEvent::Ready(described)) if remote.is_some() => {
                    (unready, *self.waits) = (None, None);
                    let (model, took) = (model(&described), started.elapsed());
                    self.tell.tell(EventKind::Loaded { model, took, remote: remote.take() });
                }
                Some(WatchEvent::Ready(described) | WatchEvent::Changed(described)) => {
                    self.tell.tell(EventKind::Changed(Some(model(&described))));
                }
                Some(WatchEvent::Slots(_)) => self.tell.tell(EventKind::Changed(None)),
                Some(WatchEvent::Draining) => self.tell.tell(EventKind::Suspect(format!("{name} drains"))),
                Some(WatchEvent::NotReady(text) | WatchEvent::Failed(text)) if remote.is_none() => {
                    return (self.reason)(&text, None);
                }
                Some(WatchEvent::Failed(text)) => {
                    unready = None;
                    self.tell.tell(EventKind::NotReady(FailureKind::Load, (self.reason)(&text, None)));
                }
                Some(WatchEvent::NotReady(text)) => {
                    self.waiting(&text);
                    unready = Some(text);
                }
                None => return format!("{name} is not watched any more"),
            }
        }
    }

    /// Tells why it is not ready yet; of a process that starts when it is time to.
    fn waiting(&mut self, text: &str) {
        match self.waits {
            Some(waits) => {
                if let Some(lasted) = waits.found(text, Instant::now()) {
                    self.tell.tell(EventKind::Starts((self.reason)(text, Some(lasted))));
                }
            }
            None => self.tell.tell(EventKind::NotReady(self.kind, (self.reason)(text, None))),
        }
    }
}

/// Resolves when a start that is not done has to be told of again.
async fn due(waits: Option<&Waits>) {
    match waits {
        Some(waits) => tokio::time::sleep_until(waits.due().into()).await,
        None => std::future::pending().await,
    }
}

struct Watched {
    stop: channel::Sender<bool>,
    policy: BatchPolicy,
}

impl Started for Watched {
    fn stop(&self) {
        self.stop.send_replace(true);
    }

    fn policy(&self) -> BatchPolicy {
        self.policy
    }
}
