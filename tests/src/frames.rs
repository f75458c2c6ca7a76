//! An h2 connection on which a test writes every frame itself.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::wait::within;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// The settings that say how much of each answer may be sent unasked, and how large a frame may be.
pub const INITIAL_WINDOW: u16 = 4;

/// A frame: nine bytes of head, and the payload.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

pub fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> =
        values.iter().flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
    frame(SETTINGS, 0, 0, &payload)
}

/// Fields as HPACK writes them when it knows nothing. Names and values have less than 127 bytes.
pub fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let field = |(name, value): &(&str, &str)| {
        assert!(name.len() < 127 && value.len() < 127);
        [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
    };
    fields.iter().flat_map(field).collect()
}

/// The head of a request.
pub fn head(method: &str, path: &str) -> Vec<u8> {
    fields(&[(":method", method), (":path", path), (":scheme", "http"), (":authority", "weirgate.test")])
}

/// What the server sent, less what it was answered at once.
#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// A connection without a client.
pub struct Frames {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
}

impl Frames {
    /// Opens a connection and says with which settings.
    pub async fn connect(address: SocketAddr, values: &[(u16, u32)]) -> Frames {
        let (reader, writer) = TcpStream::connect(address).await.unwrap().into_split();
        let mut frames = Frames { reader, writer };
        let preface = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &settings(values)].concat();
        frames.write(&preface).await.unwrap();
        // The server's windows hold once its settings are acknowledged, and that of the connection once it has told it.
        let first = frames.read().await.expect("the server's settings");
        assert_eq!(first.kind, SETTINGS);
        frames.write(&frame(SETTINGS, ACK, 0, &[])).await.unwrap();
        while frames.read().await.expect("the connection's window").kind != WINDOW_UPDATE {}
        frames
    }

    pub async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        within("bytes to be taken", self.writer.write_all(bytes)).await
    }

    /// A whole call for tensors in JSON.
    pub async fn infer(&mut self, stream: u32, model: &str, body: &[u8]) -> std::io::Result<()> {
        let head = head("POST", &format!("/v2/models/{model}/infer"));
        let mut bytes = frame(HEADERS, END_HEADERS, stream, &head);
        let pieces = body.chunks(16 << 10);
        let last = pieces.len() - 1;
        for (number, piece) in pieces.enumerate() {
            bytes.extend(frame(DATA, if number == last { END_STREAM } else { 0 }, stream, piece));
        }
        self.write(&bytes).await
    }

    /// The next frame; `None` where the server has closed. Pings are answered, and settings acknowledged.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            let next = self.read().await?;
            match next.kind {
                PING | SETTINGS if next.flags & ACK != 0 => {}
                // Where the server has closed meanwhile, reading will say so.
                PING => drop(self.write(&frame(PING, ACK, 0, &next.payload)).await),
                SETTINGS => drop(self.write(&frame(SETTINGS, ACK, 0, &[])).await),
                _ => return Some(next),
            }
        }
    }

    async fn read(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        within("a frame to come", self.reader.read_exact(&mut head)).await.ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        within("a frame's payload to come", self.reader.read_exact(&mut payload)).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// Reads until the server closes, and returns the frames that it sent.
    pub async fn closed(&mut self) -> Vec<Frame> {
        let reading = async {
            let mut frames = Vec::new();
            while let Some(frame) = self.next().await {
                frames.push(frame);
            }
            frames
        };
        within("the server to close", reading).await
    }
}
