//! A container that answers. On the local platform it is a child process, so its image means nothing.

use super::{ByForm, Field, Level, Rule, acted_on, level, unsupported, warned};

const NO_IMAGE: &str = "has no effect: no image is run, command is, as a child process";
const NO_SANDBOX: &str = "has no effect: the process runs as the gateway does, and sees this machine's files";
const NO_LIMIT: &str = "has no effect: a child process is neither placed nor limited by it";

pub(super) static SERVER: Level = level(&[&[
    acted_on("name", Rule::Text, "of several the one named `kserve-container` answers, others are refused"),
    acted_on("command", Rule::TextList, "the program, started once per replica; required, because no image says it"),
    acted_on(
        "args",
        Rule::TextList,
        "follow the command; `$(NAME)` is filled in from `env`, `$(PORT)` too, and one that is not known is warned of; \
                                      `--model_name=NAME` names the model that the server knows",
    ),
    acted_on(
        "workingDir",
        Rule::Text,
        "relative ones from the manifest's folder; default: where the gateway was started",
    ),
    acted_on("env", Rule::Objects(&ENV), "added to the gateway's own environment, less its `WEIRGATE_` variables"),
    unsupported("envFrom", Rule::List, "is not supported: write the variables into env"),
    acted_on("ports", Rule::Objects(&PORT), "the first counts; default: a free one, told by `PORT`"),
    acted_on("resources", Rule::Object(&RESOURCES), ""),
    acted_on("startupProbe", Rule::Object(&PROBE), "Kubernetes' defaults; the fields of all three probes:"),
    acted_on("readinessProbe", Rule::Object(&PROBE_AS_ABOVE), "as `startupProbe`; default: the model is asked"),
    acted_on(
        "livenessProbe",
        Rule::Object(&PROBE_AS_ABOVE),
        "as `startupProbe`; where it fails the replica is replaced",
    ),
    warned("image", Rule::Text, NO_IMAGE),
    warned("imagePullPolicy", Rule::Text, NO_IMAGE),
    warned("lifecycle", Rule::Mapping, "has no effect: the process is started, and stopped by SIGTERM"),
    warned("resizePolicy", Rule::List, NO_LIMIT),
    warned("restartPolicy", Rule::Text, "has no effect: a process that ends is started anew"),
    warned("restartPolicyRules", Rule::List, "has no effect: a process that ends is started anew"),
    warned("securityContext", Rule::Mapping, NO_SANDBOX),
    warned("stdin", Rule::Bool, "has no effect: standard input is empty"),
    warned("stdinOnce", Rule::Bool, "has no effect: standard input is empty"),
    warned("terminationMessagePath", Rule::Text, "has no effect: the log holds what the process said"),
    warned("terminationMessagePolicy", Rule::Text, "has no effect: the log holds what the process said"),
    warned("tty", Rule::Bool, "has no effect: standard input is empty"),
    warned("volumeDevices", Rule::List, NO_SANDBOX),
    warned("volumeMounts", Rule::List, NO_SANDBOX),
]]);

static ENV: Level = level(&[&[
    acted_on(
        "name",
        Rule::Text,
        "`PORT` and `WEIRGATE_PORT` are set by the gateway, and warned of; `STORAGE_URI` is refused: no storage \
         initializer runs",
    ),
    acted_on("value", Rule::Text, "`$(NAME)` is filled in from variables before it; default: empty"),
    unsupported("valueFrom", Rule::Mapping, "is not supported: write a value, or give the variable to the gateway"),
]]);

static PORT: Level = level(&[&[
    acted_on(
        "containerPort",
        Rule::Whole,
        "1 to 65535, on loopback; the first replica has it, others get a free one, told by `PORT`",
    ),
    acted_on("name", Rule::Text, "`h2c`, or beginning with `grpc`: the server speaks gRPC"),
    warned("hostIP", Rule::Text, "has no effect: processes are reached on loopback"),
    warned("hostPort", Rule::Whole, "has no effect: containerPort is a port of this machine"),
    acted_on("protocol", Rule::OneOf(&["TCP"]), "`TCP`"),
]]);

static PROBE: Level = level(&[PROBE_FIELDS]);

/// The same fields, told once.
pub(crate) static PROBE_AS_ABOVE: Level = level(&[PROBE_FIELDS]);

const PROBE_FIELDS: &[Field] = &[
    acted_on("httpGet", Rule::Object(&HTTP_GET), ""),
    acted_on("tcpSocket", Rule::Object(&TCP_SOCKET), ""),
    acted_on("grpc", Rule::Object(&GRPC), ""),
    acted_on("exec", Rule::Object(&EXEC), ""),
    acted_on("initialDelaySeconds", Rule::Whole, "default: 0"),
    acted_on("periodSeconds", Rule::Whole, "default: 10"),
    acted_on("timeoutSeconds", Rule::Whole, "default: 1"),
    acted_on("successThreshold", Rule::Whole, "default: 1"),
    acted_on("failureThreshold", Rule::Whole, "default: 3"),
    warned("terminationGracePeriodSeconds", Rule::Whole, "has no effect: that of the predictor holds"),
];

const ELSEWHERE: &str = "is not supported: remove it, probes go to the process";

static HTTP_GET: Level = level(&[&[
    acted_on("path", Rule::Text, "default: `/`"),
    acted_on("port", Rule::Port, "a number, or the name of a port; default: the container's"),
    acted_on("httpHeaders", Rule::Objects(&HEADER), ""),
    acted_on("scheme", Rule::OneOf(&["HTTP"]), "`HTTP`"),
    unsupported("host", Rule::Text, ELSEWHERE),
]]);

static HEADER: Level = level(&[&[acted_on("name", Rule::Text, "sent"), acted_on("value", Rule::Text, "sent")]]);

static TCP_SOCKET: Level = level(&[&[
    acted_on("port", Rule::Port, "a number, or the name of a port; default: the container's"),
    unsupported("host", Rule::Text, ELSEWHERE),
]]);

static GRPC: Level = level(&[&[
    acted_on("port", Rule::Port, "a number; default: the container's"),
    acted_on("service", Rule::Text, "asked of `grpc.health.v1.Health`; default: the server as a whole"),
]]);

static EXEC: Level =
    level(&[&[acted_on("command", Rule::TextList, "runs with the environment of the process; 0 is a success")]]);

static RESOURCES: Level = level(&[&[
    acted_on("limits", Rule::Object(&LIMITS), ""),
    acted_on("requests", Rule::Object(&REQUESTS), ""),
    warned("claims", Rule::List, NO_LIMIT),
]]);

static LIMITS: Level = Level {
    rows: &[&[
        warned("cpu", Rule::Quantity, NO_LIMIT),
        acted_on("memory", Rule::Quantity, "as the request, where that is not set; the process is not limited by it"),
        warned("ephemeral-storage", Rule::Quantity, NO_LIMIT),
    ]],
    by_form: Some(EXTENDED),
};

static REQUESTS: Level = Level {
    rows: &[&[
        warned("cpu", Rule::Quantity, NO_LIMIT),
        acted_on("memory", Rule::Quantity, "as for `model`"),
        warned("ephemeral-storage", Rule::Quantity, NO_LIMIT),
    ]],
    by_form: Some(EXTENDED),
};

const EXTENDED: ByForm = ByForm {
    fits: super::model::is_extended_resource,
    row: warned("nvidia.com/gpu", Rule::Quantity, "has no effect: the process sees the devices that the gateway sees"),
};
