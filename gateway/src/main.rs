use std::process::ExitCode;

use clap::Parser;
use weirgate::cli::{Cli, Command};

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(config) => weirgate::serve::serve(*config),
    }
}
