//! The command line.
//!
//! ```text
//! args      options that commands share, and the words by which people name a service
//! files     the manifests that -f names
//! apply, delete, get, describe, rollout    ask the control API of a running server
//! validate  asks nobody
//! key       makes API keys
//! loadtest  lies in a crate of its own
//! object, table, age    what is shown of a service, and how
//! progress  how far a rollout has come
//! ```

mod age;
mod apply;
mod args;
mod delete;
mod describe;
mod files;
mod get;
mod key;
mod object;
mod progress;
mod rollout;
mod table;
mod validate;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use weirgate_loadtest::cli::Loadtest;

use crate::client::Failure;
use crate::config::ServeConfig;
use crate::replica::ReplicaConfig;

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

    /// Run one service in a process of its own, for a gateway that passes calls to it
    ///
    /// What weirgate serve starts for services with the annotation weirgate.dev/isolation: process. SIGTERM or SIGINT
    /// refuses new calls, finishes what runs and exits with 0; a second one exits at once.
    ///
    /// Example: weirgate replica -f service.yaml --listen unix:/run/weirgate/digits.sock
    Replica(Box<ReplicaConfig>),

    /// Create or change services on a running server
    ///
    /// All manifests are taken or none of them.
    ///
    /// Example: weirgate apply -f service.yaml
    Apply(apply::Apply),

    /// List services, or show one
    ///
    /// Example: weirgate get inferenceservices -A -o wide
    Get(get::Get),

    /// Show a service in full: conditions, revisions, traffic, replicas, events
    ///
    /// Example: weirgate describe digits
    Describe(describe::Describe),

    /// Remove a service; its calls finish
    ///
    /// Example: weirgate delete digits
    Delete(delete::Delete),

    /// Check manifests without a server
    ///
    /// Tells all that is wrong with all of them. Exits with 1 if any has an error, or asks for something that is not
    /// supported; warnings alone exit with 0.
    ///
    /// Example: weirgate validate -f service.yaml
    Validate(validate::Validate),

    /// Follow a rollout, promote a canary, go back, or set the share of calls it gets
    #[command(subcommand)]
    Rollout(rollout::Rollout),

    /// Make API keys
    #[command(subcommand)]
    Key(key::Key),

    /// Load a server, ours or another, and measure it without being fooled
    ///
    /// With a rate requests are sent on time whatever becomes of those before (open loop), and latency counts from when
    /// each was due; without one, each caller waits for its answer (closed loop). A run that misses its objective, or that
    /// got no right answer, exits with 1. SIGINT or SIGTERM ends a run early; it tells what was measured, and exits with
    /// 130 or 143.
    Loadtest(Box<Loadtest>),

    /// Run a command that ends with whoever holds the other end of standard input, and all that it starts with it
    #[command(hide = true)]
    ChildGuard {
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
}

/// Why a command did not do what it was asked.
#[derive(Debug, PartialEq, Eq)]
pub enum Wrong {
    Usage(String),
    /// What failed, a line each; none: it has been told already.
    Failed(Vec<String>),
    /// A signal ended it, and all has been told. Holds the code to exit with.
    Interrupted(u8),
}

impl Wrong {
    fn failed(text: impl Into<String>) -> Wrong {
        Wrong::Failed(vec![text.into()])
    }
}

impl From<Failure> for Wrong {
    fn from(failure: Failure) -> Wrong {
        match failure {
            Failure::Lost(text) => Wrong::failed(format!("error: {text}")),
            Failure::Refused(_, refusal) if !refusal.problems.is_empty() => {
                Wrong::Failed(refusal.problems.iter().map(ToString::to_string).collect())
            }
            Failure::Refused(_, refusal) => Wrong::failed(format!("error: {}", refusal.error)),
        }
    }
}

impl From<weirgate_loadtest::cli::Wrong> for Wrong {
    fn from(wrong: weirgate_loadtest::cli::Wrong) -> Wrong {
        match wrong {
            weirgate_loadtest::cli::Wrong::Usage(text) => Wrong::Usage(text),
            weirgate_loadtest::cli::Wrong::Failed(text) => Wrong::failed(format!("error: {text}")),
            weirgate_loadtest::cli::Wrong::Missed => Wrong::Failed(Vec::new()),
            weirgate_loadtest::cli::Wrong::Interrupted(code) => Wrong::Interrupted(code),
        }
    }
}

/// For those who start a replica by hand, and leave out what a gateway tells it.
const REPLICA: &str = "weirgate replica runs the model of one service in a process of its own, for a gateway that passes \
                       calls to it: it needs a manifest (--file) and where that gateway reaches it (--listen). weirgate serve \
                       starts it by itself for services with weirgate.dev/isolation: process.";

impl Cli {
    /// Reads the command line, or ends the process with what is wrong there.
    pub fn from_command_line() -> Cli {
        let refused = |error: clap::Error| -> Cli {
            let is_replica = std::env::args_os().nth(1).is_some_and(|word| word == "replica");
            if is_replica && error.kind() == ErrorKind::MissingRequiredArgument {
                let _ = error.print();
                eprintln!("\n{REPLICA}");
                std::process::exit(error.exit_code());
            }
            error.exit()
        };
        Cli::try_parse().unwrap_or_else(refused)
    }

    pub fn run(self) -> ExitCode {
        let result = match self.command {
            Command::Serve(config) => return crate::serve::serve(*config),
            Command::ChildGuard { command } => return weirgate_replicas::child::guard(&command),
            Command::Replica(config) => return crate::replica::replica(*config),
            Command::Apply(apply) => apply.run(),
            Command::Get(get) => get.run(),
            Command::Describe(describe) => describe.run(),
            Command::Delete(delete) => delete.run(),
            Command::Validate(validate) => validate.run(),
            Command::Rollout(rollout) => rollout.run(),
            Command::Key(key) => key.run(),
            Command::Loadtest(loadtest) => loadtest.run().map_err(Wrong::from),
        };
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(Wrong::Usage(text)) => {
                eprintln!("error: {text}\n\nFor more information, try '--help'.");
                ExitCode::from(2)
            }
            Err(Wrong::Interrupted(code)) => ExitCode::from(code),
            Err(Wrong::Failed(lines)) => {
                lines.iter().for_each(|line| eprintln!("{line}"));
                ExitCode::FAILURE
            }
        }
    }
}

/// Prints to standard output; one that nobody reads any more is no reason to fail.
fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}
