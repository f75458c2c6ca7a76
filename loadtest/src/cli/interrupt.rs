//! Ctrl-C ends a run early, so that what was measured is still told; a second one ends the program.

use std::io::{IsTerminal, Write};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::Result;
use crate::engine::{GRACE, Stop};

/// What a shell reports of a program that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// Listens until dropped.
#[derive(Debug)]
pub(super) struct Interrupts {
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Interrupts {
    /// `timeout` is that of requests.
    pub(super) fn listen(stop: Stop, timeout: Duration) -> Result<Interrupts> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (end, ended) = oneshot::channel();
        let thread = std::thread::Builder::new().name("interrupts".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = ended => {}
                    () = heed(&stop, timeout) => {}
                }
            });
        })?;
        Ok(Interrupts { end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn heed(stop: &Stop, timeout: Duration) {
    // Without a handler Ctrl-C ends the program at once, which is what is left then.
    while tokio::signal::ctrl_c().await.is_ok() {
        if stop.is_stopped() {
            std::process::exit(INTERRUPTED);
        }
        stop.stop();
        // Where progress renews a line, this takes its place.
        let clear = if std::io::stderr().is_terminal() { "\r\x1b[2K" } else { "" };
        let wait = humantime::format_duration(GRACE.min(timeout));
        let text =
            format!("{clear}stopping: waiting at most {wait} for the last answers; press again to end at once\n");
        // Whoever closed standard error doesn't want to be told.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}
