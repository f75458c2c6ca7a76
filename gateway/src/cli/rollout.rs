//! `weirgate rollout`.

use std::time::Duration;

use clap::{ArgAction, Args, Subcommand};
use weirgate_deploy::control::{Applied, Rollout as Change};

use super::apply::changed;
use super::args::{NamespaceArgs, ServerArgs};
use super::progress::{GiveUp, Progress, follow, progress, view};
use super::{Wrong, print};
use crate::admin::wire::{RolloutRequest, Told, rollout_path};
use crate::config::parse_seconds;

#[derive(Clone, Debug, Subcommand)]
pub enum Rollout {
    /// Tell how far a rollout has come, until it is done
    ///
    /// Prints a line for each change. Exits with 0 when the service is ready and calls are split as its manifest asks,
    /// with 1 when the newest revision or a canary has failed, or not yet done.
    Status(Status),
    /// Send all calls to the newest revision, or to the canary
    Promote(Promote),
    /// Send no calls to any canary; where none runs, go back to the revision that was rolled out before
    Rollback(Rollback),
    /// Send this share of the calls to the newest revision, or to the canary
    Set(Set),
}

#[derive(Args, Clone, Debug)]
pub struct Status {
    #[command(flatten)]
    service: ServiceArgs,

    /// Go on until it is done or has failed; --watch=false tells only how it is now
    #[arg(short, long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true")]
    watch: bool,

    /// Seconds to go on for
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = parse_seconds, allow_negative_numbers = true)]
    timeout: Duration,
}

#[derive(Args, Clone, Debug)]
pub struct Promote {
    #[command(flatten)]
    service: ServiceArgs,

    /// Which one, where spec.canary has several
    #[arg(long, value_name = "VARIANT")]
    canary: Option<String>,

    #[command(flatten)]
    file: FileArgs,
}

#[derive(Args, Clone, Debug)]
pub struct Rollback {
    #[command(flatten)]
    service: ServiceArgs,

    #[command(flatten)]
    file: FileArgs,
}

#[derive(Args, Clone, Debug)]
pub struct Set {
    #[command(flatten)]
    service: ServiceArgs,

    /// Percentage, 0 to 100
    #[arg(value_name = "N", value_parser = parse_percent)]
    percent: u8,

    /// Which one, where spec.canary has several
    #[arg(long, value_name = "VARIANT")]
    canary: Option<String>,

    #[command(flatten)]
    file: FileArgs,
}

#[derive(Args, Clone, Debug)]
struct ServiceArgs {
    /// Name of the service, as NAME or isvc/NAME
    #[arg(value_name = "NAME")]
    name: String,

    #[command(flatten)]
    namespace: NamespaceArgs,

    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Args, Clone, Debug)]
struct FileArgs {
    /// Also change the file that owns the service; without this a service of a file is not changed
    #[arg(long)]
    write_back: bool,
}

impl Rollout {
    pub fn run(self) -> Result<(), Wrong> {
        match self {
            Rollout::Status(status) => status.run(),
            Rollout::Promote(Promote { service, canary, file }) => change(&service, Change::Promote { canary }, &file),
            Rollout::Rollback(Rollback { service, file }) => change(&service, Change::Rollback, &file),
            Rollout::Set(Set { service, percent, canary, file }) => {
                change(&service, Change::Set { percent, canary }, &file)
            }
        }
    }
}

impl Status {
    fn run(&self) -> Result<(), Wrong> {
        let named = self.service.namespace.one(std::slice::from_ref(&self.service.name))?;
        let client = self.service.server.client()?;
        if self.watch {
            return follow(&client, &named, GiveUp::after(self.timeout));
        }
        match progress(&view(&client, &named)?) {
            Progress::Done(text) => {
                print(&format!("{named}: {text}\n"));
                Ok(())
            }
            Progress::Going(text) => {
                print(&format!("{named}: {text}\n"));
                Err(Wrong::Failed(Vec::new()))
            }
            Progress::Failed(text) => Err(Wrong::failed(format!("error: {named}: {text}"))),
        }
    }
}

fn change(service: &ServiceArgs, rollout: Change, file: &FileArgs) -> Result<(), Wrong> {
    let named = service.namespace.one(std::slice::from_ref(&service.name))?;
    let request = RolloutRequest { rollout, write_back: file.write_back };
    let applied: Applied = service.server.client()?.post(&rollout_path(&named), &request)?;
    Told::of_refused(&applied).iter().for_each(|told| eprintln!("{told}"));
    print(&changed(&applied));
    Ok(())
}

fn parse_percent(text: &str) -> Result<u8, String> {
    let percent = text.strip_suffix('%').unwrap_or(text).parse().ok().filter(|percent| *percent <= 100);
    percent.ok_or_else(|| format!("'{text}' is not a percentage: allowed is a whole number from 0 to 100"))
}

#[cfg(test)]
mod tests {
    use super::parse_percent;

    #[test]
    fn percentages() {
        assert_eq!((parse_percent("0"), parse_percent("100"), parse_percent("20%")), (Ok(0), Ok(100), Ok(20)));
        for wrong in ["101", "-1", "", "%", "1.5", "300"] {
            assert!(parse_percent(wrong).is_err(), "{wrong}");
        }
    }
}
