//! Whether the system lets the load tester open as many sockets as the options ask for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Wrong;
use super::options::Options;
use crate::request::Protocol;

/// Files that are open besides: standard streams, runtimes, what is read and written.
const RESERVE: u64 = 64;
/// Requests in flight where the flags don't say.
const MOST_IN_FLIGHT: u64 = 1_024;

/// How many files this process may have open, once that is raised as far as it may be.
pub(super) fn most_files() -> u64 {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where that is refused, what holds now goes on to.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// How many requests of an open loop may be in flight, given how many files may be open.
pub(super) fn most_in_flight(options: &Options, most_files: u64) -> Result<usize, Wrong> {
    let servers = if options.judge.ab.is_some() { 2 } else { 1 };
    let room = most_files.saturating_sub(RESERVE) / servers;
    let open = options.load.is_open() || options.judge.sweep;
    let shares = options.protocol == Protocol::Grpc;
    let (flag, asked) = match (shares, open) {
        (true, _) => ("--connections", options.connection.connections),
        (false, true) => ("--max-in-flight", options.connection.max_in_flight),
        (false, false) => ("--callers", options.load.callers),
    };
    if let Some(asked) = asked
        && asked as u64 > room
    {
        let each = if servers == 2 { "a socket for each of two servers" } else { "a socket each" };
        return Err(Wrong::Usage(format!(
            "{flag} {asked} takes {each}, and the system lets this process have {most_files} files open, of which \
             {RESERVE} are kept back: ask for {room} at most, or raise the limit (ulimit -n)"
        )));
    }
    let usual = if shares { MOST_IN_FLIGHT } else { MOST_IN_FLIGHT.min(room).max(1) };
    Ok(options.connection.max_in_flight.unwrap_or(usual as usize))
}

#[cfg(test)]
mod tests {
    use super::super::options::tests::parse;
    use super::*;

    #[test]
    fn what_does_not_fit_is_told_by_its_flag() {
        for (flags, files, flag) in [
            (&["-c", "25000"][..], 20_000, Some("--callers 25000")),
            (&["-c", "19936"], 20_000, None),
            (&["-c", "19937"], 20_000, Some("--callers 19937")),
            (&["-c", "10000", "--ab", "127.0.0.1:2"], 20_000, Some("two servers")),
            (&["-r", "5", "--max-in-flight", "5000"], 4_096, Some("--max-in-flight 5000")),
            (&["--sweep", "--max-in-flight", "5000"], 4_096, Some("--max-in-flight 5000")),
            (&["-p", "grpc", "-r", "5", "--max-in-flight", "5000"], 256, None),
            (&["-p", "grpc", "--connections", "500"], 256, Some("--connections 500")),
        ] {
            match (most_in_flight(&parse(flags), files), flag) {
                (Ok(_), None) => {}
                (Err(Wrong::Usage(text)), Some(flag)) => {
                    assert!(text.contains(flag) && text.contains(&files.to_string()), "{flags:?}: {text}");
                }
                other => panic!("{flags:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn where_the_flags_do_not_say_it_is_as_many_as_fit() {
        for (flags, files, most) in [
            (&["-r", "5"][..], 20_000, 1024),
            (&["-r", "5"], 264, 200),
            (&["-r", "5"], 10, 1),
            (&["-p", "grpc", "-r", "5"], 264, 1024),
            (&["-r", "5", "--max-in-flight", "100"], 264, 100),
        ] {
            assert_eq!(most_in_flight(&parse(flags), files), Ok(most), "{flags:?} {files}");
        }
    }

    #[test]
    fn the_limit_is_raised_as_far_as_it_may_be() {
        let most = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        assert!(most_files() <= most && most_files() > RESERVE);
    }
}
