//! Logs: structured, on standard error, one line per event.

use std::fmt::Display;
use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Starts logging. A filter that can't be read is an error of the command line.
pub fn init(filter: &str, format: LogFormat) -> Result<(), String> {
    let filter = parse(filter)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).init(),
    }
    Ok(())
}

fn parse(filter: &str) -> Result<EnvFilter, String> {
    let refused = |what: &dyn Display| {
        format!("--log is '{filter}': {what}: give error, warn, info, debug, or filters as weirgate=debug,hyper=info")
    };
    if let Some(word) = filter.split(',').map(str::trim).find(|word| is_mistaken(word)) {
        return Err(refused(&format_args!("'{word}' is no level, and no part of weirgate")));
    }
    EnvFilter::try_new(filter).map_err(|error| refused(&error))
}

/// A word alone that is no level asks for everything of one part, and for nothing of all others. Where it is none of ours
/// it is a misspelt level, with which nothing at all would be logged.
fn is_mistaken(word: &str) -> bool {
    let alone = !word.is_empty() && !word.contains(['=', '[', '{', '}', ']']);
    alone && word.parse::<LevelFilter>().is_err() && !word.starts_with("weirgate")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        for good in ["info", "WARN", "off", "weirgate", "weirgate_models=debug,info", "hyper=debug, warn", ""] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in ["foo", "inof", "info,foo", "weirgate=loud"] {
            assert!(parse(bad).is_err_and(|error| error.starts_with(&format!("--log is '{bad}': "))), "{bad}");
        }
    }
}
