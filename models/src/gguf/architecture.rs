//! The architectures that can be run.

use std::fmt;

/// An architecture, as `general.architecture` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// Llama 2 and 3, SmolLM2, and Mistral without experts.
    Llama,
    /// Qwen 2 and 2.5.
    Qwen2,
    Qwen3,
}

impl Architecture {
    pub const ALL: [Architecture; 3] = [Architecture::Llama, Architecture::Qwen2, Architecture::Qwen3];

    pub fn of(name: &str) -> Result<Architecture, String> {
        Architecture::ALL.into_iter().find(|known| known.name() == name).ok_or_else(|| {
            let known = Architecture::ALL.map(Architecture::name).join(", ");
            let short: String = name.chars().take(40).collect();
            format!("general.architecture is '{short}', and supported are {known}")
        })
    }

    /// The name, which also begins the keys of its parameters.
    pub const fn name(self) -> &'static str {
        match self {
            Architecture::Llama => "llama",
            Architecture::Qwen2 => "qwen2",
            Architecture::Qwen3 => "qwen3",
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
