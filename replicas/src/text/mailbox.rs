//! The way of an answer from the engine's thread to its reader.
//!
//! Pieces that wait are joined: a reader that comes late gets all there is at once, and the engine never waits for one.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use weirgate_protocol::Error;

use super::answer::{FinishReason, Finished, GenerationTiming, Part, Piece, Usage};

struct Mailbox {
    waiting: Mutex<Waiting>,
    reader_gone: AtomicBool,
    /// Bytes of text that may wait.
    limit: usize,
}

#[derive(Default)]
struct Waiting {
    piece: Piece,
    finished: Option<Finished>,
    /// Of a reader that has found nothing.
    reader: Option<Waker>,
}

/// The engine's end.
pub(super) struct Outlet {
    mailbox: Arc<Mailbox>,
    finished: bool,
}

/// A caller's end: the parts of an answer, as they come. Dropping it takes the sequence out.
pub struct Generation {
    mailbox: Arc<Mailbox>,
    over: bool,
}

/// So many bytes wait for a reader, more than may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unread {
    pub bytes: usize,
    pub limit: usize,
}

pub(super) fn mailbox(limit: usize) -> (Outlet, Generation) {
    let mailbox = Arc::new(Mailbox { waiting: Mutex::default(), reader_gone: AtomicBool::new(false), limit });
    (Outlet { mailbox: mailbox.clone(), finished: false }, Generation { mailbox, over: false })
}

impl Outlet {
    /// Adds to what waits for the reader. Where that is too much, nothing is added.
    pub fn push(&mut self, text: &str, tokens: usize) -> Result<(), Unread> {
        let Mailbox { waiting, limit, .. } = &*self.mailbox;
        let mut waiting = waiting.lock();
        let bytes = waiting.piece.text.len() + text.len();
        if bytes > *limit {
            return Err(Unread { bytes, limit: *limit });
        }
        waiting.piece.text.push_str(text);
        waiting.piece.tokens += tokens;
        // Tokens without text are no news, and who was told of text before is not told again.
        let reader = if text.is_empty() { None } else { waiting.reader.take() };
        drop(waiting);
        wake(reader);
        Ok(())
    }

    /// The last of the text, which is let in whatever waits, and the end.
    pub fn finish(mut self, text: &str, tokens: usize, finished: Finished) {
        let mut waiting = self.mailbox.waiting.lock();
        waiting.piece.text.push_str(text);
        waiting.piece.tokens += tokens;
        waiting.finished = Some(finished);
        let reader = waiting.reader.take();
        drop(waiting);
        self.finished = true;
        wake(reader);
    }

    /// Nobody will read what comes.
    pub fn reader_gone(&self) -> bool {
        self.mailbox.reader_gone.load(Ordering::Relaxed)
    }
}

impl Drop for Outlet {
    /// Whatever became of the engine's thread, its readers are told.
    fn drop(&mut self) {
        if !self.finished {
            let error = Error::engine("the engine went away while it held the call");
            let reason = FinishReason::Failed(error);
            let (usage, timing) = (Usage::default(), GenerationTiming::default());
            let mut waiting = self.mailbox.waiting.lock();
            waiting.finished = Some(Finished { reason, usage, timing });
            let reader = waiting.reader.take();
            drop(waiting);
            wake(reader);
        }
    }
}

/// Without the mailbox's lock: whoever is woken may want it at once.
fn wake(reader: Option<Waker>) {
    if let Some(reader) = reader {
        reader.wake();
    }
}

impl Generation {
    /// The next part, with all text that has come since the one before; `None` after the end. It loses nothing where it is
    /// dropped before it is ready.
    pub async fn next(&mut self) -> Option<Part> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The same, polled.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Part>> {
        if self.over {
            return Poll::Ready(None);
        }
        let mut waiting = self.mailbox.waiting.lock();
        if let Some(part) = waiting.take() {
            self.over = matches!(part, Part::Finished(_));
            return Poll::Ready(Some(part));
        }
        match &mut waiting.reader {
            Some(reader) => reader.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Waiting {
    fn take(&mut self) -> Option<Part> {
        if !self.piece.text.is_empty() || (self.piece.tokens > 0 && self.finished.is_some()) {
            return Some(Part::Text(std::mem::take(&mut self.piece)));
        }
        self.finished.take().map(Part::Finished)
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.mailbox.reader_gone.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished() -> Finished {
        let reason = FinishReason::Failed(Error::cancelled("for a test"));
        Finished { reason, usage: Usage::default(), timing: GenerationTiming::default() }
    }

    fn text(text: &str, tokens: usize) -> Option<Part> {
        Some(Part::Text(Piece { text: text.to_owned(), tokens }))
    }

    #[tokio::test]
    async fn what_waits_is_joined_and_the_end_comes_last() {
        let (mut outlet, mut generation) = mailbox(100);
        for piece in ["a", "", "b"] {
            outlet.push(piece, 1).unwrap();
        }
        assert_eq!(generation.next().await, text("ab", 3));
        outlet.push("", 1).unwrap();
        outlet.finish("", 1, finished());
        assert_eq!(generation.next().await, text("", 2), "tokens without text are counted");
        assert_eq!(generation.next().await, Some(Part::Finished(finished())));
        assert_eq!(generation.next().await, None);
    }

    #[tokio::test]
    async fn a_reader_that_waits_is_woken_by_text_and_by_the_end() {
        let (mut outlet, mut generation) = mailbox(100);
        let reader = async {
            let first = generation.next().await;
            (first, generation.next().await)
        };
        let writer = async {
            tokio::task::yield_now().await;
            outlet.push("", 1).unwrap();
            tokio::task::yield_now().await;
            outlet.push("a", 1).unwrap();
            tokio::task::yield_now().await;
            outlet.finish("", 0, finished());
        };
        let ((first, second), ()) = tokio::join!(reader, writer);
        assert_eq!((first, second), (text("a", 2), Some(Part::Finished(finished()))));
    }

    #[tokio::test]
    async fn what_nobody_reads_is_bounded_and_nothing_of_it_is_lost() {
        let (mut outlet, mut generation) = mailbox(4);
        outlet.push("abc", 1).unwrap();
        assert_eq!(outlet.push("de", 1), Err(Unread { bytes: 5, limit: 4 }));
        outlet.finish("", 0, finished());
        assert_eq!(generation.next().await, text("abc", 1));
    }

    #[tokio::test]
    async fn ends_that_go_are_noticed() {
        let (outlet, generation) = mailbox(4);
        assert!(!outlet.reader_gone());
        drop(generation);
        assert!(outlet.reader_gone());
        let (outlet, mut generation) = mailbox(4);
        drop(outlet);
        let Some(Part::Finished(finished)) = generation.next().await else { panic!("there is no text") };
        assert_eq!(finished.reason.label(), "engine_failed");
    }
}
