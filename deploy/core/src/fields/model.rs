//! The model, and what it runs with.

use super::pod::CONTAINER;
use super::{ByForm, Field, Level, Rule, acted_on, level, never, unsupported, warned};

pub(super) static MODEL: Level = level(&[
    &[
        acted_on("modelFormat", Rule::Object(&MODEL_FORMAT), ""),
        ARGS,
        warned("runtime", Rule::Text, "has no effect: modelFormat picks what runs the model"),
    ],
    STORED_MODEL,
    CONTAINER,
]);

/// `sklearn`, `onnx` and the like.
pub(super) static FRAMEWORK: Level = level(&[&[ARGS], STORED_MODEL, CONTAINER]);

const ARGS: Field = acted_on(
    "args",
    Rule::TextList,
    "of language models, as KServe's Hugging Face runtime and vLLM have them: `--model_name`, `--max_model_len`, \
     `--max_num_seqs`, `--max_num_batched_tokens`, `--kv_cache_memory_bytes`, `--enable_prefix_caching`; those without effect \
     are warned of, others refused",
);

const STORED_MODEL: &[Field] = &[
    acted_on(
        "storageUri",
        Rule::Text,
        "a local path, relative ones from the manifest's folder, `file:///path`, or an `http` or `https` URL of a file or an \
         archive; other schemes are refused",
    ),
    acted_on(
        "protocolVersion",
        Rule::OneOf(&["v1", "v2", "grpc-v1", "grpc-v2"]),
        "kept; every model answers all protocols; default: `v1`, of `triton`, `onnx` and `huggingface` `v2`",
    ),
    unsupported("storage", Rule::Mapping, "is not supported yet: use storageUri"),
    warned("runtimeVersion", Rule::Text, "has no effect: the runtime is part of this program"),
    acted_on("confidential", Rule::Object(&CONFIDENTIAL), ""),
    acted_on("resources", Rule::Object(&RESOURCES), ""),
    never("name", "is not allowed here: remove it, metadata.name names the model"),
];

static MODEL_FORMAT: Level = level(&[&[
    acted_on(
        "name",
        Rule::Text,
        "`onnx`, or `gguf` or `huggingface` for language models: a GGUF file, or an embedder's folder; others are refused",
    ),
    acted_on("version", Rule::Text, "kept; the file says it too, and is believed"),
]]);

static CONFIDENTIAL: Level = level(&[&[
    acted_on("enabled", Rule::Bool, "`true` is refused: models are not decrypted yet"),
    acted_on("resourceId", Rule::Text, "kept"),
]]);

static RESOURCES: Level = level(&[&[
    acted_on("limits", Rule::Object(&LIMITS), ""),
    acted_on("requests", Rule::Object(&REQUESTS), ""),
    warned("claims", Rule::List, "has no effect: the model runs on the CPU"),
]]);

static LIMITS: Level = Level {
    rows: &[&[
        acted_on("cpu", Rule::Quantity, "threads of one replica, rounded up; default: all CPUs of the process"),
        acted_on("memory", Rule::Quantity, "as the request, where that is not set; the process is not limited by it"),
        EPHEMERAL_STORAGE,
    ]],
    by_form: Some(EXTENDED),
};

static REQUESTS: Level = Level {
    rows: &[&[
        warned("cpu", Rule::Quantity, "has no effect: replicas of one process are not placed by it"),
        acted_on(
            "memory",
            Rule::Quantity,
            "where two replicas don't fit, the old one stops before its successor starts",
        ),
        EPHEMERAL_STORAGE,
    ]],
    by_form: Some(EXTENDED),
};

const EPHEMERAL_STORAGE: Field =
    warned("ephemeral-storage", Rule::Quantity, "has no effect: replicas of one process write no files");

const EXTENDED: ByForm = ByForm {
    fits: is_extended_resource,
    row: warned("nvidia.com/gpu", Rule::Quantity, "has no effect yet: the model runs on the CPU"),
};

/// Devices such as `nvidia.com/gpu`, and huge pages.
pub(super) fn is_extended_resource(name: &str) -> bool {
    name.contains('/') || name.starts_with("hugepages-")
}
