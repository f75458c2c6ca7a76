//! Annotations: the few things that InferenceService has no field for, and KServe's own that mean something here.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::Duration;

use weirgate_protocol::StickyKey;

use crate::duration::duration;
use crate::fields::Fate;
use crate::inference_service::Metadata;
use crate::plan::Retry;
use crate::problem::{Report, join, quoted};
use crate::suggest::nearest;

const PREFIX: &str = "weirgate.dev/";
const MAX_QUEUED_REQUESTS: &str = "weirgate.dev/max-queued-requests";
const STICKY: &str = "weirgate.dev/sticky";
const RETRY: &str = "weirgate.dev/retry";
const STREAM_IDLE_TIMEOUT: &str = "weirgate.dev/stream-idle-timeout";
pub(crate) const UPSTREAM: &str = "weirgate.dev/upstream";
pub(crate) const UPSTREAM_PROTOCOL: &str = "weirgate.dev/upstream-protocol";
pub(crate) const UPSTREAM_CA: &str = "weirgate.dev/upstream-ca";
pub(crate) const UPSTREAM_CLIENT_CERT: &str = "weirgate.dev/upstream-client-cert";
pub(crate) const UPSTREAM_CLIENT_KEY: &str = "weirgate.dev/upstream-client-key";
pub(crate) const ISOLATION: &str = "weirgate.dev/isolation";
const STOP: &str = "serving.kserve.io/stop";
const DEPLOYMENT_MODE: &str = "serving.kserve.io/deploymentMode";
const AUTOSCALER_CLASS: &str = "serving.kserve.io/autoscalerClass";

const DEPLOYMENT_MODES: [&str; 3] = ["Standard", "Knative", "ModelMesh"];
const AUTOSCALER_CLASSES: [&str; 4] = ["hpa", "keda", "external", "none"];

/// Say how a server elsewhere is reached, and nothing without [`UPSTREAM`].
pub(crate) const OF_AN_UPSTREAM: [&str; 4] =
    [UPSTREAM_PROTOCOL, UPSTREAM_CA, UPSTREAM_CLIENT_CERT, UPSTREAM_CLIENT_KEY];
/// Say who answers, and so are part of a revision, wherever they are written.
pub(crate) const OF_A_REVISION: [&str; 6] =
    [UPSTREAM, UPSTREAM_PROTOCOL, UPSTREAM_CA, UPSTREAM_CLIENT_CERT, UPSTREAM_CLIENT_KEY, ISOLATION];
/// Hold paths of files.
pub(crate) const PATHS: [&str; 3] = [UPSTREAM_CA, UPSTREAM_CLIENT_CERT, UPSTREAM_CLIENT_KEY];
/// Hold for the whole service, and may be written at `spec.predictor` too.
const OF_A_SERVICE: [&str; 2] = [RETRY, STREAM_IDLE_TIMEOUT];

/// Every annotation that means something, and what becomes of it. All others belong to others.
pub(crate) const ANNOTATIONS: [(&str, Fate); 14] = [
    (MAX_QUEUED_REQUESTS, Fate::ActedOn("calls that may wait for the service, at least 1; more are answered 429")),
    (STICKY, Fate::ActedOn("`header:NAME` or `cookie:NAME`: calls with one value of it go to one revision")),
    (
        RETRY,
        Fate::ActedOn(
            "`idempotent`: a call that was handed over and broke off is executed again, within a budget; \
             `idempotent,hedge`: and a slow one by a second replica; default: neither",
        ),
    ),
    (
        STREAM_IDLE_TIMEOUT,
        Fate::ActedOn(
            "the longest pause in a stream that has begun: seconds, or a duration such as `1m30s`; default: `timeout`",
        ),
    ),
    (
        UPSTREAM,
        Fate::ActedOn(
            "servers that answer, by commas: `http://HOST:PORT`, or with `https`, `h2c`, `grpc`, `grpcs`; each is one \
             replica, and `model` and `containers` are not run",
        ),
    ),
    (
        UPSTREAM_PROTOCOL,
        Fate::ActedOn(
            "`v1`, `v2`, `grpc-v2`, `openai`, by commas: what the upstreams speak, or the server of `containers`; default: they are asked",
        ),
    ),
    (UPSTREAM_CA, Fate::ActedOn("PEM file of the authorities to trust, and no others; default: those of this machine")),
    (UPSTREAM_CLIENT_CERT, Fate::ActedOn("PEM file of the certificate to show, with its chain")),
    (UPSTREAM_CLIENT_KEY, Fate::ActedOn("PEM file of its key")),
    (
        ISOLATION,
        Fate::ActedOn(
            "`process`: each replica of `model` is a child process, whose crash takes nothing else down; default: `thread`",
        ),
    ),
    (STOP, Fate::ActedOn("`true`: nothing runs, and the service stays known")),
    (
        DEPLOYMENT_MODE,
        Fate::ActedOn(
            "`Standard`, `Knative`, `ModelMesh`, or the older `RawDeployment`, `Serverless`: kept, all work alike",
        ),
    ),
    (AUTOSCALER_CLASS, Fate::ActedOn("`hpa`, `keda`, `external`, `none`: checked; nothing scales yet")),
    ("serving.kserve.io/enable-tag-routing", Fate::ActedOn("not needed: every revision has its host names")),
];

/// What the annotations of a service ask for, less those that say who answers.
#[derive(Debug, Default)]
pub(crate) struct Annotations {
    pub max_queued_requests: Option<NonZeroUsize>,
    pub sticky: Option<StickyKey>,
    pub retry: Retry,
    pub stream_idle_timeout: Option<Duration>,
    pub stopped: bool,
    /// Whether KEDA would scale it.
    pub keda: bool,
}

impl Annotations {
    /// Reads what means something, warns of what looks like ours and is not, and leaves all others alone.
    pub fn read(metadata: &Metadata, report: &mut Report) -> Annotations {
        let mut read = Annotations::default();
        for (name, value) in &metadata.annotations {
            let path = join("metadata.annotations", name);
            read.judge(name, value, &path, report);
            match ANNOTATIONS.iter().find(|(known, _)| known == name) {
                Some((_, Fate::Warned(instead))) => report.warn(&path, *instead),
                Some((_, Fate::Unsupported(advice))) => report.unsupported(&path, *advice),
                Some(_) => {}
                None if name.starts_with(PREFIX) => report.warn(&path, unknown(name)),
                None => {}
            }
        }
        read
    }

    /// Reads those of `spec.predictor` that hold for the service; they go before those of its metadata.
    pub fn read_predictor(&mut self, annotations: &BTreeMap<String, String>, at: &str, report: &mut Report) {
        for (name, value) in annotations.iter().filter(|(name, _)| OF_A_SERVICE.contains(&name.as_str())) {
            self.judge(name, value, &join(&format!("{at}.annotations"), name), report);
        }
    }

    fn judge(&mut self, name: &str, value: &str, path: &str, report: &mut Report) {
        if let Err(allowed) = self.take(name, value) {
            report.error(path, format!("is {}: allowed is {allowed}", quoted(value)));
        }
    }

    /// Takes one value, or says what is allowed.
    fn take(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            MAX_QUEUED_REQUESTS => {
                let limit = value.parse().map_err(|_| "a whole number of at least 1, in quotes")?;
                self.max_queued_requests = Some(limit);
            }
            STICKY => self.sticky = Some(StickyKey::parse(value).ok_or(StickyKey::ALLOWED)?),
            RETRY => {
                self.retry = match words(value).collect::<Vec<_>>().as_slice() {
                    [] => Retry::NotExecuted,
                    ["idempotent"] => Retry::Idempotent { hedge: false },
                    ["idempotent", "hedge"] | ["hedge", "idempotent"] => Retry::Idempotent { hedge: true },
                    _ => return Err("idempotent, or idempotent,hedge".to_owned()),
                };
            }
            STREAM_IDLE_TIMEOUT => {
                let allowed = "seconds above 0, or a duration such as 30s or 1m30s";
                self.stream_idle_timeout = Some(duration(value).filter(|idle| !idle.is_zero()).ok_or(allowed)?);
            }
            STOP => self.stopped = truth(value).ok_or("'true' or 'false'")?,
            DEPLOYMENT_MODE if !DEPLOYMENT_MODES.contains(&value) => return Err(DEPLOYMENT_MODES.join(", ")),
            AUTOSCALER_CLASS if !AUTOSCALER_CLASSES.contains(&value) => return Err(AUTOSCALER_CLASSES.join(", ")),
            AUTOSCALER_CLASS => self.keda = value == "keda",
            _ => {}
        }
        Ok(())
    }
}

/// The words of a list with commas, without the spaces around them.
pub(crate) fn words(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|word| !word.is_empty())
}

/// Whether it says who answers.
pub(crate) fn is_of_a_revision(name: &str) -> bool {
    OF_A_REVISION.contains(&name)
}

/// Gives a predictor those of the service's annotations that say who answers, where it has none of its own. An empty text is
/// one of its own: it asks for nothing.
pub(crate) fn inherit(annotations: &mut BTreeMap<String, String>, service: &BTreeMap<String, String>) {
    for name in OF_A_REVISION {
        if let Some(value) = service.get(name) {
            annotations.entry(name.to_owned()).or_insert_with(|| value.clone());
        }
    }
    if annotations.get(UPSTREAM).is_some_and(String::is_empty) {
        // What the service says of its upstreams is nothing to one that has none.
        annotations.retain(|name, value| !OF_AN_UPSTREAM.contains(&name.as_str()) || service.get(name) != Some(value));
    }
}

/// Warns of what has no effect at a predictor. `canary`: what holds for the service has none there.
pub(crate) fn check_predictor(annotations: &BTreeMap<String, String>, at: &str, canary: bool, report: &mut Report) {
    for name in annotations.keys().filter(|name| !is_of_a_revision(name)) {
        let path = join(&format!("{at}.annotations"), name);
        match ANNOTATIONS.iter().find(|(known, _)| known == name) {
            Some(_) if OF_A_SERVICE.contains(&name.as_str()) && !canary => {}
            Some(_) => report.warn(&path, "has no effect here: it holds for the service, use metadata.annotations"),
            None if name.starts_with(PREFIX) => report.warn(&path, unknown(name)),
            None => report.warn(&path, "has no effect: there is no pod to annotate"),
        }
    }
}

/// As KServe reads it, in upper or lower case.
fn truth(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// Replaces the names that deployment modes had before.
pub(crate) fn default_deployment_mode(metadata: &mut Metadata) {
    if let Some(mode) = metadata.annotations.get_mut(DEPLOYMENT_MODE) {
        match mode.as_str() {
            "RawDeployment" => *mode = "Standard".to_owned(),
            "Serverless" => *mode = "Knative".to_owned(),
            _ => {}
        }
    }
}

fn unknown(name: &str) -> String {
    match nearest(name, ANNOTATIONS.iter().map(|(known, _)| *known)) {
        Some(meant) => format!("is not an annotation of Weirgate and is ignored: did you mean {meant}"),
        None => "is not an annotation of Weirgate and is ignored: remove it".to_owned(),
    }
}
