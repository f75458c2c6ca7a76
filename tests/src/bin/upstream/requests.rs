//! Requests off a connection.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One request, whole.
pub struct Request {
    pub method: String,
    pub path: String,
    /// In lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The client closes after it.
    pub is_last: bool,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

pub struct Requests {
    pub stream: TcpStream,
    input: Vec<u8>,
}

impl Requests {
    pub fn new(stream: TcpStream) -> Requests {
        Requests { stream, input: Vec::new() }
    }

    /// The next request; none where the client has closed or said what is no HTTP/1.1.
    pub async fn next(&mut self) -> Option<Request> {
        let length = loop {
            if let Some(at) = self.input.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await?;
        };
        let head: Vec<u8> = self.input.drain(..length).collect();
        let head = String::from_utf8(head).ok()?;
        let mut lines = head.split("\r\n");
        let mut first = lines.next()?.split(' ');
        let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
        let header = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        let headers: Vec<_> = lines.filter_map(header).collect();
        let mut request = Request { method, path, headers, body: Vec::new(), is_last: false };
        request.is_last = request.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if request.header("expect").is_some() {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.ok()?;
        }
        request.body = match request.header("transfer-encoding") {
            Some(_) => self.chunks().await?,
            None => {
                let length = request.header("content-length").map_or(Some(0), |length| length.parse().ok())?;
                self.take(length).await?
            }
        };
        Some(request)
    }

    async fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = loop {
                if let Some(at) = self.input.windows(2).position(|two| two == b"\r\n") {
                    break self.take(at + 2).await?;
                }
                self.more().await?;
            };
            let text = std::str::from_utf8(&line).ok()?.split(';').next()?.trim().to_owned();
            let length = usize::from_str_radix(&text, 16).ok()?;
            let chunk = self.take(length + 2).await?;
            if length == 0 {
                return Some(body);
            }
            body.extend_from_slice(&chunk[..length]);
        }
    }

    async fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.input.len() < length {
            self.more().await?;
        }
        Some(self.input.drain(..length).collect())
    }

    async fn more(&mut self) -> Option<()> {
        let read = self.stream.read_buf(&mut self.input).await.ok()?;
        (read > 0).then_some(())
    }
}
