//! Language models as replicas: engines that go on with texts, or make vectors of them.
//!
//! | module    | what it holds |
//! |-----------|---------------|
//! | `model`   | what was loaded from a model's files: one engine or the other |
//! | `replica` | a model as a replica of a set |
//! | `respond` | what their servers have in common: answers, refusals, work that is put aside |
//!
//! Each engine is a server in this process, which calls are passed to as bytes: see [`Server`](crate::remote::Server).

mod model;
mod replica;
pub(crate) mod respond;

pub(crate) use self::replica::LanguageModels;
pub use self::replica::LanguageSetConfig;
pub use self::respond::failed;
