//! The table of fields: every field that KServe's v1beta1 knows, and what happens to it here.
//!
//! To act on one more field, move its name from `later` into a row, and add it to the struct of the same level.

/// What a field takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rule {
    Text,
    OneOf(&'static [&'static str]),
    Whole,
    Quantity,
    /// A mapping from free names to texts.
    Texts,
    Object(&'static Level),
    /// Written by the API server for itself: carries no wish.
    ServerOwned,
    /// Another way to say what the named field of the same level says, and not supported yet.
    InsteadOf(&'static str),
    /// Never allowed here; the text says why.
    Never(&'static str),
}

/// One field that is acted on, or has a reason of its own not to be.
#[derive(Debug)]
pub(crate) struct Field {
    pub name: &'static str,
    pub rule: Rule,
    /// Accepted, and without effect for now: the text is the warning.
    pub idle: Option<&'static str>,
}

/// The fields of one mapping.
#[derive(Debug)]
pub(crate) struct Level {
    pub fields: &'static [Field],
    /// Known names that are not supported yet.
    pub later: &'static [&'static [&'static str]],
    /// Other names that are known by their form, and not supported yet.
    pub later_by_form: fn(&str) -> bool,
}

impl Level {
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    pub fn is_later(&self, name: &str) -> bool {
        self.later.iter().any(|names| names.contains(&name)) || (self.later_by_form)(name)
    }

    /// Every name that may stand here, those that are acted on first.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        let later = self.later.iter().flat_map(|names| names.iter().copied());
        self.fields.iter().map(|field| field.name).chain(later)
    }

    /// The path of a field with this name that is acted on, wherever it stands below `at`.
    pub fn find(&self, name: &str, at: &str) -> Option<String> {
        let path = |field: &Field| if at.is_empty() { field.name.to_owned() } else { format!("{at}.{}", field.name) };
        self.fields.iter().find_map(|field| match field.rule {
            Rule::ServerOwned | Rule::InsteadOf(_) | Rule::Never(_) => None,
            _ if field.name == name => Some(path(field)),
            Rule::Object(level) => level.find(name, &path(field)),
            _ => None,
        })
    }
}

const fn field(name: &'static str, rule: Rule) -> Field {
    Field { name, rule, idle: None }
}

const fn idle(name: &'static str, rule: Rule, warning: &'static str) -> Field {
    Field { name, rule, idle: Some(warning) }
}

const fn level(fields: &'static [Field], later: &'static [&'static [&'static str]]) -> Level {
    Level { fields, later, later_by_form: |_| false }
}

pub(crate) const API_VERSION: &str = "serving.kserve.io/v1beta1";
pub(crate) const KIND: &str = "InferenceService";

pub(crate) static ROOT: Level = level(
    &[
        field("apiVersion", Rule::OneOf(&[API_VERSION])),
        field("kind", Rule::OneOf(&[KIND])),
        field("metadata", Rule::Object(&METADATA)),
        field("spec", Rule::Object(&SPEC)),
        field("status", Rule::ServerOwned),
    ],
    &[],
);

static METADATA: Level = level(
    &[
        field("name", Rule::Text),
        field("namespace", Rule::Text),
        field("labels", Rule::Texts),
        field("annotations", Rule::Texts),
        field("creationTimestamp", Rule::ServerOwned),
        field("deletionGracePeriodSeconds", Rule::ServerOwned),
        field("deletionTimestamp", Rule::ServerOwned),
        field("finalizers", Rule::ServerOwned),
        field("generation", Rule::ServerOwned),
        field("managedFields", Rule::ServerOwned),
        field("ownerReferences", Rule::ServerOwned),
        field("resourceVersion", Rule::ServerOwned),
        field("selfLink", Rule::ServerOwned),
        field("uid", Rule::ServerOwned),
    ],
    &[&["generateName"]],
);

static SPEC: Level = level(&[field("predictor", Rule::Object(&PREDICTOR))], &[&["transformer", "explainer", "canary"]]);

static PREDICTOR: Level = level(
    &[
        field("minReplicas", Rule::Whole),
        field("containerConcurrency", Rule::Whole),
        field("timeout", Rule::Whole),
        field("batcher", Rule::Object(&BATCHER)),
        field("model", Rule::Object(&MODEL)),
        field("containers", Rule::InsteadOf("model")),
        field("huggingface", Rule::InsteadOf("model")),
        field("lightgbm", Rule::InsteadOf("model")),
        field("onnx", Rule::InsteadOf("model")),
        field("paddle", Rule::InsteadOf("model")),
        field("pmml", Rule::InsteadOf("model")),
        field("pytorch", Rule::InsteadOf("model")),
        field("sklearn", Rule::InsteadOf("model")),
        field("tensorflow", Rule::InsteadOf("model")),
        field("triton", Rule::InsteadOf("model")),
        field("xgboost", Rule::InsteadOf("model")),
    ],
    &[COMPONENT_LATER, PREDICTOR_LATER, POD_LATER],
);

/// Fields that predictor, transformer and explainer share.
const COMPONENT_LATER: &[&str] = &[
    "annotations",
    "autoScaling",
    "canaryTrafficPercent",
    "deploymentStrategy",
    "labels",
    "logger",
    "maxReplicas",
    "scaleMetric",
    "scaleMetricType",
    "scaleTarget",
];

const PREDICTOR_LATER: &[&str] = &["name", "storageContainerName", "storageUris", "workerSpec"];

/// A component is also a pod; these are the pod's fields.
const POD_LATER: &[&str] = &[
    "activeDeadlineSeconds",
    "affinity",
    "automountServiceAccountToken",
    "dnsConfig",
    "dnsPolicy",
    "enableServiceLinks",
    "ephemeralContainers",
    "hostAliases",
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "hostUsers",
    "hostname",
    "hostnameOverride",
    "imagePullSecrets",
    "initContainers",
    "nodeName",
    "nodeSelector",
    "os",
    "overhead",
    "preemptionPolicy",
    "priority",
    "priorityClassName",
    "readinessGates",
    "resourceClaims",
    "resources",
    "restartPolicy",
    "runtimeClassName",
    "schedulerName",
    "schedulingGates",
    "securityContext",
    "serviceAccount",
    "serviceAccountName",
    "setHostnameAsFQDN",
    "shareProcessNamespace",
    "subdomain",
    "terminationGracePeriodSeconds",
    "tolerations",
    "topologySpreadConstraints",
    "volumes",
];

static BATCHER: Level = level(&[field("maxBatchSize", Rule::Whole), field("maxLatency", Rule::Whole)], &[&["timeout"]]);

static MODEL: Level = level(
    &[
        field("modelFormat", Rule::Object(&MODEL_FORMAT)),
        field("protocolVersion", Rule::OneOf(&["v1", "v2", "grpc-v1", "grpc-v2"])),
        field("storageUri", Rule::Text),
        field("resources", Rule::Object(&RESOURCES)),
        field("name", Rule::Never("is not allowed here: remove it, metadata.name names the model")),
    ],
    &[&["confidential", "runtime", "runtimeVersion", "storage"], CONTAINER_LATER],
);

/// A model is also a container; these are the container's fields.
const CONTAINER_LATER: &[&str] = &[
    "args",
    "command",
    "env",
    "envFrom",
    "image",
    "imagePullPolicy",
    "lifecycle",
    "livenessProbe",
    "ports",
    "readinessProbe",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "securityContext",
    "startupProbe",
    "stdin",
    "stdinOnce",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "tty",
    "volumeDevices",
    "volumeMounts",
    "workingDir",
];

static MODEL_FORMAT: Level = level(&[field("name", Rule::Text), field("version", Rule::Text)], &[]);

static RESOURCES: Level = level(
    &[
        field("limits", Rule::Object(&LIMITS)),
        idle("requests", Rule::Object(&REQUESTS), "has no effect yet: replicas of one process are not placed by it"),
    ],
    &[&["claims"]],
);

static LIMITS: Level = Level {
    fields: &[
        field("cpu", Rule::Quantity),
        idle("memory", Rule::Quantity, "has no effect yet: replicas of one process share its memory"),
    ],
    later: &[&["ephemeral-storage"]],
    later_by_form: is_extended_resource,
};

static REQUESTS: Level = Level {
    fields: &[field("cpu", Rule::Quantity), field("memory", Rule::Quantity)],
    later: &[&["ephemeral-storage"]],
    later_by_form: is_extended_resource,
};

/// Devices such as `nvidia.com/gpu`, and huge pages.
fn is_extended_resource(name: &str) -> bool {
    name.contains('/') || name.starts_with("hugepages-")
}
