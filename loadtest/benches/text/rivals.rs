//! The servers that are compared.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use weirgate_loadtest::process::{Log, Server, Weirgate};
use weirgate_loadtest::{Result, record};

/// Sequences that run at a time.
const SEQUENCES: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rival {
    Weirgate,
    LlamaCpp,
}

impl Rival {
    pub const ALL: [Rival; 2] = [Rival::Weirgate, Rival::LlamaCpp];

    pub const fn label(self) -> &'static str {
        match self {
            Rival::Weirgate => "weirgate",
            Rival::LlamaCpp => "llama.cpp",
        }
    }

    pub fn is_there(self) -> bool {
        match self {
            Rival::Weirgate => true,
            Rival::LlamaCpp => python().is_some_and(|python| {
                let known = Command::new(python).args(["-c", "import xllamacpp"]).stderr(Stdio::null()).status();
                known.is_ok_and(|status| status.success())
            }),
        }
    }

    pub fn start(self, core: usize) -> Result<Server> {
        match self {
            Rival::Weirgate => Weirgate::new("text").manifest(&service()).start_settled(Some(core)),
            Rival::LlamaCpp => {
                let folder = record::root().join("target/loadtest/text");
                std::fs::create_dir_all(&folder)?;
                let mut command = Command::new(python().unwrap_or_default());
                command.arg(record::root().join("loadtest/benches/text/llama.py"));
                command.arg(model()).arg(SEQUENCES.to_string());
                Server::start(Some(core), command, &Log::File(folder.join("llama.log")))
            }
        }
    }
}

fn python() -> Option<PathBuf> {
    let given = std::env::var_os("WEIRGATE_FOREIGN_PYTHON").map(PathBuf::from);
    given.or_else(|| Some(record::root().join("build/venv-foreign/bin/python"))).filter(|python| python.is_file())
}

fn model() -> PathBuf {
    record::models().join("smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
}

fn service() -> String {
    format!(
        "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata:\n  name: smollm2\nspec:\n  predictor:\n    \
         model:\n      modelFormat:\n        name: gguf\n      storageUri: file://{}\n      args: [--max_num_seqs={SEQUENCES}]\n      \
         resources:\n        limits:\n          cpu: 1\n",
        model().display()
    )
}
