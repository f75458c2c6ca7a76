//! Whether whoever started this process is still there.
//!
//! It holds the other end of standard input, and keeps it open. The kernel closes it when that process ends, however it
//! ends. A parent's process id could be another's by the time it is looked at; a pipe's end can't.

use std::io::Read;

use tokio::sync::oneshot;

/// The parent, as long as it is there.
pub struct Parent(Option<oneshot::Receiver<()>>);

/// Watches standard input from now on, or nothing. The thread that does it waits in a read for as long as the process
/// lives: a read of standard input can't be called off.
pub fn watch(stop_at_eof: bool) -> Result<Parent, String> {
    if !stop_at_eof {
        return Ok(Parent(None));
    }
    let (gone, is_gone) = oneshot::channel();
    let read_on = move || {
        let (mut input, mut ignored) = (std::io::stdin().lock(), [0; 64]);
        // Whatever else is written there is for nobody; an error is an end, too.
        while input.read(&mut ignored).is_ok_and(|length| length > 0) {}
        let _ = gone.send(());
    };
    let thread = std::thread::Builder::new().name("parent".to_owned()).spawn(read_on);
    thread.map(|_| Parent(Some(is_gone))).map_err(|error| format!("no thread can watch standard input: {error}"))
}

impl Parent {
    /// Resolves when it is gone; never where it is not watched.
    pub async fn is_gone(&mut self) {
        match &mut self.0 {
            Some(is_gone) => {
                let _ = is_gone.await;
                self.0 = None;
            }
            None => std::future::pending().await,
        }
    }
}
