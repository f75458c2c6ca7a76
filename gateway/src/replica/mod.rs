//! `weirgate replica`: one service in a process of its own, for a gateway that passes calls to it.
//!
//! ```text
//! manifest  the one service, from a file or from standard input
//! parent    whoever started this, and is noticed when it is gone
//! routes    the data port's routes, as a gateway needs them: refusals say that nothing was executed
//! grants    what each gateway that is connected may have running here
//! ```
//!
//! It is the gateway's own stack, from the adapters to the engine threads, without an admin port and without a state folder:
//! a crash of the engine takes nothing else down.

mod grants;
mod manifest;
mod parent;
mod routes;

use std::io::Write;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::sync::watch;
use tokio::task::JoinSet;
use weirgate_deploy::plane::{DataPlane, LaneBound, LaneOf};
use weirgate_deploy_core::ServicePlan;
use weirgate_replicas::Wanted;
use weirgate_router::{Revision, RouteTable, Service, Turns};

use self::grants::Grants;
use self::manifest::Manifest;
use self::routes::ReplicaRoutes;
use crate::config::{LogFormat, ServeConfig, parse_count, parse_positive_seconds, parse_seconds, parse_size};
use crate::dispatch::Lane;
use crate::gateway::Gateway;
use crate::http::DataRoutes;
use crate::observe::init_logs;
use crate::serve::{Signals, runtime};
use crate::server::{Close, Listener, ListenerConfig, UnixPort};

/// From telling the gateways that this one drains to closing their connections.
const NOTICE: Duration = Duration::from_millis(100);
/// For an engine that does not come back when it has nothing to do any more.
const ENGINE_STOP: Duration = Duration::from_secs(10);

const USAGE: u8 = 2;

/// Settings of `weirgate replica`. None is read from the environment, which is the gateway's.
#[derive(Args, Clone, Debug)]
pub struct ReplicaConfig {
    /// Manifest with the one InferenceService to run, or - for standard input
    #[arg(short = 'f', long = "file", value_name = "PATH")]
    file: PathBuf,

    /// Where to listen: unix:PATH, spoken to by HTTP/2, or IP:PORT
    #[arg(long, value_name = "WHERE", value_parser = parse_listen)]
    listen: Listen,

    /// Stop when standard input ends, as it does when whoever started this dies; with -f - a line ... ends the manifest
    #[arg(long)]
    stop_at_eof: bool,

    /// Largest request body or gRPC message, in bytes or with KiB, MiB or GiB
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = parse_size)]
    max_body: usize,

    /// Calls that may wait here, where the manifest does not say
    #[arg(long, value_name = "N", default_value = "1024", value_parser = parse_count)]
    max_queued_requests: NonZeroUsize,

    /// Bytes that waiting calls may hold
    #[arg(long, value_name = "SIZE", default_value = "512MiB", value_parser = parse_size)]
    max_queued_bytes: usize,

    /// The longest pause in sending a body, and over TCP in taking an answer
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = parse_positive_seconds, allow_negative_numbers = true)]
    client_timeout: Duration,

    /// Seconds that running calls have to finish after SIGTERM; what still runs then is cut, and the exit code is 1
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = parse_seconds, allow_negative_numbers = true)]
    drain_timeout: Duration,

    /// Threads that serve connections; by default one per CPU
    #[arg(long, value_name = "N", value_parser = parse_count)]
    threads: Option<NonZeroUsize>,

    /// What is logged: error, warn, info, debug, or filters as weirgate=debug,hyper=info
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log: String,

    /// How it is logged, on standard error
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Listen {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

fn parse_listen(text: &str) -> Result<Listen, String> {
    match text.strip_prefix("unix:") {
        Some("") => Err("'unix:' names no socket: give unix:PATH".to_owned()),
        Some(path) => Ok(Listen::Unix(path.into())),
        None => {
            let address = text.parse().map(Listen::Tcp);
            address.map_err(|_| format!("'{text}' is neither unix:PATH nor IP:PORT, such as 127.0.0.1:0"))
        }
    }
}

/// Runs until SIGTERM or SIGINT, or until its parent is gone. Wrong flags and manifests exit with 2, failures with 1.
pub fn replica(config: ReplicaConfig) -> ExitCode {
    if let Err(error) = init_logs(&config.log, config.log_format) {
        eprintln!("error: {error}");
        return ExitCode::from(USAGE);
    }
    let manifest = match Manifest::read(&config.file, config.stop_at_eof) {
        Ok(manifest) => manifest,
        Err(lines) => {
            lines.iter().for_each(|line| eprintln!("error: {line}"));
            return ExitCode::from(USAGE);
        }
    };
    let format = config.log_format;
    match runtime(config.threads).and_then(|runtime| runtime.block_on(run(config, manifest))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            match format {
                LogFormat::Text => eprintln!("error: {error}"),
                LogFormat::Json => tracing::error!(error, "weirgate replica failed"),
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(config: ReplicaConfig, manifest: Manifest) -> Result<(), String> {
    let mut signals = Signals::new()?;
    let mut parent = parent::watch(config.stop_at_eof)?;
    let port = Port::bind(&config).await?;
    let gateway = Gateway::new(gateway_config(&config)?);
    let plan = &manifest.plan;
    let concurrency = plan.predictor.container_concurrency;
    let (lane, feed) = open(&gateway, plan);
    let (service, revision) = (format!("{}/{}", plan.namespace, plan.name), plan.predictor.name.clone());
    let (wanted, wants) = watch::channel(Wanted::replicas(1));
    let mut engines = JoinSet::new();
    engines.spawn(manifest.replicas(feed)?.run(wants));
    tracing::info!(%service, %revision, "serving");

    let grants = Grants::new(gateway.clone(), lane, concurrency);
    let routes = ReplicaRoutes::new(DataRoutes::new(gateway.clone(), None), gateway.clone(), grants);
    let (close, closes) = watch::channel(Close::Open);
    let mut serving = JoinSet::new();
    serving.spawn(port.serve(routes, closes, config.drain_timeout));

    tokio::select! {
        signal = signals.next() => tracing::info!(signal, "stopping: finishing what runs"),
        () = parent.is_gone() => {
            tracing::info!("stopping: standard input has ended, and so has whoever started this (--stop-at-eof)");
            return Ok(());
        }
    }
    gateway.start_draining();
    let in_order = async {
        tokio::time::sleep(NOTICE).await;
        let _ = close.send(Close::Stops);
        gateway.close_streams();
        let finished = matches!(serving.join_next().await, Some(Ok(true)));
        wanted.send_modify(|wanted| wanted.replicas = 0);
        finished && tokio::time::timeout(ENGINE_STOP, engines.join_next()).await.is_ok()
    };
    let finished = tokio::select! {
        finished = in_order => finished,
        () = parent.is_gone() => return Ok(()),
        signal = signals.next() => return Err(format!("a second {signal} cut what was still running")),
    };
    if finished {
        tracing::info!("stopped");
        Ok(())
    } else {
        Err(format!("calls that still ran after {:?} were cut (--drain-timeout)", config.drain_timeout))
    }
}

/// The gateway's settings where these have no say.
fn gateway_config(config: &ReplicaConfig) -> Result<ServeConfig, String> {
    Ok(ServeConfig {
        max_body: config.max_body,
        max_queued_requests: config.max_queued_requests,
        max_queued_bytes: config.max_queued_bytes,
        client_timeout: config.client_timeout,
        drain_timeout: config.drain_timeout,
        ..ServeConfig::unset()?
    })
}

/// Opens the one lane there is, and routes to it.
fn open(gateway: &Arc<Gateway>, plan: &ServicePlan) -> (Arc<Lane>, Arc<dyn weirgate_replicas::Feed>) {
    let ServicePlan { namespace, name, settings, predictor, .. } = plan;
    let (lane, feed) = gateway.open_lane(&LaneOf {
        namespace,
        service: name,
        revision: &predictor.name,
        passes: predictor.executor.passes(),
        remote: false,
    });
    gateway.bound_lane(&lane, LaneBound { max_queued_requests: settings.max_queued_requests, percent: 100 });
    gateway.publish(RouteTable::new(vec![Service {
        namespace: namespace.as_str().into(),
        name: name.as_str().into(),
        model: predictor.executor.model_name().unwrap_or(name).into(),
        timeout: settings.timeout,
        sticky: None,
        retry: settings.retry,
        stream_idle_timeout: settings.stream_idle_timeout,
        base: 0,
        stable: None,
        latest: Some(0),
        turns: Turns::default(),
        revisions: vec![Revision {
            name: predictor.name.as_str().into(),
            variant: None,
            percent: 100,
            lane: lane.clone(),
        }],
        refusal: None,
    }]));
    (lane, feed)
}

/// The one port.
enum Port {
    Unix(UnixPort),
    Tcp(Listener),
}

impl Port {
    async fn bind(config: &ReplicaConfig) -> Result<Port, String> {
        let (port, address) = match &config.listen {
            Listen::Unix(path) => {
                let refused = |error| format!("can't listen on unix:{}: {error} (--listen)", path.display());
                (Port::Unix(UnixPort::bind(path.clone()).map_err(refused)?), format!("unix:{}", path.display()))
            }
            Listen::Tcp(address) => {
                let refused = |error| format!("can't listen on {address}: {error} (--listen)");
                let limits = ListenerConfig {
                    max_connections: ServeConfig::unset()?.max_connections,
                    client_timeout: config.client_timeout,
                    tls: None,
                };
                let listener = Listener::bind(*address, limits).await.map_err(refused)?;
                let bound = listener.address().map_err(refused)?;
                (Port::Tcp(listener), format!("http://{bound}"))
            }
        };
        // Scripts read this line; a closed standard output is no reason to stop.
        let _ = writeln!(std::io::stdout(), "data  {address}");
        Ok(port)
    }

    async fn serve(self, routes: ReplicaRoutes, close: watch::Receiver<Close>, drain: Duration) -> bool {
        match self {
            Port::Unix(port) => port.serve(routes, close, drain).await,
            Port::Tcp(listener) => listener.serve(routes, close, drain).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_to_listen() {
        assert_eq!(parse_listen("unix:/run/a b"), Ok(Listen::Unix("/run/a b".into())));
        assert_eq!(parse_listen("[::1]:0"), Ok(Listen::Tcp(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 0)))));
        for bad in ["unix:", "/run/a", "localhost:80", ""] {
            assert!(parse_listen(bad).is_err(), "{bad}");
        }
    }
}
