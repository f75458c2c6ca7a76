//! The command line.

use clap::{Parser, Subcommand};

use crate::config::ServeConfig;

/// Serves machine-learning models from KServe InferenceService manifests.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage.
#[derive(Debug, Parser)]
#[command(name = "weirgate", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the models of one or more manifests
    ///
    /// Prints the two addresses it listens on to standard output and logs to standard error. Calls are accepted at once
    /// and held while their model loads. SIGTERM or SIGINT finishes what runs and exits with 0; a second one exits at
    /// once.
    ///
    /// Example: weirgate serve -f service.yaml
    Serve(Box<ServeConfig>),
}
