//! `weirgate apply`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use weirgate_deploy::control::{Applied, Change};

use super::args::ServerArgs;
use super::progress::{GiveUp, follow_all};
use super::{Wrong, files, print};
use crate::admin::wire::{ApplyAnswer, ApplyRequest, apply_path};
use crate::config::parse_seconds;

#[derive(Args, Clone, Debug)]
pub struct Apply {
    /// Manifest, folder of manifests, or - for standard input; may be given several times
    #[arg(short = 'f', long = "file", value_name = "PATH", required = true, num_args = 1..)]
    files: Vec<PathBuf>,

    /// Wait until each of them is rolled out or has failed; one that fails does not end the wait for the others
    #[arg(long)]
    wait: bool,

    /// Seconds to wait, for all of them together
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = parse_seconds, allow_negative_numbers = true)]
    timeout: Duration,

    #[command(flatten)]
    server: ServerArgs,
}

impl Apply {
    pub fn run(&self) -> Result<(), Wrong> {
        let documents = files::read(&self.files)?;
        let client = self.server.client()?;
        let ApplyAnswer { applied, problems } = client.post(&apply_path(), &ApplyRequest { documents })?;
        problems.iter().for_each(|problem| eprintln!("{problem}"));
        print(&applied.iter().map(changed).collect::<String>());
        if self.wait {
            follow_all(&client, applied.iter().map(|applied| &applied.named), GiveUp::after(self.timeout))?;
        }
        Ok(())
    }
}

/// What became of a service, in kubectl's words.
pub fn changed(applied: &Applied) -> String {
    let change = match applied.change {
        Change::Created => "created",
        Change::Configured => "configured",
        Change::Unchanged => "unchanged",
    };
    format!("inferenceservice.serving.kserve.io/{} {change}\n", applied.named.name)
}
