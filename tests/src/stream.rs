//! A client of calls that stream both ways, on a connection of its own.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::grpc::{OK, Refused, frame, status};
use crate::wait::within;

/// One open call.
pub struct Stream {
    sender: Option<mpsc::Sender<Bytes>>,
    answer: Incoming,
    /// Bytes of the answer that are no whole message yet.
    read: BytesMut,
    trailers: HeaderMap,
    _driver: JoinSet<()>,
}

impl Stream {
    /// Opens a call of `path`, with this metadata.
    pub async fn open(address: SocketAddr, path: &str, metadata: &[(&str, &str)]) -> Stream {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (mut client, connection) = handshake.unwrap();
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            let _ = connection.await;
        });
        let (sender, pieces) = mpsc::channel(1);
        let mut request = Request::post(format!("http://weirgate.test{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in metadata {
            request = request.header(*name, *value);
        }
        let answer = client.send_request(request.body(Pieces(pieces)).unwrap());
        let answer = within("the head of a stream's answer", answer).await.unwrap();
        assert_eq!(answer.status(), 200);
        // A call that is refused at once has its status in the head.
        let trailers = answer.headers().clone();
        Stream { sender: Some(sender), answer: answer.into_body(), read: BytesMut::new(), trailers, _driver: driver }
    }

    /// Sends bytes as they are.
    pub async fn send_bytes(&self, bytes: impl Into<Bytes>) {
        let sender = self.sender.as_ref().expect("the stream is not closed");
        within("room for a message", sender.send(bytes.into())).await.expect("the stream is open");
    }

    pub async fn send(&self, message: &impl Message) {
        self.send_bytes(frame(0, &message.encode_to_vec())).await;
    }

    /// Says that nothing more is sent.
    pub fn close(&mut self) {
        self.sender = None;
    }

    /// The next message; `None` after the last.
    pub async fn next<M: Message + Default>(&mut self) -> Option<M> {
        let (flag, message) = self.next_frame().await?;
        assert_eq!(flag, 0, "the message is compressed");
        Some(M::decode(message).unwrap())
    }

    /// The next message with its flag.
    pub async fn next_frame(&mut self) -> Option<(u8, Bytes)> {
        loop {
            if let Some(message) = take_message(&mut self.read) {
                return Some(message);
            }
            let frame = within("a message of the stream", self.answer.frame()).await?;
            match frame.expect("the stream is not cut off").into_data() {
                Ok(data) => self.read.extend_from_slice(&data),
                Err(frame) => self.trailers = frame.into_trailers().unwrap(),
            }
        }
    }

    /// The status that the stream ends with; there must be no message before it.
    pub async fn end(&mut self) -> Result<(), Refused> {
        assert_eq!(self.next_frame().await, None, "the stream goes on");
        let status = status(&self.trailers);
        if status.code == OK { Ok(()) } else { Err(status) }
    }
}

fn take_message(read: &mut BytesMut) -> Option<(u8, Bytes)> {
    let &[flag, a, b, c, d] = read.first_chunk()?;
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if read.len() < 5 + length {
        return None;
    }
    read.advance(5);
    Some((flag, read.split_to(length).freeze()))
}

/// A body of what is sent, piece by piece.
struct Pieces(mpsc::Receiver<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}
