//! `weirgate serve`: reads the manifests, wires the parts together, and stops them in order.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use weirgate_deploy::local::{Files, Local, LocalConfig, Processes, Watcher};
use weirgate_deploy::state::{StateFolder, note_owner};
use weirgate_deploy_core::Severity;
use weirgate_models::storage::{Store, StoreConfig};

use crate::admin::Access;
use crate::config::{LogFormat, ServeConfig};
use crate::doors::Doors;
use crate::gateway::Gateway;
use crate::observe::{Registry, init_logs};
use crate::repository::Repository;
use crate::server::{Close, Listener, ListenerConfig};
use crate::takeover::{self, Handover, LINGER, Sockets};
use crate::{admin, http};

/// Metrics and health answer at once; a scrape that still runs so long after the rest has stopped is cut.
const ADMIN_DRAIN: Duration = Duration::from_secs(1);

const USAGE: u8 = 2;

/// Runs until SIGTERM or SIGINT. Wrong flags and manifests exit with 2, failures with 1.
pub fn serve(config: ServeConfig) -> ExitCode {
    if let Err(error) = config.check().and_then(|()| init_logs(&config.log, config.log_format)) {
        eprintln!("error: {error}");
        return ExitCode::from(USAGE);
    }
    let Some(manifests) = read_manifests(&config) else { return ExitCode::from(USAGE) };
    let format = config.log_format;
    match runtime(config.threads).and_then(|runtime| runtime.block_on(run(config, manifests))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Once, as whoever reads it expects it: the other way it would be told twice.
            match format {
                LogFormat::Text => eprintln!("error: {error}"),
                LogFormat::Json => tracing::error!(error, "weirgate failed"),
            }
            ExitCode::FAILURE
        }
    }
}

/// What serves connections; by default with a thread per CPU.
pub(crate) fn runtime(threads: Option<NonZeroUsize>) -> Result<Runtime, String> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = threads {
        runtime.worker_threads(threads.get());
    }
    runtime.enable_all().build().map_err(|error| format!("the runtime can't be started: {error}"))
}

/// Every manifest, to be watched from now on, or `None` where one of them is wrong; what it is has then been printed.
fn read_manifests(config: &ServeConfig) -> Option<(Watcher, Files)> {
    let (watcher, texts, unreadable) = Watcher::open(config.files.clone());
    let (files, problems) = Files::read(texts);
    for error in &unreadable {
        eprintln!("error: {error} (-f)");
    }
    for problem in &problems {
        eprintln!("{}: {problem}", problem.severity.label());
    }
    let wrong = problems.iter().any(|problem| problem.severity == Severity::Error);
    (unreadable.is_empty() && !wrong).then_some((watcher, files))
}

async fn run(config: ServeConfig, (watcher, files): (Watcher, Files)) -> Result<(), String> {
    let folder = config.state.folder()?;
    let taken = if config.takeover { tokio::task::block_in_place(|| takeover::take(&folder))? } else { None };
    if config.takeover && taken.is_none() {
        tracing::info!(state = %folder.display(), "no gateway runs with this state folder: starting as if not to take over");
    }
    let mut doors = Doors::open(&config)?;
    let mut signals = Signals::new()?;
    let ports = ListenerConfig {
        max_connections: config.max_connections,
        client_timeout: config.client_timeout,
        tls: doors.tls.clone(),
    };
    let (state, data, admin, predecessor) = match taken {
        Some((sockets, predecessor)) => {
            let state = StateFolder::adopt(folder, sockets.lock)?;
            let [data, admin] = adopt(&config, sockets.data, sockets.admin, &ports)?;
            (state, data, admin, Some(predecessor))
        }
        None => {
            let state = StateFolder::open(folder)?;
            let data = bind("data", "--listen", config.listen, ports.clone()).await?;
            let admin = bind("admin", "--admin", config.admin, ListenerConfig { tls: None, ..ports }).await?;
            (state, data, admin, None)
        }
    };
    let token = state.token()?;
    let registry = Registry::install()?;
    let refused = |error: std::io::Error| format!("the ports can't be shared: {error}");
    let (data_address, admin_address) = (data.address().map_err(refused)?, admin.address().map_err(refused)?);
    let sockets = Sockets {
        data: data.share().map_err(refused)?,
        admin: admin.share().map_err(refused)?,
        lock: state.share_lock().map_err(refused)?,
    };
    let data_url = |address| format!("{}://{address}", if doors.tls.is_some() { "https" } else { "http" });
    let printed = [("data", data_url(data_address)), ("admin", format!("http://{admin_address}"))];
    let (drain_delay, drain_timeout, client_timeout) =
        (config.drain_delay, config.drain_timeout, config.client_timeout);
    let takeover_timeout = config.takeover_timeout;
    let access = Arc::new(Access::new(token, admin_address, config.admin_hosts.clone()));
    let gateway = Gateway::new(config);
    let platform = LocalConfig {
        data_url: data_url(reachable(data_address)),
        model_roots: gateway.config.model_roots.as_slice().into(),
        store: Store::new(state.models(), downloads(&gateway.config)),
        processes: processes(&gateway.config, state.sockets()?),
        frozen: predecessor.is_some(),
    };
    let folder = state.path().to_owned();
    let (local, control) = Local::start(gateway.clone(), state, watcher, files, platform)?;
    if let Some(predecessor) = predecessor {
        let settled = tokio::select! {
            replaced = predecessor.replace(&gateway) => replaced,
            signal = signals.next() => Err(format!("a {signal} came before this gateway was ready to take over")),
        };
        // Nothing was written until here; the other one goes on when it sees the link end.
        let replaced = settled?;
        tracing::info!(pid = replaced, "taken over: the other gateway finishes what runs there, and ends");
        // From here on nothing may end this gateway: the other one leaves.
        local.freezer().set(false).await;
        if let Err(error) = note_owner(&sockets.lock) {
            tracing::warn!(%error, "the state folder's lock names the gateway that was replaced, and can't be written");
        }
    }
    // Scripts read these two lines; a closed standard output is no reason to stop.
    for (port, url) in printed {
        let _ = writeln!(std::io::stdout(), "{port:<5} {url}");
    }
    let handover = Handover::open(&folder, sockets, local.freezer(), takeover_timeout)
        .inspect_err(|error| tracing::warn!(error, "no other gateway can take over from this one"));
    tracing::info!(services = control.list().len(), "serving");
    let repository = Repository::new(gateway.clone(), control.clone(), access.clone());
    let routes = admin::router(gateway.clone(), registry)
        .merge(admin::decisions_router(gateway.clone(), access.clone(), client_timeout))
        .merge(admin::control_router(control, access, client_timeout));

    let (close_data, data_closes) = watch::channel(Close::Open);
    let (close_admin, admin_closes) = watch::channel(Close::Open);
    let (reread, rereads) = watch::channel(());
    let mut background = JoinSet::new();
    let mut administered = JoinSet::new();
    administered.spawn(admin.serve(routes, admin_closes, ADMIN_DRAIN));
    doors.watch(&mut background, rereads);
    let mut serving = JoinSet::new();
    let routes = http::DataRoutes::new(gateway.clone(), Some(Arc::new(repository))).guarded(doors.auth);
    serving.spawn(data.serve(routes, data_closes, drain_timeout));

    let replaced = async {
        match &handover {
            Ok(handover) => handover.handed_over(&gateway).await,
            Err(_) => std::future::pending().await,
        }
    };
    let ending = tokio::select! {
        signal = signals.ends(&reread) => Ending::Signal(signal),
        () = replaced => Ending::Replaced,
    };
    // Its descriptors would keep the ports open: whoever connects to a gateway that stops is to be refused, and not to wait.
    drop(handover);
    if let Ending::Signal(signal) = ending {
        tracing::info!(signal, ?drain_delay, "stopping: finishing what runs");
        gateway.start_draining();
    } else {
        tracing::info!("replaced: finishing what runs");
    }
    let in_order = async {
        if let Ending::Replaced = ending {
            close_data.send_replace(Close::HandedOver(LINGER));
            close_admin.send_replace(Close::HandedOver(LINGER));
        } else {
            tokio::time::sleep(drain_delay).await;
            close_data.send_replace(Close::Stops);
        }
        gateway.close_streams();
        let finished = matches!(serving.join_next().await, Some(Ok(true)));
        let stopped = local.stop().await;
        close_admin.send_replace(Close::Stops);
        // What is asked of it may be cut.
        administered.join_next().await;
        if !finished {
            return Err(format!("calls that still ran after {drain_timeout:?} were cut (--drain-timeout)"));
        }
        stopped
    };
    let finished = tokio::select! {
        finished = in_order => finished,
        signal = signals.next() => return Err(format!("a second {signal} cut what was still running")),
    };
    tracing::info!("stopped");
    finished
}

/// Why this gateway ends.
#[derive(Clone, Copy)]
enum Ending {
    Signal(&'static str),
    /// Another one accepts in its place.
    Replaced,
}

/// The two ports of the gateway that is replaced. Their addresses are its, whatever the flags say.
fn adopt(config: &ServeConfig, data: OwnedFd, admin: OwnedFd, ports: &ListenerConfig) -> Result<[Listener; 2], String> {
    let refused = |error: std::io::Error| format!("the ports can't be taken over: {error} (--takeover)");
    let admin = Listener::adopt(admin, ListenerConfig { tls: None, ..ports.clone() }).map_err(refused)?;
    let data = Listener::adopt(data, ports.clone()).map_err(refused)?;
    for (flag, wanted, listener) in [("--listen", config.listen, &data), ("--admin", config.admin, &admin)] {
        let kept = listener.address().map_err(refused)?;
        if wanted != kept && wanted.port() != 0 {
            tracing::warn!(%kept, "{flag} is {wanted}: a takeover keeps the address, restart to change it");
        }
    }
    Ok([data, admin])
}

/// Replicas in processes of their own have the gateway's limits, and log as it does.
fn processes(config: &ServeConfig, folder: PathBuf) -> Processes {
    let format = config.log_format.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let settings = [
        ("--max-body", config.max_body.to_string()),
        ("--max-queued-bytes", config.max_queued_bytes.to_string()),
        ("--client-timeout", config.client_timeout.as_secs_f64().to_string()),
        ("--log", config.log.clone()),
        ("--log-format", format),
    ];
    let mut processes = Processes::new(config.allow_commands.into(), folder);
    let threads = config.threads.map(|threads| ("--threads", threads.to_string()));
    let settings = settings.into_iter().chain(threads);
    processes.replica.extend(settings.flat_map(|(flag, value)| [flag.to_owned(), value]));
    processes
}

fn downloads(config: &ServeConfig) -> StoreConfig {
    StoreConfig::new(config.max_model_size as u64, config.model_cache_size as u64, config.model_urls.as_slice().into())
}

/// An address by which this machine reaches a port that is bound to `address`.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        let loopback = if address.is_ipv4() { IpAddr::from(Ipv4Addr::LOCALHOST) } else { Ipv6Addr::LOCALHOST.into() };
        address.set_ip(loopback);
    }
    address
}

async fn bind(port: &str, flag: &str, address: SocketAddr, config: ListenerConfig) -> Result<Listener, String> {
    let refused = |error| format!("the {port} port can't listen on {address}: {error} ({flag})");
    Listener::bind(address, config).await.map_err(refused)
}

/// The signals that ask a server to stop.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    pub fn new() -> Result<Signals, String> {
        let listen = |kind| signal(kind).map_err(|error| format!("signals can't be handled: {error}"));
        Ok(Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// The next signal to stop.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// The same; SIGHUP meanwhile has certificates and keys read again.
    async fn ends(&mut self, reread: &watch::Sender<()>) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => reread.send_replace(()),
            };
        }
    }
}
