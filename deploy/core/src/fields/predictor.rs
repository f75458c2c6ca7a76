//! The predictor, and what differs for one that is a canary.

use super::component::{COMPONENT, DEPLOYMENT_STRATEGY};
use super::container::SERVER;
use super::model::{FRAMEWORK, MODEL};
use super::pod::POD;
use super::{Field, Level, Rule, acted_on, level, never, unsupported, warned};

pub(crate) static PREDICTOR: Level = level(&[PREDICTOR_FIELDS, COMPONENT, POD]);

pub(crate) static CANARY_PREDICTOR: Level = level(&[
    &[
        acted_on("name", Rule::Text, "required, and different from all others of the service"),
        acted_on(
            "minReplicas",
            Rule::Whole,
            "at most that of `spec.predictor`; default: its share of that, rounded up and at least 1",
        ),
        never("maxReplicas", NOT_IN_A_CANARY),
        never("scaleMetric", NOT_IN_A_CANARY),
        never("scaleTarget", NOT_IN_A_CANARY),
        never("autoScaling", NOT_IN_A_CANARY),
        never("workerSpec", NOT_IN_A_CANARY),
        never("canaryTrafficPercent", "is not allowed in a canary: use its trafficPercent"),
        warned("timeout", Rule::Whole, OF_THE_SERVICE),
        warned("deploymentStrategy", Rule::Object(&DEPLOYMENT_STRATEGY), OF_THE_SERVICE),
    ],
    PREDICTOR_FIELDS,
    COMPONENT,
    POD,
]);

const NOT_IN_A_CANARY: &str = "is not allowed in a canary: remove it, what spec.predictor says holds";
const OF_THE_SERVICE: &str = "has no effect in a canary: what spec.predictor says holds for the service";

const PREDICTOR_FIELDS: &[Field] = &[
    acted_on("name", Rule::Text, "names this version, for `x-weirgate-revision` and hosts"),
    acted_on("model", Rule::Object(&MODEL), ""),
    framework("sklearn"),
    framework("xgboost"),
    framework("tensorflow"),
    framework("pytorch"),
    framework("triton"),
    framework("onnx"),
    framework("huggingface"),
    framework("pmml"),
    framework("lightgbm"),
    framework("paddle"),
    acted_on(
        "containers",
        Rule::Objects(&SERVER),
        "one answers, as a child process of the gateway; see --allow-commands",
    ),
    acted_on(
        "terminationGracePeriodSeconds",
        Rule::Whole,
        "of `containers`: from SIGTERM to SIGKILL of all processes; default: 30",
    ),
    acted_on("annotations", Rule::Texts, "those of `weirgate.dev/` that say who answers; others are warned of"),
    unsupported("storageUris", Rule::Objects(&STORAGE_URI), "is not supported yet: use model.storageUri"),
    warned("storageContainerName", Rule::Text, "has no effect: models are read in place"),
    unsupported("workerSpec", Rule::Mapping, "is not supported yet: remove it, one process runs the model"),
];

const fn framework(name: &'static str) -> Field {
    acted_on(name, Rule::Framework(&FRAMEWORK), "becomes `model` with this as its `modelFormat.name`")
}

static STORAGE_URI: Level =
    level(&[&[acted_on("uri", Rule::Text, "checked"), acted_on("mountPath", Rule::Text, "checked")]]);
