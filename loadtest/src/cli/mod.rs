//! `weirgate loadtest`: the command.
//!
//! ```text
//! options  every flag, and from them the help, the environment and the table in docs/loadtest.md
//! plan     from options to a workload, a load and a way to drive it
//! ```

mod options;

pub use self::options::{Compare, Loadtest, Options, PayloadOptions, Progress};
