//! What predictor, transformer and explainer have in common.

use super::{Field, Level, Rule, acted_on, level, warned};

pub(super) const COMPONENT: &[Field] = &[
    acted_on("minReplicas", Rule::Whole, "replicas that run; default: 1. 0 runs 1 and is warned of"),
    warned("maxReplicas", Rule::Whole, NO_AUTOSCALING),
    warned("scaleMetric", Rule::OneOf(&["concurrency", "rps", "cpu", "memory"]), NO_AUTOSCALING),
    warned("scaleMetricType", Rule::OneOf(&["Utilization", "AverageValue", "Value"]), NO_AUTOSCALING),
    warned("scaleTarget", Rule::Whole, NO_AUTOSCALING),
    warned("autoScaling", Rule::Object(&AUTO_SCALING), NO_AUTOSCALING),
    acted_on("containerConcurrency", Rule::Whole, "calls that one replica holds unfinished; default and 0: no limit"),
    acted_on("timeout", Rule::Whole, "seconds from a call's arrival to its answer, the only timeout; default: 300"),
    acted_on(
        "canaryTrafficPercent",
        Rule::Whole,
        "share of the newest revision, 0 to 100, in every deployment mode; the first revision takes all",
    ),
    warned("logger", Rule::Object(&LOGGER), "has no effect yet: payloads are not logged"),
    acted_on("batcher", Rule::Object(&BATCHER), "limits; engines batch what waits without it too"),
    acted_on("deploymentStrategy", Rule::Object(&DEPLOYMENT_STRATEGY), "in every deployment mode"),
    warned("labels", Rule::Texts, "has no effect: there is no pod to label"),
    warned("annotations", Rule::Texts, "has no effect: there is no pod to annotate, use metadata.annotations"),
];

const NO_AUTOSCALING: &str = "has no effect yet: minReplicas replicas run, whatever the load";

static AUTO_SCALING: Level = level(&[&[
    warned("metrics", Rule::Objects(&METRIC), NO_AUTOSCALING),
    warned("behavior", Rule::Mapping, NO_AUTOSCALING),
]]);

static METRIC: Level = level(&[&[
    warned("type", Rule::OneOf(&["Resource", "External", "PodMetric"]), NO_AUTOSCALING),
    warned("resource", Rule::Mapping, NO_AUTOSCALING),
    warned("external", Rule::Mapping, NO_AUTOSCALING),
    warned("podmetric", Rule::Mapping, NO_AUTOSCALING),
]]);

const NOT_LOGGED: &str = "has no effect yet: payloads are not logged";

static LOGGER: Level = level(&[&[
    warned("url", Rule::Text, NOT_LOGGED),
    warned("mode", Rule::OneOf(&["all", "request", "response"]), NOT_LOGGED),
    warned("metadataHeaders", Rule::TextList, NOT_LOGGED),
    warned("metadataAnnotations", Rule::TextList, NOT_LOGGED),
    warned("storage", Rule::Mapping, NOT_LOGGED),
    warned("marshallerUrl", Rule::Text, NOT_LOGGED),
    warned("batchSize", Rule::Whole, NOT_LOGGED),
    warned("batchInterval", Rule::Text, NOT_LOGGED),
]]);

static BATCHER: Level = level(&[&[
    acted_on("maxBatchSize", Rule::Whole, "most rows of a batch; default and below 1: what the engine can take"),
    acted_on("maxLatency", Rule::Whole, "milliseconds an idle engine waits for more; default and below 1: none"),
    warned("timeout", Rule::Whole, "has no effect, in KServe neither: timeout of the predictor bounds every call"),
]]);

pub(super) static DEPLOYMENT_STRATEGY: Level = level(&[&[
    acted_on(
        "type",
        Rule::OneOf(&["RollingUpdate", "Recreate"]),
        "`Recreate`: the old replica stops before its successor starts, and calls are held; default: `RollingUpdate`",
    ),
    acted_on("rollingUpdate", Rule::Object(&ROLLING_UPDATE), ""),
]]);

static ROLLING_UPDATE: Level = level(&[&[
    acted_on("maxSurge", Rule::IntOrPercent, "0: as `Recreate`; otherwise the successor starts first"),
    acted_on("maxUnavailable", Rule::IntOrPercent, "checked; with a `maxSurge` above 0 no replica is ever missing"),
]]);
