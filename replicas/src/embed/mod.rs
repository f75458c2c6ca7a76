//! The embedding engine: one embedder on a thread of its own, answering many callers at once.
//!
//! | module     | what it holds |
//! |------------|---------------|
//! | `config`   | how an engine is loaded, and all its bounds |
//! | `engine`   | what others hold of it: load, submit, drain, stop, numbers |
//! | `request`  | what a caller asks for, and which of that is refused at once |
//! | `answer`   | what a caller gets: a vector for each text, and what it was |
//! | `compute`  | the embedder, as the executor sees it |
//! | `shared`   | the queue, and who waits for what; any thread looks at it for a moment |
//! | `executor` | the engine's thread: plan, compute, deliver |
//! | `observer` | what is told as it happens, and numbers for metrics |
//! | `server`   | an engine as a server of HTTP in this process, which calls are passed to as bytes |
//!
//! **A caller** makes tokens of its texts on its own thread, with the engine's
//! [`EmbedTokenizer`](weirgate_models::embed::EmbedTokenizer), submits them, and awaits an [`Embedding`]. Dropping that takes the
//! call out at once, and ends a run that nobody waits for any more.
//!
//! **Calls share runs.** A call of many texts is spread over runs, and a run has texts of many calls; each caller gets its own, in
//! its own order. Which texts share one is decided by [`weirgate_replicas_core::embedding`].
//!
//! **Answers don't depend on company**, but for what ONNX Runtime's sums differ by from one shape to another: the cosine to the
//! same text's vector alone is 1 to six digits.

mod answer;
mod compute;
mod config;
mod engine;
mod executor;
mod observer;
mod request;
mod server;
mod shared;
#[cfg(test)]
mod tests;

pub use self::answer::{EmbedTiming, Embedded, Embedding};
pub use self::config::EmbedConfig;
pub use self::engine::EmbedEngine;
pub use self::observer::{EmbedObserver, EmbedStats, Ended, RunReport, Unobserved};
pub use self::request::Embed;
pub(crate) use self::server::EmbedServer;
pub use crate::text::EngineEnd;
pub use weirgate_models::embed::EmbedderOptions;
