//! Work on large bodies: done in turn, and where it does not hold up the other connections of a thread.

use std::num::NonZeroUsize;
use std::sync::LazyLock;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::Semaphore;
use weirgate_protocol::{Error, ErrorCode, Result, RetryClass};

use super::body::BodyLimit;
use super::codings::Codings;

/// Bodies above this are decoded where it does not hold up the other connections of a thread.
const LARGE_BODY: usize = 256 << 10;

/// Large bodies are decoded, and large answers encoded, as many at a time as there are CPUs: more would only take memory.
/// Who waits for a turn waits no longer than its deadline.
static LARGE_WORK: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(std::thread::available_parallelism().map_or(1, NonZeroUsize::get)));

/// A body without its codings, behind `framing` bytes: undone at once where little comes out, and else as large work. `cover` as in
/// [`decompress`](crate::server::encoding::decompress).
pub async fn undo_codings(
    (codings, framing): (Codings, usize),
    bytes: Bytes,
    limit: BodyLimit,
    deadline: Instant,
    mut cover: impl FnMut(usize) -> Result<()>,
) -> Result<Bytes> {
    if codings.is_identity() {
        return Ok(bytes);
    }
    // What comes out shows only on the way: what turns out to be much begins anew.
    let little = BodyLimit { bytes: limit.bytes.min(LARGE_BODY), ..limit };
    if bytes.len() < LARGE_BODY {
        match codings.undo_framed(bytes.clone(), framing, little, &mut cover) {
            Err(error) if error.code() == ErrorCode::TooLarge && little != limit => {}
            undone => return undone,
        }
    }
    let undo = || codings.undo_framed(bytes, framing, limit, cover);
    in_place(LARGE_BODY, deadline, RetryClass::NotExecuted, undo).await
}

/// Runs `work` on so many bytes: at once where they are few, else in turn and without the other connections of the thread.
/// An error where its turn does not come before `deadline`; `retry` is what that means for the caller.
pub async fn in_place<T>(
    bytes: usize,
    deadline: Instant,
    retry: RetryClass,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    if bytes < LARGE_BODY {
        return work();
    }
    // The semaphore is never closed; without a permit the work is done all the same.
    let turn = tokio::time::timeout_at(deadline.into(), LARGE_WORK.acquire()).await;
    let _turn = turn.map_err(|_| Error::deadline("the deadline passed while the call waited for a CPU", retry))?;
    tokio::task::block_in_place(work)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::server::encoding::{Encoding, compress};

    const LIMIT: BodyLimit = BodyLimit { bytes: 1 << 20, set_by: "test" };

    /// What an encoded body of zeros becomes within a moment.
    async fn undone(length: usize) -> Result<usize> {
        let packed = compress(Encoding::Gzip, &[vec![0; length].into()])?;
        let deadline = Instant::now() + Duration::from_millis(20);
        undo_codings((Encoding::Gzip.into(), 0), packed, LIMIT, deadline, |_| Ok(())).await.map(|bytes| bytes.len())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn only_large_bodies_wait_for_a_turn_and_no_longer_than_their_deadline() {
        let turns = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        assert_eq!(undone(2 * LARGE_BODY).await, Ok(2 * LARGE_BODY));
        let _all = LARGE_WORK.acquire_many(turns as u32).await.unwrap();
        assert_eq!(undone(100).await, Ok(100));
        assert_eq!(undone(LARGE_BODY).await, Ok(LARGE_BODY));
        assert_eq!(undone(LARGE_BODY + 1).await.unwrap_err().code(), ErrorCode::DeadlineExceeded);
    }
}
