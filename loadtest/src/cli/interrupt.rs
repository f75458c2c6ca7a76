//! Ctrl-C and SIGTERM end a run early, so that what was measured is still told; a second one ends the program.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::Result;
use crate::engine::{GRACE, Stop};

/// What a shell reports of a program that SIGINT or SIGTERM ended.
const BY_SIGINT: u8 = 130;
const BY_SIGTERM: u8 = 143;

/// Listens until dropped.
#[derive(Debug)]
pub(super) struct Interrupts {
    /// The exit code of the signal that came; 0 before one did.
    code: Arc<AtomicU8>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Interrupts {
    /// `timeout` is that of requests.
    pub(super) fn listen(stop: Stop, timeout: Duration) -> Result<Interrupts> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (end, ended) = oneshot::channel();
        let code = Arc::new(AtomicU8::new(0));
        let came = code.clone();
        let thread = std::thread::Builder::new().name("interrupts".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = ended => {}
                    () = heed(&stop, timeout, &came) => {}
                }
            });
        })?;
        Ok(Interrupts { code, end: Some(end), thread: Some(thread) })
    }

    /// What to exit with, if a signal ended the run.
    pub(super) fn code(&self) -> Option<u8> {
        Some(self.code.load(Ordering::Relaxed)).filter(|code| *code != 0)
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

async fn heed(stop: &Stop, timeout: Duration, came: &AtomicU8) {
    // Without a handler a signal ends the program at once, which is what is left then.
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    loop {
        let code = tokio::select! {
            Some(()) = interrupt.recv() => BY_SIGINT,
            Some(()) = terminate.recv() => BY_SIGTERM,
            else => return,
        };
        if came.swap(code, Ordering::Relaxed) != 0 {
            std::process::exit(code.into());
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
