//! Servers that somebody else runs: there is nothing to start, they are only watched.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch as channel};
use tokio::task::JoinSet;
use weirgate_replicas_core::BatchPolicy;

use crate::credits::DEFAULT_MAX_ROWS;
use crate::kind::{Ending, EventKind, Kind, Start, Started, Tell, undescribed};
use crate::remote::{Described, Remote, Transport, TransportConfig, WatchConfig, WatchEvent, watch};

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
        let (stop, mut stopping) = channel::channel(false);
        let (watch, limits, ids) = (watch.clone(), *limits, self.ids.clone());
        tasks.spawn(async move {
            let ending = Ending::new(start.tell.clone());
            let watched = async {
                loop {
                    let remote = connect(&server, limits, &ids)?;
                    let reason = follow(remote, &watch, &start.tell, &mut false).await;
                    start.tell.tell(EventKind::NotReady(reason));
                }
            };
            let ended: Result<(), String> = tokio::select! {
                failed = watched => failed,
                _ = stopping.wait_for(|stop| *stop) => Ok(()),
            };
            ending.tell(EventKind::Exited { reason: ended.err() });
        });
        Ok(Arc::new(Watched { stop, policy: limits.policy() }))
    }
}

/// A new one each time: it is a stranger to its lane when it comes back, and its certificates are read anew.
fn connect(server: &Upstream, limits: RemoteLimits, ids: &AtomicU64) -> Result<Arc<Remote>, String> {
    let transport = Transport::new(server.transport.clone()).map_err(|error| format!("{}: {error}", server.name))?;
    let id = ids.fetch_add(1, Ordering::Relaxed);
    Ok(Remote::new(id, server.name.clone(), transport, false, limits.slots()))
}

/// How long a process may start without the reason why it is not ready yet being told: at first it is that of every start.
pub(crate) const START: Duration = Duration::from_secs(10);

/// Tells how a server fares until it was ready and is not any more, and returns why. One of a process that `starts` is not a
/// server that is down: until it was ready once, nothing has failed, unless it says so.
pub(crate) async fn follow(remote: Arc<Remote>, config: &WatchConfig, tell: &Tell, starts: &mut bool) -> String {
    let started = Instant::now();
    // A watch tells at most an event or two each time it is polled, and this is the task that polls it.
    let (sender, mut told) = mpsc::unbounded_channel();
    let name = remote.name.clone();
    let watching = watch(remote.clone(), config.clone(), move |event| drop(sender.send(event)));
    let patient = tokio::time::sleep(if *starts { START } else { Duration::ZERO });
    tokio::pin!(watching, patient);
    let (mut remote, mut unready) = (Some(remote), None);
    let model = |described: &Described| described.model.clone().unwrap_or_else(undescribed);
    loop {
        let event = tokio::select! {
            event = told.recv() => event,
            () = &mut watching => None,
            () = &mut patient, if unready.is_some() => {
                if let Some(reason) = unready.take() {
                    tell.tell(if *starts { EventKind::Starts(reason) } else { EventKind::NotReady(reason) });
                }
                continue;
            }
        };
        match event {
            Some(WatchEvent::Ready(described)) if remote.is_some() => {
                (unready, *starts) = (None, false);
                let (model, took) = (model(&described), started.elapsed());
                tell.tell(EventKind::Loaded { model, took, remote: remote.take() });
            }
            Some(WatchEvent::Ready(described) | WatchEvent::Changed(described)) => {
                tell.tell(EventKind::Changed(Some(model(&described))));
            }
            Some(WatchEvent::Slots(_)) => tell.tell(EventKind::Changed(None)),
            Some(WatchEvent::Draining) => tell.tell(EventKind::Suspect(format!("{name} drains"))),
            Some(WatchEvent::NotReady(reason) | WatchEvent::Failed(reason)) if remote.is_none() => {
                return format!("{name}: {reason}");
            }
            Some(WatchEvent::Failed(reason)) => {
                unready = None;
                tell.tell(EventKind::NotReady(format!("{name}: {reason}")));
            }
            Some(WatchEvent::NotReady(reason)) => unready = Some(format!("{name}: {reason}")),
            None => return format!("{name} is not watched any more"),
        }
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
