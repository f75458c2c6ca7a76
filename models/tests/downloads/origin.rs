//! A web server that fails as it is told to.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A request, as far as the tests look at it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub path: String,
    pub range: Option<String>,
    pub if_range: Option<String>,
    pub if_none_match: Option<String>,
    pub authorization: Option<String>,
}

/// What is sent, and what happens then.
pub struct Reply {
    pub head: String,
    pub body: Vec<u8>,
    /// The connection stays open and silent, instead of being closed.
    pub hold: bool,
}

type Behaviour = dyn Fn(usize, &Seen) -> Reply + Send + Sync;

/// Answers one request per connection by its behaviour, which is given the request's number, from 0.
pub struct Origin {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    behaviour: Box<Behaviour>,
    seen: Mutex<Vec<Seen>>,
    held: Mutex<Vec<TcpStream>>,
    ends: AtomicBool,
}

impl Origin {
    pub fn start(behaviour: impl Fn(usize, &Seen) -> Reply + Send + Sync + 'static) -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, held, ends) = Default::default();
        let shared = Arc::new(Shared { behaviour: Box::new(behaviour), seen, held, ends });
        let thread = std::thread::spawn({
            let shared = shared.clone();
            move || {
                for stream in listener.incoming() {
                    if shared.ends.load(Ordering::Acquire) {
                        return;
                    }
                    shared.answer(stream.unwrap());
                }
            }
        });
        Origin { address, shared, thread: Some(thread) }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What was asked so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }
}

impl Shared {
    fn answer(&self, stream: TcpStream) {
        let Some(seen) = read(&stream) else { return };
        let number = {
            let mut all = self.seen.lock().unwrap();
            all.push(seen.clone());
            all.len() - 1
        };
        let Reply { head, body, hold } = (self.behaviour)(number, &seen);
        // Whoever was asked to stop has gone.
        let _ = (&stream).write_all(format!("HTTP/1.1 {head}\r\n\r\n").as_bytes());
        let _ = (&stream).write_all(&body);
        if hold {
            self.held.lock().unwrap().push(stream);
        }
    }
}

fn read(stream: &TcpStream) -> Option<Seen> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let mut seen = Seen { path: lines.next()?.split(' ').nth(1)?.to_owned(), ..Seen::default() };
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ")?;
        let value = Some(value.to_owned());
        match name.to_ascii_lowercase().as_str() {
            "range" => seen.range = value,
            "if-range" => seen.if_range = value,
            "if-none-match" => seen.if_none_match = value,
            "authorization" => seen.authorization = value,
            _ => {}
        }
    }
    Some(seen)
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Release);
        // Wakes the thread.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Reply {
    pub fn status(head: &str) -> Reply {
        Reply { head: format!("{head}\r\ncontent-length: 0"), body: Vec::new(), hold: false }
    }

    /// A file as a good server sends it: whole, in part, or not at all.
    pub fn file(content: &[u8], etag: &str, seen: &Seen) -> Reply {
        let etag = format!("\"{etag}\"");
        if seen.if_none_match.as_ref() == Some(&etag) {
            return Reply { head: format!("304 Not Modified\r\netag: {etag}"), body: Vec::new(), hold: false };
        }
        let range = seen.range.as_ref().filter(|_| seen.if_range.as_ref().is_none_or(|wanted| *wanted == etag));
        let Some(range) = range else {
            let head = format!("200 OK\r\netag: {etag}\r\ncontent-length: {}", content.len());
            return Reply { head, body: content.to_vec(), hold: false };
        };
        let start: usize = range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap();
        let (last, all, rest) = (content.len() - 1, content.len(), content.len() - start);
        let head = format!(
            "206 Partial Content\r\netag: {etag}\r\ncontent-range: bytes {start}-{last}/{all}\r\ncontent-length: {rest}"
        );
        Reply { head, body: content[start..].to_vec(), hold: false }
    }

    /// Only this much of the body, as of a connection that is cut.
    pub fn cut(mut self, bytes: usize) -> Reply {
        self.body.truncate(bytes);
        self
    }

    /// Keeps the connection open.
    pub fn held(self) -> Reply {
        Reply { hold: true, ..self }
    }
}
