//! How a test's upstream behaves: written into a file by the test, read by the upstream at each call.

use std::fmt;
use std::str::FromStr;

/// What an upstream does with a call. Probes are answered as usual, unless it says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// Executes it and answers.
    #[default]
    Answer,
    /// Executes it at once, and answers after so many milliseconds.
    Slow(u64),
    /// Answers with this status at once, and executes nothing.
    Fail(u16),
    /// Says by a header that it did not execute it.
    NotExecuted,
    /// Executes it, and never answers.
    Hang,
    /// Executes it, and resets the connection before a byte of the answer.
    Reset,
    /// Executes it, and resets the connection in the middle of the answer's body.
    ResetMidBody,
    /// Executes it, and ends a chunked body without its last chunk.
    Truncate,
    /// Executes it, and closes after half of the bytes that `content-length` tells.
    Short,
    /// Executes it, and answers with what is no HTTP.
    Garbage,
    /// Does not listen: connections are refused. Those that are open are closed with their next answer, which says so.
    Refuse,
    /// Probes are told that its model is not ready; calls are answered.
    Unready,
}

/// Those that are a word and nothing else.
const WORDS: [(&str, Behaviour); 10] = [
    ("answer", Behaviour::Answer),
    ("not-executed", Behaviour::NotExecuted),
    ("hang", Behaviour::Hang),
    ("reset", Behaviour::Reset),
    ("reset-mid-body", Behaviour::ResetMidBody),
    ("truncate", Behaviour::Truncate),
    ("short", Behaviour::Short),
    ("garbage", Behaviour::Garbage),
    ("refuse", Behaviour::Refuse),
    ("unready", Behaviour::Unready),
];

impl Behaviour {
    /// Whether a call is executed at all.
    pub fn executes(self) -> bool {
        !matches!(self, Behaviour::Fail(_) | Behaviour::NotExecuted)
    }
}

impl fmt::Display for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Behaviour::Slow(millis) => write!(f, "slow {millis}"),
            Behaviour::Fail(status) => write!(f, "fail {status}"),
            other => f.write_str(WORDS.iter().find(|(_, known)| known == other).map_or("", |(word, _)| word)),
        }
    }
}

impl FromStr for Behaviour {
    type Err = String;

    fn from_str(text: &str) -> Result<Behaviour, String> {
        let unknown = || format!("'{text}' is no behaviour");
        match text.trim().split_once(' ') {
            Some(("slow", millis)) => millis.parse().map(Behaviour::Slow).map_err(|_| unknown()),
            Some(("fail", status)) => status.parse().map(Behaviour::Fail).map_err(|_| unknown()),
            Some(_) => Err(unknown()),
            None => {
                let known = WORDS.iter().find(|(word, _)| *word == text.trim());
                known.map(|(_, behaviour)| *behaviour).ok_or_else(unknown)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_behaviour_is_read_as_it_was_written() {
        let all = WORDS.map(|(_, behaviour)| behaviour).into_iter();
        for behaviour in all.chain([Behaviour::Slow(20), Behaviour::Fail(500)]) {
            assert_eq!(behaviour.to_string().parse(), Ok(behaviour));
        }
        assert!("slow".parse::<Behaviour>().is_err() && "fail x".parse::<Behaviour>().is_err());
    }
}
