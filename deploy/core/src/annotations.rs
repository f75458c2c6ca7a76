//! Annotations: the few things that InferenceService has no field for, and KServe's own that mean something here.

use std::num::NonZeroUsize;

use weirgate_protocol::StickyKey;

use crate::fields::Fate;
use crate::inference_service::Metadata;
use crate::problem::{Report, join, quoted};
use crate::suggest::nearest;

const PREFIX: &str = "weirgate.dev/";
const MAX_QUEUED_REQUESTS: &str = "weirgate.dev/max-queued-requests";
const STICKY: &str = "weirgate.dev/sticky";
const STOP: &str = "serving.kserve.io/stop";
const DEPLOYMENT_MODE: &str = "serving.kserve.io/deploymentMode";
const AUTOSCALER_CLASS: &str = "serving.kserve.io/autoscalerClass";

const DEPLOYMENT_MODES: [&str; 3] = ["Standard", "Knative", "ModelMesh"];
const AUTOSCALER_CLASSES: [&str; 4] = ["hpa", "keda", "external", "none"];

/// Every annotation that means something, and what becomes of it. All others belong to others.
pub(crate) const ANNOTATIONS: [(&str, Fate); 9] = [
    (MAX_QUEUED_REQUESTS, Fate::ActedOn("calls that may wait for the service, at least 1; more are answered 429")),
    (STICKY, Fate::ActedOn("`header:NAME` or `cookie:NAME`: calls with one value of it go to one revision")),
    ("weirgate.dev/retry", Fate::Warned("has no effect yet: calls are not repeated")),
    ("weirgate.dev/stream-idle-timeout", Fate::Warned("has no effect yet: timeout bounds streams too")),
    ("weirgate.dev/upstream", Fate::Unsupported("is not supported yet: remove it, only models of this process answer")),
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

/// What the annotations of a service ask for.
#[derive(Debug, Default)]
pub(crate) struct Annotations {
    pub max_queued_requests: Option<NonZeroUsize>,
    pub sticky: Option<StickyKey>,
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
            if let Err(allowed) = read.take(name, value) {
                report.error(&path, format!("is {}: allowed is {allowed}", quoted(value)));
            }
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

    /// Takes one value, or says what is allowed.
    fn take(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            MAX_QUEUED_REQUESTS => {
                let limit = value.parse().map_err(|_| "a whole number of at least 1, in quotes")?;
                self.max_queued_requests = Some(limit);
            }
            STICKY => self.sticky = Some(StickyKey::parse(value).ok_or(StickyKey::ALLOWED)?),
            STOP => self.stopped = truth(value).ok_or("'true' or 'false'")?,
            DEPLOYMENT_MODE if !DEPLOYMENT_MODES.contains(&value) => return Err(DEPLOYMENT_MODES.join(", ")),
            AUTOSCALER_CLASS if !AUTOSCALER_CLASSES.contains(&value) => return Err(AUTOSCALER_CLASSES.join(", ")),
            AUTOSCALER_CLASS => self.keda = value == "keda",
            _ => {}
        }
        Ok(())
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
