//! `weirgate loadtest`: the command.
//!
//! ```text
//! options    every flag, and from them the help, the environment and the table in docs/loadtest.md
//! given      which of them stand on the command line
//! rules      which of them go together
//! plan       from options to a workload, a load and a way to drive it
//! sockets    whether the system lets it
//! run        drives it, and writes down what was found
//! results    compares two results, shows one again
//! interrupt  Ctrl-C and SIGTERM end a run early; a second one ends the program
//! ```

mod given;
mod interrupt;
mod options;
mod plan;
mod results;
mod rules;
mod run;
mod sockets;

use std::io::{ErrorKind, Write};

pub use self::given::Given;
pub use self::options::{
    Compare, ConnectionOptions, JudgeOptions, LoadOptions, Loadtest, Options, OutputOptions, PayloadOptions, Progress,
    Show,
};

/// Why the command did not end well.
#[derive(Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The flags make no sense.
    Usage(String),
    Failed(String),
    /// It did what it was asked, and what it found is not good enough. That has been told already.
    Missed,
    /// A signal ended it early, and what was measured until then has been told. Holds the code to exit with.
    Interrupted(u8),
}

impl From<std::io::Error> for Wrong {
    fn from(error: std::io::Error) -> Wrong {
        Wrong::Failed(error.to_string())
    }
}

impl Loadtest {
    /// Blocks until it is done or interrupted.
    pub fn run(self) -> Result<(), Wrong> {
        match self.other {
            Some(options::Other::Compare(compare)) => results::compare(&compare),
            Some(options::Other::Show(show)) => results::show(&show),
            None => run::run(self.options),
        }
    }
}

/// Prints to standard output; one that nobody reads any more is no reason to fail.
fn print(text: &str) -> Result<(), Wrong> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Wrong::Failed(format!("can't write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}
