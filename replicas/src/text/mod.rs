//! The text engine: one language network on a thread of its own, answering many callers at once.
//!
//! | module      | what it holds |
//! |-------------|---------------|
//! | `config`    | how an engine is loaded, and all its bounds |
//! | `engine`    | what others hold of it: load, submit, drain, stop, numbers |
//! | `request`   | what a caller asks for, and which of that is refused at once |
//! | `answer`    | what a caller gets: pieces of text, then why it ended and what it was |
//! | `mailbox`   | the way of an answer from the engine's thread to its reader |
//! | `writer`    | what a sequence carries: its sampler, its text, where it stops |
//! | `forward`   | the network, as the executor sees it |
//! | `inbox`     | what the engine's thread is told: who came, and that it is to end |
//! | `executor`  | the engine's thread: plan, run, sample, deliver |
//! | `observer`  | what is told as it happens, and numbers for metrics |
//! | `server`    | an engine as a server of HTTP in this process, which calls are passed to as bytes |
//!
//! **A caller** makes tokens of its prompt on its own thread, with the engine's [`Tokenizer`](weirgate_models::text::Tokenizer)
//! and [`ChatTemplate`](weirgate_models::text::chat::ChatTemplate), submits them, and reads a [`Generation`]. Dropping that takes
//! the sequence out at the next step.
//!
//! **A reader that is slow stalls nobody.** Its text is kept for it and goes on growing, up to a bound of bytes; past that the
//! sequence ends with an error. It is not paused: a paused sequence would hold the keys and values of all its tokens, ten
//! thousand bytes and more for each, to save a few bytes of text, and others would wait for these. What is cheap is kept, and what
//! is dear is given back as early as can be.
//!
//! **Answers don't depend on company.** The network computes the same bits for a sequence whatever else runs, and each token has
//! a random number of its own. So the same prompt, parameters and seed give the same answer, alone and among others, from the
//! cache and after a pre-emption.

mod answer;
mod config;
mod engine;
mod executor;
mod forward;
mod inbox;
mod mailbox;
mod observer;
mod request;
mod server;
#[cfg(test)]
mod tests;
mod writer;

pub use self::answer::{FinishReason, Finished, GenerationTiming, LengthCause, Part, Piece, StopCause, Usage};
pub use self::config::TextConfig;
pub use self::engine::{EngineEnd, TextEngine};
pub(crate) use self::executor::ended_with;
pub(crate) use self::inbox::Phase;
pub use self::mailbox::Generation;
pub use self::observer::{StepReport, TextObserver, TextStats, Unobserved};
pub use self::request::{Generate, MOST_STOP_TOKENS, random_seed};
pub(crate) use self::server::TextServer;
