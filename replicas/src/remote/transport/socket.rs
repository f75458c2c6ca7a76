//! A connection's bytes: TCP, a Unix socket, or TLS over TCP.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

use super::OpenSocket;

pub(in crate::remote) struct Socket {
    stream: Stream,
    /// Counts it as open.
    _open: OpenSocket,
}

pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Socket {
    pub(super) fn new(stream: Stream, open: OpenSocket) -> Socket {
        Socket { stream, _open: open }
    }

    /// A write that fails may have sent something all the same: what TLS makes of some bytes goes out in pieces.
    pub fn sends_on_failure(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// Bytes that were written and that the server's kernel has not acknowledged; none where that can't be known.
    pub fn unacknowledged(&self) -> Option<u64> {
        match &self.stream {
            Stream::Tcp(stream) => unacknowledged(stream),
            Stream::Unix(_) | Stream::Tls(_) => None,
        }
    }

    /// Whether the connection is open, and the server has said nothing that was not asked for. It asks the kernel: the
    /// reactor may not have heard yet.
    pub fn is_quiet(&mut self) -> bool {
        match &mut self.stream {
            Stream::Tcp(stream) => has_nothing_to_read(stream),
            Stream::Unix(stream) => has_nothing_to_read(stream),
            // A record may be a ticket, or a change of keys.
            Stream::Tls(stream) => has_nothing_to_read(stream.get_ref().0) || gives_nothing(stream),
        }
    }
}

fn has_nothing_to_read(socket: &impl AsFd) -> bool {
    recv(socket, &mut [0], RecvFlags::PEEK | RecvFlags::DONTWAIT) == Err(Errno::WOULDBLOCK)
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "the kernel's count of a socket's bytes in flight has no safe wrapper")]
fn unacknowledged(socket: &TcpStream) -> Option<u64> {
    use rustix::ioctl::{Getter, ioctl};
    /// `SIOCOUTQ` of Linux's `sockios.h`.
    const SIOCOUTQ: rustix::ioctl::Opcode = 0x5411;
    // SAFETY: the request's answer is an `int`, and this is a socket.
    let count = unsafe { ioctl(socket, Getter::<SIOCOUTQ, i32>::new()) };
    count.ok()?.try_into().ok()
}

#[cfg(not(target_os = "linux"))]
fn unacknowledged(_: &TcpStream) -> Option<u64> {
    None
}

fn gives_nothing(stream: &mut TlsStream<TcpStream>) -> bool {
    let mut byte = [0];
    Pin::new(stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut ReadBuf::new(&mut byte)).is_pending()
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// A socket, and its peer.
#[cfg(test)]
pub(in crate::remote) async fn pair() -> (Socket, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let open = std::sync::Arc::new(super::Counters::default()).opened();
    (Socket::new(Stream::Tcp(stream), open), listener.accept().unwrap().0)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_comes_after_the_end_is_known_not_to_have_arrived() {
        let (mut socket, peer) = pair().await;
        drop(peer);
        socket.write_all(b"lost").await.unwrap();
        assert_eq!((socket.read(&mut [0; 9]).await.unwrap(), socket.unacknowledged()), (0, Some(4)));

        let (mut socket, mut peer) = pair().await;
        socket.write_all(b"read").await.unwrap();
        peer.read_exact(&mut [0; 4]).unwrap();
        drop(peer);
        assert_eq!((socket.read(&mut [0; 9]).await.unwrap(), socket.unacknowledged()), (0, Some(0)));
    }

    #[tokio::test]
    async fn a_socket_is_quiet_until_its_peer_speaks_or_leaves() {
        use std::io::Write;
        let (mut socket, mut peer) = pair().await;
        assert!(socket.is_quiet());
        peer.write_all(b"x").unwrap();
        assert!(!socket.is_quiet());
        let (mut socket, peer) = pair().await;
        drop(peer);
        assert!(!socket.is_quiet());
    }
}
