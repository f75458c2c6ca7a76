//! What the connections to a target are at in all threads: how many are open, who waits, how much is kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::Failure;

/// Most bytes that are kept at once of bodies, and of the text of streams, that are still coming.
const MOST_KEPT: usize = 1 << 30;

/// Of one target. Touched where connections open and close, where requests wait and where bodies are kept: never by a plain
/// call.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    opened: AtomicUsize,
    open: Gauge,
    waiting: Gauge,
    kept: AtomicUsize,
}

/// What became of the connections to a target since it was asked last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were opened.
    pub opened: usize,
    /// Most that were open at once.
    pub most_open: usize,
    /// Most requests at once that waited for a free stream, as their HTTP/2 connection had as many as the server allows.
    pub most_waiting: usize,
}

#[derive(Debug, Default)]
struct Gauge {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Gauge {
    fn up(&self) {
        let now = self.now.fetch_add(1, Relaxed) + 1;
        self.most.fetch_max(now, Relaxed);
    }

    fn down(&self) {
        self.now.fetch_sub(1, Relaxed);
    }

    /// The most since it was asked last.
    fn take_most(&self) -> usize {
        self.most.swap(self.now.load(Relaxed), Relaxed)
    }
}

impl Gauges {
    pub(super) fn take(&self) -> Counts {
        Counts {
            opened: self.opened.swap(0, Relaxed),
            most_open: self.open.take_most(),
            most_waiting: self.waiting.take_most(),
        }
    }

    /// A socket is open, until what is returned is dropped.
    pub(super) fn open(self: &Arc<Gauges>) -> OpenSocket {
        self.opened.fetch_add(1, Relaxed);
        self.open.up();
        OpenSocket(self.clone())
    }

    /// A request waits for a stream, until what is returned is dropped.
    pub(super) fn waits(&self) -> Waiting<'_> {
        self.waiting.up();
        Waiting(self)
    }
}

#[derive(Debug)]
pub(super) struct OpenSocket(Arc<Gauges>);

impl Drop for OpenSocket {
    fn drop(&mut self) {
        self.0.open.down();
    }
}

#[derive(Debug)]
pub(super) struct Waiting<'a>(&'a Gauges);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.down();
    }
}

/// What one answer has of the bytes that may be kept. They are free again when it is dropped.
#[derive(Debug)]
pub(super) struct Kept<'a> {
    gauges: &'a Gauges,
    bytes: usize,
}

impl<'a> Kept<'a> {
    pub(super) fn new(gauges: &'a Gauges) -> Kept<'a> {
        Kept { gauges, bytes: 0 }
    }

    /// Asks for room until there is some for so many bytes in all.
    pub(super) fn grow_to(&mut self, bytes: usize) -> Result<(), Failure> {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return Ok(());
        }
        let before = self.gauges.kept.fetch_add(more, Relaxed);
        self.bytes += more;
        if before + more > MOST_KEPT {
            return Err(Failure::TooBig(format!("{MOST_KEPT} bytes in all that are in flight")));
        }
        Ok(())
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.gauges.kept.fetch_sub(self.bytes, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_begin_anew_from_what_is_open() {
        let gauges = Arc::new(Gauges::default());
        let (first, second) = (gauges.open(), gauges.open());
        drop(first);
        let third = gauges.open();
        drop(third);
        drop(gauges.waits());
        assert_eq!(gauges.take(), Counts { opened: 3, most_open: 2, most_waiting: 1 });
        assert_eq!(gauges.take(), Counts { opened: 0, most_open: 1, most_waiting: 0 });
        drop(second);
        gauges.take();
        assert_eq!(gauges.take(), Counts::default());
    }

    #[test]
    fn what_is_kept_at_once_has_a_cap() {
        let gauges = Gauges::default();
        let mut first = Kept::new(&gauges);
        assert_eq!(first.grow_to(MOST_KEPT), Ok(()));
        assert_eq!(first.grow_to(MOST_KEPT), Ok(()));
        let mut second = Kept::new(&gauges);
        assert!(matches!(second.grow_to(1), Err(Failure::TooBig(_))));
        drop((first, second));
        assert_eq!(Kept::new(&gauges).grow_to(MOST_KEPT), Ok(()));
    }
}
