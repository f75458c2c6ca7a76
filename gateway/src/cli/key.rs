//! `weirgate key`: makes API keys.

use clap::{Args, Subcommand};

use super::{Wrong, print};
use crate::auth::keys::generate;

#[derive(Debug, Subcommand)]
pub enum Key {
    /// Make an API key
    ///
    /// Prints the key, which is kept nowhere, to standard error, and to standard output the entry for the file that
    /// `weirgate serve --api-keys FILE` reads: it holds only a hash. The file begins with a line `keys:`, and entries follow.
    ///
    /// A new file: (echo keys:; weirgate key new team-a --service 'default/*') > keys.yaml
    ///
    /// A further key: weirgate key new team-b --service 'default/*' >> keys.yaml
    New(New),
}

#[derive(Args, Clone, Debug)]
pub struct New {
    /// What the key is called: in the file, in logs and in metrics
    #[arg(value_name = "NAME")]
    name: String,

    /// Service that the key may use: namespace/name, namespace/* or *; may be given several times
    #[arg(
        long = "service",
        value_name = "PATTERN",
        env = "WEIRGATE_KEY_SERVICE",
        value_delimiter = ',',
        default_value = "*"
    )]
    services: Vec<String>,
}

impl Key {
    pub fn run(&self) -> Result<(), Wrong> {
        let Key::New(New { name, services }) = self;
        if let Some(wrong) = services.iter().find_map(|text| text.parse::<crate::auth::policy::Pattern>().err()) {
            return Err(Wrong::Usage(wrong));
        }
        crate::auth::keys::check_name(name).map_err(Wrong::Usage)?;
        let (key, hash) = generate();
        eprintln!("{key}");
        let services: Vec<_> = services.iter().map(|service| format!("\"{service}\"")).collect();
        print(&format!("- name: {name}\n  hash: {hash}\n  services: [{}]\n", services.join(", ")));
        Ok(())
    }
}
