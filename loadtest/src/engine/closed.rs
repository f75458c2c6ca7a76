//! The closed loop: each caller sends its next request when it has the answer to the one before, and has thought.
//!
//! A request is due when its caller is free to send it. So a server that stalls holds its callers up, and what it did to
//! requests that would have come meanwhile is not seen: that takes an open loop.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::schedule::later;
use super::sender::{Context, Sender};

/// The pause after a request that failed without an answer, doubled with each more up to the longest: a server that is
/// down is asked some times a second by each caller, not as fast as the machine can.
const PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// One caller. It begins at once, and ends with the run.
///
/// All callers take what is asked from one sequence: who is answered quickly asks more of it, and each of it is asked
/// equally often.
pub(super) async fn call(context: Rc<Context>, mut sender: Sender, think: Duration) {
    let mut due = context.schedule.start();
    let mut pause = Duration::ZERO;
    loop {
        let request = context.workload.request(context.run, context.schedule.next_number());
        // That it takes time to make a request is no latency.
        let Some(turn) = context.comes(due.max(Instant::now())).await else { return };
        context.recorder.borrow_mut().due(turn.due, turn.measured);
        let served = sender.serve(request, turn).await;
        pause = if served.broke { (pause * 2).clamp(PAUSE, LONGEST_PAUSE) } else { Duration::ZERO };
        context.recorder.borrow_mut().pauses(pause, turn.measured);
        due = later(served.done, think.saturating_add(pause));
    }
}
