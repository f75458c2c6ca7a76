//! Who calls, as the edge has found out, and how urgent its calls are.

use std::sync::Arc;

/// A caller that has shown a key or a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The key's or the subject's name, as the keys' file or the token has it. Never the key itself.
    pub name: Arc<str>,
    /// The class of its calls, unless a call asks for a lower one.
    pub priority: Priority,
    /// It may ask why its call went where it went (`x-weirgate-explain`).
    pub explains: bool,
}

/// The class of a call. Within a lane a higher one goes first, but whoever has waited long goes before all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    Low,
    #[default]
    Normal,
    High,
}

impl Priority {
    pub const ALL: [Priority; 3] = [Priority::Low, Priority::Normal, Priority::High];

    /// As the header `x-weirgate-priority`, keys' files and labels write it.
    pub const fn label(self) -> &'static str {
        match self {
            Priority::Low => "low",
            Priority::Normal => "normal",
            Priority::High => "high",
        }
    }

    pub fn parse(text: &str) -> Option<Priority> {
        Priority::ALL.into_iter().find(|priority| priority.label().eq_ignore_ascii_case(text.trim()))
    }
}
