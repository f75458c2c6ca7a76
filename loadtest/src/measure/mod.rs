//! From single requests to the figures of a run.
//!
//! ```text
//! histogram  times, and the quantiles that a result keeps
//! recorder   what one thread saw, as it sees it
//! grid       where windows begin
//! slice      one thread's part of a window
//! totals     all that was measured: of a thread, then of all
//! answers    what streams and servers tell beside their answers
//! windows    slices of all threads, merged
//! steady     whether the server has warmed up
//! cpu        what a thread has had of the cores
//! limits     whether the load tester was itself the limit
//! ```
//!
//! A request belongs to the warm-up or to the measured time by when it was *due*. So a stall that begins in measured
//! time counts whole, and what is due in measured time is awaited after its end. Only rates of answers count what *came*
//! in measured time, whenever it was due: under overload most of what was due is answered after the end.
//!
//! Latency is counted from when a request was due. In an open loop that is what a caller would see who comes at that
//! time, whatever becomes of others. In a closed loop a request is due when its caller is free: a server that stalls
//! holds its callers up, nothing is due meanwhile, and the stall hides in a single latency. That is what a naive load
//! tester reports, and `from_sent` shows it for an open loop as well.

mod answers;
mod cpu;
mod grid;
mod histogram;
mod limits;
mod recorder;
mod slice;
mod steady;
mod totals;
mod windows;

pub use self::cpu::Cpu;
pub use self::grid::Grid;
pub use self::histogram::Histogram;
pub use self::limits::{Observed, judge};
pub use self::recorder::{Ended, Recorder};
pub use self::slice::Slice;
pub use self::steady::{Seen, Steady};
pub use self::totals::Totals;
pub use self::windows::Windows;
