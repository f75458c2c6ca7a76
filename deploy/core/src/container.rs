//! The container that answers, as a command of this machine.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::draw::{check_resources, memory};
use crate::executor::Drawn;
use crate::inference_service::{PredictorSpec, Resources};
use crate::plan::{CommandPlan, Executor, PortProtocol, UpstreamProtocol};
use crate::probe::{Ports, ProbeSpec, probe};
use crate::problem::{Report, quoted};
use crate::values::{check_within, count};
use crate::variables::{check_variables, check_words};

/// The container that answers, where there are several.
pub(crate) const SERVING_CONTAINER: &str = "kserve-container";
/// Names the model to the server, as KServe's own servers have it.
const MODEL_NAME: &str = "--model_name";
const DEFAULT_GRACE: i64 = 30;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Container {
    name: String,
    command: Vec<String>,
    args: Vec<String>,
    working_dir: Option<PathBuf>,
    env: Vec<EnvVar>,
    ports: Vec<PortSpec>,
    resources: Resources,
    startup_probe: Option<ProbeSpec>,
    readiness_probe: Option<ProbeSpec>,
    liveness_probe: Option<ProbeSpec>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct EnvVar {
    name: String,
    value: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PortSpec {
    container_port: Option<i64>,
    name: String,
}

/// Containers beside a model change what it is asked, or answers.
pub(crate) fn refuse_beside_model(at: &str, report: &mut Report) {
    report.unsupported(&format!("{at}.containers"), "is not supported beside model: remove one of them");
}

/// The plan for the one container that answers; none where something of it is wrong or unsupported.
pub(crate) fn draw(
    containers: &[Value],
    protocols: Option<Vec<UpstreamProtocol>>,
    predictor: &PredictorSpec,
    at: &str,
    report: &mut Report,
) -> Option<Drawn> {
    let name_of = |container: &Value| container.get("name").and_then(Value::as_str).map(str::to_owned);
    let named = containers.iter().position(|container| name_of(container).as_deref() == Some(SERVING_CONTAINER));
    let serving = named.unwrap_or(0);
    for index in (0..containers.len()).filter(|index| *index != serving) {
        let message = format!("is not supported: remove it, one container answers, as a rule {SERVING_CONTAINER}");
        report.unsupported(&format!("{at}.containers[{index}]"), message);
    }
    let path = format!("{at}.containers[{serving}]");
    let Ok(container) = Container::deserialize(&containers[serving]) else {
        report.error(&path, "can't be read: write it as in Kubernetes");
        return None;
    };
    let grace = predictor.pod.get("terminationGracePeriodSeconds").and_then(Value::as_i64);
    check_within(&format!("{at}.terminationGracePeriodSeconds"), grace, 0, i32::MAX.into(), report);
    let grace = Duration::from_secs(u64::try_from(grace.unwrap_or(DEFAULT_GRACE)).unwrap_or(0));

    check_resources(&container.resources, &path, report);
    let memory = memory(&container.resources, &path, report);
    check_texts(&container, &path, report);
    check_references(&container, &path, report);
    let plan = command_plan(container, protocols, grace, &path, report)?;
    Some(Drawn { executor: Executor::Command(Box::new(plan)), cpu_limit: None::<NonZeroUsize>, memory })
}

fn command_plan(
    container: Container,
    protocols: Option<Vec<UpstreamProtocol>>,
    grace: Duration,
    at: &str,
    report: &mut Report,
) -> Option<CommandPlan> {
    let port = container.ports.first();
    for (index, port) in container.ports.iter().enumerate() {
        let path = format!("{at}.ports[{index}].containerPort");
        match port.container_port {
            None => report.error(&path, "is missing: write the port that the server listens on"),
            port => check_within(&path, port, 1, u16::MAX.into(), report),
        }
        if index > 0 {
            report.warn(&format!("{at}.ports[{index}]"), "has no effect: calls go to the first port");
        }
    }
    let ports = Ports {
        own: port.and_then(|port| port.container_port),
        named: container.ports.iter().map(|port| (port.name.as_str(), port.container_port)).collect(),
    };
    let mut probed =
        |name: &str, spec: &Option<ProbeSpec>| spec.as_ref().map(|spec| probe(name, spec, &ports, at, report));
    let startup = probed("startupProbe", &container.startup_probe);
    let readiness = probed("readinessProbe", &container.readiness_probe);
    let liveness = probed("livenessProbe", &container.liveness_probe);
    if container.command.is_empty() {
        let message = "is missing: no image is run here, write the program that the image would start";
        report.unsupported(&format!("{at}.command"), message);
        return None;
    }
    let speaks = match port.map(|port| port.name.as_str()) {
        Some("h2c") => PortProtocol::H2c,
        Some(name) if name.starts_with("grpc") => PortProtocol::Grpc,
        _ => PortProtocol::Http1,
    };
    let command: Vec<_> = container.command.into_iter().chain(container.args).collect();
    Some(CommandPlan {
        name: if container.name.is_empty() { SERVING_CONTAINER.to_owned() } else { container.name },
        model_name: model_name(&command).map(str::to_owned),
        command,
        env: container.env.into_iter().map(|EnvVar { name, value }| (name, value)).collect(),
        working_dir: container.working_dir,
        port: ports.own.and_then(|port| u16::try_from(port).ok()),
        speaks,
        protocols,
        startup: unless_wrong(startup)?,
        readiness: unless_wrong(readiness)?,
        liveness: unless_wrong(liveness)?,
        grace,
    })
}

/// A probe that is not there is fine; one that is wrong is not.
fn unless_wrong<T>(found: Option<Option<T>>) -> Option<Option<T>> {
    found.map_or(Some(None), |plan| plan.map(Some))
}

/// `--model_name=NAME`, or the argument behind `--model_name`.
fn model_name(command: &[String]) -> Option<&str> {
    let after = |flag: &str| command.iter().position(|word| word == flag).and_then(|at| command.get(at + 1));
    let joined = command.iter().find_map(|word| word.strip_prefix(MODEL_NAME)?.strip_prefix('='));
    joined.or_else(|| after(MODEL_NAME).map(String::as_str)).filter(|name| !name.is_empty())
}

/// What no process can be started with, and what nobody here fills in.
fn check_texts(container: &Container, at: &str, report: &mut Report) {
    let words = [("command", &container.command), ("args", &container.args)];
    for (name, index, word) in words
        .into_iter()
        .flat_map(|(name, words)| words.iter().enumerate().map(move |(index, word)| (name, index, word)))
    {
        if word.contains('\0') {
            let message = format!("is {}: an argument can't hold the character 0, remove it", quoted(word));
            report.error(&format!("{at}.{name}[{index}]"), message);
        }
    }
    if container.command.first().is_some_and(String::is_empty) {
        report.error(&format!("{at}.command[0]"), "is empty: write the program");
    }
    for (index, EnvVar { name, value }) in container.env.iter().enumerate() {
        let path = format!("{at}.env[{index}]");
        if name.is_empty() || name.contains(['=', '\0']) {
            report.error(&format!("{path}.name"), format!("is {}: write a name without '='", quoted(name)));
        }
        if value.contains('\0') {
            report.error(&format!("{path}.value"), "holds the character 0: remove it");
        }
        if name == "STORAGE_URI" {
            let message = "names STORAGE_URI, which is not supported for containers: no storage initializer runs here; \
                           use model, or copy the model to this machine and give the program its path";
            report.unsupported(&path, message);
        }
    }
    if let Some(folder) = &container.working_dir
        && folder.to_string_lossy().contains('\0')
    {
        report.error(&format!("{at}.workingDir"), "holds the character 0: remove it");
    }
}

/// `$(NAME)` where there is nothing to fill in.
fn check_references(container: &Container, at: &str, report: &mut Report) {
    let variables: Vec<(&str, &str)> =
        container.env.iter().map(|EnvVar { name, value }| (name.as_str(), value.as_str())).collect();
    check_variables(&variables, at, report);
    let names: Vec<&str> = variables.iter().map(|(name, _)| *name).collect();
    let words = [("command", &container.command), ("args", &container.args)].into_iter().flat_map(|(field, words)| {
        words.iter().enumerate().map(move |(index, word)| (format!("{at}.{field}[{index}]"), word.as_str()))
    });
    check_words(&words.collect::<Vec<_>>(), &names, report);
}

/// A port of this machine.
pub(crate) fn port(found: i64) -> Option<u16> {
    count(Some(found)).and_then(|port| u16::try_from(port.get()).ok())
}
