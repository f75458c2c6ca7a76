//! Ctrl-C ends a run early, so that what was measured is still told; a second one ends the program.

use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::Result;
use crate::engine::Stop;

/// What a shell reports of a program that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// Listens until dropped.
#[derive(Debug)]
pub(super) struct Interrupts {
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Interrupts {
    pub(super) fn listen(stop: Stop) -> Result<Interrupts> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (end, ended) = oneshot::channel();
        let thread = std::thread::Builder::new().name("interrupts".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = ended => {}
                    () = heed(&stop) => {}
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

async fn heed(stop: &Stop) {
    // Without a handler Ctrl-C ends the program at once, which is what is left then.
    while tokio::signal::ctrl_c().await.is_ok() {
        if stop.is_stopped() {
            std::process::exit(INTERRUPTED);
        }
        stop.stop();
    }
}
