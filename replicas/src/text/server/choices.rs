//! The generations of one request, one for each prompt.

use std::future::poll_fn;
use std::task::{Context, Poll};

use weirgate_protocol::Error;
use weirgate_protocol::openai::{FinishReason, Usage};

use crate::text::answer::{self, Part};
use crate::text::mailbox::Generation;

/// What came of one of them.
pub(super) struct News {
    pub index: usize,
    pub part: Came,
}

pub(super) enum Came {
    /// Text, of so many tokens.
    Text(String, usize),
    Finished(FinishReason, Usage),
    /// It has failed, and with it the request.
    Failed(Error),
}

/// Generations that run. Dropping them takes their sequences out.
pub(super) struct Choices {
    /// None of those that have ended.
    running: Vec<Option<Generation>>,
    /// Where the next look begins, so that none is always heard first.
    next: usize,
}

impl Choices {
    pub fn new(running: Vec<Generation>) -> Choices {
        Choices { running: running.into_iter().map(Some).collect(), next: 0 }
    }

    /// How many there are, those that have ended too.
    pub fn count(&self) -> usize {
        self.running.len()
    }

    /// The next part of any of them; `None` when all have ended.
    pub async fn next(&mut self) -> Option<News> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<News>> {
        let count = self.running.len();
        let mut all_ended = true;
        for index in (0..count).map(|step| (self.next + step) % count) {
            let Some(generation) = &mut self.running[index] else { continue };
            all_ended = false;
            let Poll::Ready(part) = generation.poll_next(cx) else { continue };
            let part = match part {
                Some(Part::Text(piece)) => Came::Text(piece.text, piece.tokens),
                Some(Part::Finished(finished)) => ended(finished),
                // An end always comes first.
                None => Came::Failed(Error::internal("an answer ended without saying why")),
            };
            if !matches!(part, Came::Text(..)) {
                self.running[index] = None;
            }
            self.next = index + 1;
            return Poll::Ready(Some(News { index, part }));
        }
        if all_ended { Poll::Ready(None) } else { Poll::Pending }
    }
}

fn ended(finished: answer::Finished) -> Came {
    let answer::Usage { prompt_tokens, cached_tokens, new_tokens } = finished.usage;
    let usage = Usage { prompt_tokens, cached_tokens, completion_tokens: new_tokens };
    match finished.reason {
        answer::FinishReason::Stop(_) => Came::Finished(FinishReason::Stop, usage),
        answer::FinishReason::Length(_) => Came::Finished(FinishReason::Length, usage),
        answer::FinishReason::Failed(error) => Came::Failed(error),
    }
}
