//! What a server of ours grants to each gateway that is connected to it: a stream of JSON, a line for every change.
//!
//! Capacity is granted, not guessed: the server knows its engines, and how many gateways share them.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use http::StatusCode;
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};

use super::ask::{get, refusal};
use super::body::InBody;
use super::link::Link;

/// `GET` it over h2.
pub const PATH: &str = "/weirgate/v1/credits";
/// A line comes at least so often.
pub const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// A stream that says nothing for so long is lost.
pub const SILENCE: Duration = KEEP_ALIVE.saturating_mul(5);
/// The longest line, a reason for failure included.
pub const LONGEST_LINE: usize = 4 << 10;

/// One line: what this gateway may have running there at a time, and how the server is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credit {
    pub slots: usize,
    pub state: State,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The model is being loaded; calls wait.
    Loading,
    Ready,
    /// It takes no more calls, and leaves when those that it has are answered.
    Draining,
    /// The model could not be loaded, for a reason that is told.
    Failed,
}

/// A stream of credits.
pub(crate) struct Lines {
    body: InBody,
    unread: BytesMut,
}

/// Asks for the stream; an error says why there is none.
pub(crate) async fn open(link: &Link, patience: Duration) -> Result<Lines, String> {
    let asked = async { link.send(get(PATH)?).await.map_err(|fault| fault.error.to_string()) };
    let answer =
        tokio::time::timeout(patience, asked).await.unwrap_or_else(|_| Err(format!("no answer in {patience:?}")))?;
    if answer.status() != StatusCode::OK {
        return Err(format!("GET {PATH} answered {}", refusal(answer.status(), b"")));
    }
    Ok(Lines { body: answer.into_body(), unread: BytesMut::new() })
}

impl Lines {
    /// The next line; an error says how the stream ended. Nothing is lost where this is dropped while it waits.
    pub async fn next(&mut self) -> Result<Credit, String> {
        loop {
            if let Some(line) = take_line(&mut self.unread)? {
                return serde_json::from_slice(&line).map_err(|error| format!("a line of it can't be read: {error}"));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.unread.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(format!("it broke off: {error}")),
                None => return Err("it ended".to_owned()),
            }
        }
    }
}

fn take_line(unread: &mut BytesMut) -> Result<Option<BytesMut>, String> {
    match unread.iter().position(|byte| *byte == b'\n') {
        Some(end) => {
            let line = unread.split_to(end);
            unread.advance(1);
            Ok(Some(line))
        }
        None if unread.len() > LONGEST_LINE => Err(format!("a line of it has more than {LONGEST_LINE} bytes")),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_where_they_end_and_refused_where_they_do_not() {
        let mut unread = BytesMut::from("{\"slots\":4,\"state\":\"ready\"}\n{\"slots");
        let line = take_line(&mut unread).unwrap().unwrap();
        let credit: Credit = serde_json::from_slice(&line).unwrap();
        assert_eq!(credit, Credit { slots: 4, state: State::Ready, reason: None });
        assert_eq!(take_line(&mut unread), Ok(None));
        assert_eq!(&unread[..], b"{\"slots");
        unread.extend_from_slice(&[b' '; LONGEST_LINE]);
        assert!(take_line(&mut unread).is_err());
    }

    #[test]
    fn a_line_reads_as_it_was_written() {
        let failed = Credit { slots: 0, state: State::Failed, reason: Some("no such file".to_owned()) };
        let line = serde_json::to_string(&failed).unwrap();
        assert_eq!(line, r#"{"slots":0,"state":"failed","reason":"no such file"}"#);
        assert_eq!(serde_json::from_str::<Credit>(&line).unwrap(), failed);
    }
}
