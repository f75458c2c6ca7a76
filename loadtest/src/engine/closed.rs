//! The closed loop: each caller sends its next request when it has the answer to the one before, and has thought.
//!
//! A request is due when its caller is free to send it. So a server that stalls holds its callers up, and what it did to
//! requests that would have come meanwhile is not seen: that takes an open loop.

use std::rc::Rc;
use std::time::Duration;

use super::schedule::later;
use super::sender::{Context, Sender};

/// The pause after a request that failed without an answer, doubled with each more up to the longest: a server that is
/// down is asked some times a second by each caller, not as fast as the machine can.
const PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// One caller, the `number`th of `callers` in all threads. It begins at once, and ends with the run.
pub(super) async fn call(context: Rc<Context>, mut sender: Sender, number: u64, callers: u64, think: Duration) {
    let mut arrivals = (number..).step_by(usize::try_from(callers).unwrap_or(usize::MAX));
    let mut due = context.schedule.start();
    let mut pause = Duration::ZERO;
    while let (Some(turn), Some(arrival)) = (context.comes(due).await, arrivals.next()) {
        context.recorder.borrow_mut().due(turn.due, turn.measured);
        let served = sender.serve(arrival, turn).await;
        pause = if served.broke { (pause * 2).clamp(PAUSE, LONGEST_PAUSE) } else { Duration::ZERO };
        due = later(served.done, think.saturating_add(pause));
    }
}
