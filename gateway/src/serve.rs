//! `weirgate serve`: reads the manifests, wires the parts together, and stops them in order.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use weirgate_deploy::local::{Files, Local, LocalConfig, Processes, Watcher};
use weirgate_deploy::state::StateFolder;
use weirgate_deploy_core::Severity;
use weirgate_models::storage::{Store, StoreConfig};

use crate::admin::Access;
use crate::config::ServeConfig;
use crate::gateway::Gateway;
use crate::observe::{Registry, init_logs};
use crate::repository::Repository;
use crate::server::{Listener, ListenerConfig};
use crate::{admin, http};

/// Samples of histograms take memory until they are folded.
const UPKEEP: Duration = Duration::from_secs(1);
/// Metrics and health answer at once; a scrape that still runs after this is cut.
const ADMIN_DRAIN: Duration = Duration::from_secs(1);

/// After the last call has been answered engines have nothing to do; this is for one that does not come back.
const ENGINE_STOP: Duration = Duration::from_secs(10);

const USAGE: u8 = 2;

/// Runs until SIGTERM or SIGINT. Wrong flags and manifests exit with 2, failures with 1.
pub fn serve(config: ServeConfig) -> ExitCode {
    if let Err(error) = config.check().and_then(|()| init_logs(&config.log, config.log_format)) {
        eprintln!("error: {error}");
        return ExitCode::from(USAGE);
    }
    let Some(manifests) = read_manifests(&config) else { return ExitCode::from(USAGE) };
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = config.threads {
        runtime.worker_threads(threads.get());
    }
    let result = match runtime.enable_all().build() {
        Ok(runtime) => runtime.block_on(run(config, manifests)),
        Err(error) => Err(format!("the runtime can't be started: {error}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error, "weirgate failed");
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Every manifest, to be watched from now on, or `None` where one of them is wrong; what it is has then been printed.
fn read_manifests(config: &ServeConfig) -> Option<(Watcher, Files)> {
    let (watcher, texts, unreadable) = Watcher::open(config.files.clone());
    let (files, problems) = Files::read(texts);
    for error in &unreadable {
        eprintln!("error: {error}");
    }
    for problem in &problems {
        eprintln!("{}: {problem}", problem.severity.label());
    }
    let wrong = problems.iter().any(|problem| problem.severity == Severity::Error);
    (unreadable.is_empty() && !wrong).then_some((watcher, files))
}

async fn run(config: ServeConfig, (watcher, files): (Watcher, Files)) -> Result<(), String> {
    let state = StateFolder::open(config.state.folder()?)?;
    let token = state.token()?;
    let registry = Registry::install()?;
    let mut signals = Signals::new()?;
    let limits = ListenerConfig { max_connections: config.max_connections, client_timeout: config.client_timeout };
    let data = bind("data", "--listen", config.listen, limits).await?;
    let admin = bind("admin", "--admin", config.admin, limits).await?;
    let refused = |error: std::io::Error| format!("the ports' addresses can't be read: {error}");
    let (data_address, admin_address) = (data.address().map_err(refused)?, admin.address().map_err(refused)?);
    let (drain_delay, drain_timeout, client_timeout) =
        (config.drain_delay, config.drain_timeout, config.client_timeout);
    let access = Arc::new(Access::new(token, admin_address, config.admin_hosts.clone()));
    let gateway = Gateway::new(config);
    let platform = LocalConfig {
        data_url: format!("http://{}", reachable(data_address)),
        model_roots: gateway.config.model_roots.as_slice().into(),
        store: Store::new(state.models(), downloads(&gateway.config)),
        processes: Processes::new(gateway.config.allow_commands.into(), state.sockets()?),
    };
    let (local, control) = Local::start(gateway.clone(), state, watcher, files, platform)?;
    tracing::info!(services = control.list().len(), "serving");
    let repository = Repository::new(gateway.clone(), control.clone(), access.clone());
    let routes = admin::router(gateway.clone(), registry.clone())
        .merge(admin::decisions_router(gateway.clone(), access.clone(), client_timeout))
        .merge(admin::control_router(control, access, client_timeout));

    let (close_data, data_closes) = watch::channel(false);
    let (close_admin, admin_closes) = watch::channel(false);
    let mut background = JoinSet::new();
    background.spawn(admin.serve(routes, admin_closes, ADMIN_DRAIN));
    background.spawn(upkeep(registry));
    let mut serving = JoinSet::new();
    serving.spawn(data.serve(
        http::DataRoutes::new(gateway.clone(), Some(Arc::new(repository))),
        data_closes,
        drain_timeout,
    ));

    let signal = signals.next().await;
    tracing::info!(signal, ?drain_delay, "stopping: finishing what runs");
    gateway.start_draining();
    let in_order = async {
        tokio::time::sleep(drain_delay).await;
        let _ = close_data.send(true);
        gateway.close_streams();
        let finished = matches!(serving.join_next().await, Some(Ok(true)));
        let stopped = tokio::time::timeout(ENGINE_STOP, local.stop()).await.is_ok();
        let _ = close_admin.send(true);
        finished && stopped
    };
    let finished = tokio::select! {
        finished = in_order => finished,
        signal = signals.next() => return Err(format!("a second {signal} cut what was still running")),
    };
    tracing::info!("stopped");
    if finished {
        Ok(())
    } else {
        Err(format!("calls that still ran after {drain_timeout:?} were cut (--drain-timeout)"))
    }
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
    let listener = Listener::bind(address, config).await.map_err(refused)?;
    let bound = listener.address().map_err(refused)?;
    // Scripts read these two lines; a closed standard output is no reason to stop.
    let _ = writeln!(std::io::stdout(), "{port:<5} http://{bound}");
    Ok(listener)
}

async fn upkeep(registry: Registry) -> bool {
    let mut ticks = tokio::time::interval(UPKEEP);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        registry.upkeep();
    }
}

/// The signals that ask a server to stop.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub fn new() -> Result<Signals, String> {
        let listen = |kind| signal(kind).map_err(|error| format!("signals can't be handled: {error}"));
        Ok(Signals { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
