//! What `args` of a language model say, by the names that KServe's Hugging Face runtime and vLLM give them.

use std::num::NonZeroUsize;

use serde_json::Value;

use crate::problem::{Report, quoted};

/// How a language model runs, as its `args` have it. What is none is left to the engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelArguments {
    /// `--model_name`: the name that calls have for it. None: the service's.
    pub model_name: Option<String>,
    /// `--max_model_len`: tokens of a prompt and its answer together.
    pub max_model_len: Option<NonZeroUsize>,
    /// `--max_num_seqs`: sequences that run at a time.
    pub max_num_seqs: Option<NonZeroUsize>,
    /// `--max_num_batched_tokens`: tokens of a step.
    pub max_num_batched_tokens: Option<NonZeroUsize>,
    /// `--kv_cache_memory_bytes`: memory for keys and values.
    pub kv_cache_memory_bytes: Option<NonZeroUsize>,
    /// `--enable_prefix_caching`, or `--no_enable_prefix_caching`.
    pub enable_prefix_caching: Option<bool>,
}

/// What an argument sets.
#[derive(Clone, Copy)]
enum Sets {
    Name,
    Count(fn(&mut ModelArguments) -> &mut Option<NonZeroUsize>),
    PrefixCaching(bool),
    /// It makes no difference here, and takes a value or none.
    Nothing(&'static str, bool),
    /// It would make a difference, and does not.
    Refused(&'static str),
}

const NO_CHOICE: &str = "has no effect: one engine runs every model";
const STORAGE_URI: &str = "is not supported: storageUri says where the model lies, remove it";

/// Every argument that is known, with underscores; dashes mean the same.
const KNOWN: &[(&str, Sets)] = &[
    ("model_name", Sets::Name),
    ("served_model_name", Sets::Name),
    ("max_model_len", Sets::Count(|found| &mut found.max_model_len)),
    ("max_length", Sets::Count(|found| &mut found.max_model_len)),
    ("max_num_seqs", Sets::Count(|found| &mut found.max_num_seqs)),
    ("max_num_batched_tokens", Sets::Count(|found| &mut found.max_num_batched_tokens)),
    ("kv_cache_memory_bytes", Sets::Count(|found| &mut found.kv_cache_memory_bytes)),
    ("enable_prefix_caching", Sets::PrefixCaching(true)),
    ("no_enable_prefix_caching", Sets::PrefixCaching(false)),
    ("backend", Sets::Nothing(NO_CHOICE, true)),
    ("dtype", Sets::Nothing("has no effect: weights are computed with as the file has them", true)),
    ("task", Sets::Nothing("has no effect: the model's files say what it does", true)),
    ("trust_remote_code", Sets::Nothing("has no effect: no code of a model is run", false)),
    ("enable_chunked_prefill", Sets::Nothing("has no effect: prompts are always computed in chunks", false)),
    ("gpu_memory_utilization", Sets::Nothing("has no effect: the model runs on the CPU", true)),
    ("model_id", Sets::Refused(STORAGE_URI)),
    ("model_dir", Sets::Refused(STORAGE_URI)),
    ("model", Sets::Refused(STORAGE_URI)),
];

impl ModelArguments {
    /// Reads `args`. What is wrong is reported at `at`.
    pub(crate) fn read(args: Option<&Value>, at: &str, report: &mut Report) -> ModelArguments {
        let mut found = ModelArguments::default();
        let words: Vec<&str> = args.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let mut index = 0;
        while let Some(&word) = words.get(index) {
            let path = format!("{at}[{index}]");
            index += 1;
            let Some(flag) = word.strip_prefix("--") else {
                report.error(&path, format!("is {}: an argument begins with --, as --model_name=NAME", quoted(word)));
                continue;
            };
            let (name, joined) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
            let name = name.replace('-', "_");
            let Some((_, sets)) = KNOWN.iter().find(|(known, _)| *known == name) else {
                report.unsupported(&path, format!("is {}: supported are {}", quoted(word), supported()));
                continue;
            };
            let takes_value = !matches!(sets, Sets::PrefixCaching(_) | Sets::Nothing(_, false));
            let value = joined.or_else(|| {
                let next = words.get(index).filter(|next| takes_value && !next.starts_with("--"))?;
                index += 1;
                Some(*next)
            });
            found.set(*sets, &name, value, &path, report);
        }
        found
    }

    fn set(&mut self, sets: Sets, name: &str, value: Option<&str>, path: &str, report: &mut Report) {
        let value = value.unwrap_or_default();
        match sets {
            Sets::Name if value.is_empty() => report.error(path, format!("--{name} has no value: write --{name}=NAME")),
            Sets::Name => self.model_name = Some(value.to_owned()),
            Sets::Count(field) => match value.parse() {
                Ok(count) => *field(self) = Some(count),
                Err(_) => report.error(path, format!("--{name} is {}: it takes a whole number above 0", quoted(value))),
            },
            Sets::PrefixCaching(on) => match value {
                "" | "true" | "True" => self.enable_prefix_caching = Some(on),
                "false" | "False" => self.enable_prefix_caching = Some(!on),
                other => report.error(path, format!("--{name} is {}: it takes true or false", quoted(other))),
            },
            Sets::Nothing(why, _) => report.warn(path, format!("--{name} {why}")),
            Sets::Refused(why) => report.unsupported(path, format!("--{name} {why}")),
        }
    }
}

fn supported() -> String {
    let acted_on = |sets: &Sets| matches!(sets, Sets::Name | Sets::Count(_) | Sets::PrefixCaching(_));
    let names = KNOWN.iter().filter(|(_, sets)| acted_on(sets)).map(|(name, _)| format!("--{name}"));
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(args: Value) -> (ModelArguments, Vec<String>) {
        let mut report = Report::new("", "");
        let found = ModelArguments::read(Some(&args), "args", &mut report);
        let problems = report.problems().iter().map(|problem| format!("{}: {}", problem.path, problem.message));
        (found, problems.collect())
    }

    #[test]
    fn both_spellings_and_both_forms_are_read() {
        let (found, problems) = read(json!([
            "--model_name=llama",
            "--max-model-len",
            "2048",
            "--no-enable-prefix-caching",
            "--max_num_seqs=8"
        ]));
        let expected = ModelArguments {
            model_name: Some("llama".to_owned()),
            max_model_len: NonZeroUsize::new(2048),
            max_num_seqs: NonZeroUsize::new(8),
            enable_prefix_caching: Some(false),
            ..ModelArguments::default()
        };
        assert_eq!((found, problems), (expected, Vec::new()));
        assert_eq!(ModelArguments::read(None, "args", &mut Report::new("", "")), ModelArguments::default());
    }

    #[test]
    fn what_makes_no_difference_is_a_warning_that_names_it() {
        let (found, problems) = read(json!(["--backend=vllm", "--trust-remote-code", "--model_name", "a"]));
        assert_eq!(found.model_name.as_deref(), Some("a"));
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].starts_with("args[0]: --backend has no effect"), "{problems:?}");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (args, says) in [
            (json!(["model_name=a"]), "args[0]: is 'model_name=a': an argument begins with --"),
            (json!(["--model_name"]), "args[0]: --model_name has no value"),
            (json!(["--max_model_len=0"]), "it takes a whole number above 0"),
            (json!(["--max_model_len", "--model_name=a"]), "args[0]: --max_model_len is ''"),
            (json!(["--enable_lora"]), "supported are --model_name"),
            (json!(["--model_id=a/b"]), "storageUri says where the model lies"),
            (json!(["--enable-prefix-caching=maybe"]), "it takes true or false"),
        ] {
            let (_, problems) = read(args.clone());
            assert!(problems.iter().any(|problem| problem.contains(says)), "{args}: {problems:?}");
        }
    }
}
