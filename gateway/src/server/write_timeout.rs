//! A connection that ends when its client stops reading: a write that makes no progress for too long is an error.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// A stream whose writes may stand still for so long. While they don't, there is no timer.
pub struct WriteTimeout<S> {
    stream: S,
    patience: Duration,
    stands: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncWrite + Unpin> WriteTimeout<S> {
    pub fn new(stream: S, patience: Duration) -> Self {
        WriteTimeout { stream, patience, stands: None }
    }

    fn poll_progress<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(result) = write(Pin::new(&mut self.stream), cx) {
            self.stands = None;
            return Poll::Ready(result);
        }
        let patience = self.patience;
        let stands = self.stands.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(stands.as_mut().poll(cx));
        let text = format!("the client has read nothing for {} s (flag --client-timeout)", patience.as_secs_f64());
        Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, text)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteTimeout<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteTimeout<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_progress(cx, |stream, cx| stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_progress(cx, |stream, cx| stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    // A socket has nothing to flush, so that this says nothing of its client.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_reader_that_stops_is_given_up() {
        let (server, _client) = tokio::io::duplex(64);
        let mut server = WriteTimeout::new(server, Duration::from_millis(10));
        server.write_all(&[0; 64]).await.unwrap();
        let error = server.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(error.to_string().contains("--client-timeout"), "{error}");
    }

    #[tokio::test]
    async fn every_byte_that_is_taken_begins_the_time_anew() {
        let (server, mut client) = tokio::io::duplex(64);
        let mut server = WriteTimeout::new(server, Duration::from_secs(3_600));
        server.write_all(&[0; 64]).await.unwrap();
        assert!(server.stands.is_none());
        let ended = tokio::time::timeout(Duration::from_millis(10), server.write_all(&[0; 64])).await;
        assert!(ended.is_err() && server.stands.is_some());
        client.read_exact(&mut [0; 32]).await.unwrap();
        server.write_all(&[0; 32]).await.unwrap();
        assert!(server.stands.is_none());
    }
}
