//! What was read and not yet taken.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// Enough for most answers whole. A read that does not fill the buffer also spares the next one a system call, as it
/// says that nothing is left.
const FIRST: usize = 8 << 10;
/// Grows up to this where reads fill it.
pub(super) const MOST: usize = 128 << 10;

#[derive(Debug)]
pub(super) struct Input {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    pub(super) fn new() -> Input {
        Input { buffer: vec![0; FIRST], start: 0, end: 0 }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Forgets the first `count` bytes.
    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// One read; zero at the end of the stream. There is room as long as less than `MOST` bytes are left in it, which the
    /// caps on heads and lines see to.
    pub(super) fn poll_fill(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.end == self.buffer.len() {
            self.make_room();
        }
        let mut free = ReadBuf::new(&mut self.buffer[self.end..]);
        ready!(Pin::new(stream).poll_read(cx, &mut free))?;
        let length = free.filled().len();
        self.end += length;
        if self.end == self.buffer.len() && self.buffer.len() < MOST {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        Poll::Ready(Ok(length))
    }

    fn make_room(&mut self) {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
    }
}
