//! What the engine's thread is told by others: who came, and that it is to end.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use weirgate_protocol::{Error, Result};
use weirgate_replicas_core::tokens::NewSequence;

use super::engine::EngineEnd;
use super::executor::Live;

/// When a caller that was refused for a full queue may ask again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A request on its way to the engine's thread.
pub(super) struct Submission {
    pub new: NewSequence,
    pub live: Live,
}

/// How long an engine goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Serving,
    /// It takes no more, and ends once it has nothing left.
    Draining,
    /// It ends before its next step.
    Stopping,
    Ended(EngineEnd),
}

impl Phase {
    /// Whether calls are taken; else why not.
    pub fn check(&self) -> Result<()> {
        match self {
            Phase::Serving => Ok(()),
            Phase::Draining | Phase::Stopping | Phase::Ended(EngineEnd::Stopped) => {
                Err(Error::unavailable("the engine is being stopped, and takes no more calls"))
            }
            Phase::Ended(EngineEnd::Failed(reason)) => {
                Err(Error::unavailable(format!("the engine has ended: {reason}: it is to be replaced")))
            }
        }
    }
}

pub(super) struct Inbox {
    state: Mutex<State>,
    wake: Condvar,
    /// Submissions that may wait here, and their tokens; one alone always may.
    most: usize,
    most_tokens: usize,
}

struct State {
    submissions: VecDeque<Submission>,
    tokens: usize,
    phase: Phase,
}

impl Inbox {
    pub fn new(most: usize, most_tokens: usize) -> Inbox {
        let state = State { submissions: VecDeque::new(), tokens: 0, phase: Phase::Serving };
        Inbox { state: Mutex::new(state), wake: Condvar::new(), most, most_tokens }
    }

    pub fn submit(&self, submission: Submission) -> Result<()> {
        let mut state = self.state.lock();
        state.phase.check()?;
        let (count, held, tokens) = (state.submissions.len(), state.tokens, submission.new.prompt.len());
        if count >= self.most {
            let text = format!("{count} sequences wait already, which is the limit; try again later");
            return Err(Error::queue_full(text, RETRY_AFTER));
        }
        if count > 0 && held.saturating_add(tokens) > self.most_tokens {
            let text = format!(
                "the prompts that wait have {held} tokens, and {tokens} more would pass the limit of {}; try again later",
                self.most_tokens
            );
            return Err(Error::queue_full(text, RETRY_AFTER));
        }
        state.tokens += tokens;
        state.submissions.push_back(submission);
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// How many wait here.
    pub fn len(&self) -> usize {
        self.state.lock().submissions.len()
    }

    pub fn drain(&self) {
        let mut state = self.state.lock();
        if state.phase == Phase::Serving {
            state.phase = Phase::Draining;
        }
        drop(state);
        self.wake.notify_one();
    }

    pub fn stop(&self) {
        let mut state = self.state.lock();
        if matches!(state.phase, Phase::Serving | Phase::Draining) {
            state.phase = Phase::Stopping;
        }
        drop(state);
        self.wake.notify_one();
    }

    /// All that came, and how long the engine goes on. Where `idle`, it waits until there is something.
    pub fn take(&self, idle: bool) -> (VecDeque<Submission>, Phase) {
        let mut state = self.state.lock();
        while idle && state.submissions.is_empty() && state.phase == Phase::Serving {
            self.wake.wait(&mut state);
        }
        state.tokens = 0;
        (std::mem::take(&mut state.submissions), state.phase.clone())
    }

    /// The engine has ended: what is left, and nothing more can come.
    pub fn close(&self, end: EngineEnd) -> VecDeque<Submission> {
        let mut state = self.state.lock();
        state.phase = Phase::Ended(end);
        std::mem::take(&mut state.submissions)
    }
}
