//! A server that does next to nothing, so that its clients are the limit.
//!
//! The floor (`weirgate_loadtest::floor`) speaks HTTP as it should. This one reads the first request of a connection for
//! its length, and from then on only counts bytes, as each request is the same as the one before.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use weirgate_loadtest::Result;

/// Which events are of the listener.
const LISTENER: u64 = u64::MAX;
/// Events and bytes that are taken at once.
const EVENTS: usize = 256;
const READ: usize = 64 << 10;

/// Serves until it is stopped. Prints its address as a server of ours does.
pub fn serve(answer: &[u8]) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("data  http://{}\n", listener.local_addr()?);
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    // Their places stay, so that events find them; the places of those that closed are left empty.
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut events = Vec::<Event>::with_capacity(EVENTS);
    let mut input = vec![0; READ];
    loop {
        events.clear();
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            if event.data.u64() == LISTENER {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                epoll::add(&epoll, &stream, EventData::new_u64(connections.len() as u64), EventFlags::IN)?;
                connections.push(Some(Connection { stream, first: Vec::new(), length: None, pending: 0 }));
            } else if let Some(place) = connections.get_mut(event.data.u64() as usize)
                && !place.as_mut().is_some_and(|connection| connection.serve(&mut input, answer))
            {
                *place = None;
            }
        }
    }
}

struct Connection {
    stream: TcpStream,
    /// What came of the first request, while it is not whole.
    first: Vec<u8>,
    /// Bytes of a request, once the first is whole.
    length: Option<usize>,
    /// Bytes that came since a request was whole.
    pending: usize,
}

impl Connection {
    /// Reads once, and answers what is whole. False at the end.
    fn serve(&mut self, input: &mut [u8], answer: &[u8]) -> bool {
        let count = match self.stream.read(input) {
            Ok(0) | Err(_) => return false,
            Ok(count) => count,
        };
        self.pending += count;
        if self.length.is_none() {
            self.first.extend_from_slice(&input[..count]);
            self.length = length(&self.first);
        }
        let Some(length) = self.length else { return true };
        while self.pending >= length {
            self.pending -= length;
            if self.stream.write_all(answer).is_err() {
                return false;
            }
        }
        true
    }
}

/// Bytes of the request that `input` begins with, head and body; None while its head is not whole.
fn length(input: &[u8]) -> Option<usize> {
    let head = input.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&input[..head]).ok()?;
    let body = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    Some(head + body.unwrap_or_default())
}
