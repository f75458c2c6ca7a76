//! A connection on which a test writes every byte itself.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::wait::within;

/// A connection without a client.
pub struct Raw {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Raw {
    pub async fn connect(address: SocketAddr) -> Raw {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Raw { stream, read: Vec::new() }
    }

    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_write(bytes).await.unwrap();
    }

    pub async fn try_write(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        within("bytes to be taken", self.stream.write_all(bytes.as_ref())).await
    }

    /// The head of an HTTP/1.1 call in JSON, with the lines given besides.
    pub async fn write_head(&mut self, model: &str, lines: &str) {
        let head = format!(
            "POST /v2/models/{model}/infer HTTP/1.1\r\nhost: weirgate.test\r\ncontent-type: application/json\r\n{lines}\r\n"
        );
        self.write(head).await;
    }

    /// Reads until `done` finds what it looks for, or `None` where the server closes before.
    pub async fn read_until<T>(&mut self, done: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
        let reading = async {
            loop {
                if let Some(found) = done(&self.read) {
                    return Some(found);
                }
                match self.stream.read_buf(&mut self.read).await {
                    Ok(0) | Err(_) => return None,
                    Ok(_) => {}
                }
            }
        };
        within("bytes to come", reading).await
    }

    /// Reads one HTTP/1.1 answer with a content-length: its status, its head in lower case, and its body.
    pub async fn read_answer(&mut self) -> Option<(u16, String, String)> {
        self.read_until(|bytes| {
            let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
            let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
            let length =
                head.split("content-length: ").nth(1).map_or("0", |rest| rest.split_whitespace().next().unwrap());
            let body = bytes[end..].get(..length.parse().unwrap())?;
            Some((status, head, String::from_utf8(body.to_vec()).unwrap()))
        })
        .await
    }
}
