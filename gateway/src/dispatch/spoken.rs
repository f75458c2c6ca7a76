//! Which protocols a lane's servers speak.

use std::fmt;

use weirgate_protocol::Protocol;
use weirgate_replicas::remote::Described;

/// What all of a lane's servers speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spoken {
    pub v1: bool,
    pub v2: bool,
    pub grpc: bool,
    pub openai: bool,
    /// V2's extension for texts, and of V2 maybe nothing else.
    pub generates: bool,
    /// Some server has said what it speaks.
    pub known: bool,
}

impl Spoken {
    pub(super) fn of(described: &Described) -> Spoken {
        let Described { v1, v2, grpc, openai, generates, .. } = *described;
        Spoken { v1, v2, grpc, openai: openai.is_some(), generates, known: true }
    }

    pub(super) fn and(self, other: Spoken) -> Spoken {
        Spoken {
            v1: self.v1 && other.v1,
            v2: self.v2 && other.v2,
            grpc: self.grpc && other.grpc,
            openai: self.openai && other.openai,
            generates: self.generates && other.generates,
            known: true,
        }
    }

    /// Whether they take tensors.
    pub fn tensors(&self) -> bool {
        self.v1 || self.v2 || self.grpc
    }

    pub fn speaks(&self, protocol: Protocol) -> bool {
        match protocol {
            Protocol::V1Http => self.v1,
            Protocol::V2Http => self.v2,
            Protocol::V2Grpc => self.grpc,
            Protocol::OpenAi => self.openai,
            Protocol::Other => true,
        }
    }
}

impl fmt::Display for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spoken =
            [(self.v1, "V1"), (self.v2, "V2 over HTTP"), (self.grpc, "V2 over gRPC"), (self.openai, "OpenAI's")];
        let mut names = spoken.into_iter().filter_map(|(speaks, name)| speaks.then_some(name));
        match names.next() {
            None => f.write_str("none of the protocols that are known here"),
            Some(first) => {
                f.write_str(first)?;
                names.try_for_each(|name| write!(f, ", {name}"))
            }
        }
    }
}
