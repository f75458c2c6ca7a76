//! Server-sent events, read one by one.

use std::collections::VecDeque;
use std::net::SocketAddr;

use http::Request;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::http::Body;
use crate::wait::within;

/// A stream of events. Dropping it closes the connection.
pub struct Events {
    body: Incoming,
    text: String,
    ready: VecDeque<String>,
    _driver: JoinSet<()>,
}

impl Events {
    /// Sends a call that must be answered with 200 and events.
    pub async fn open(address: SocketAddr, request: Request<Body>) -> Events {
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            let _ = connection.await;
        });
        let response = within("the head of a stream", sender.send_request(request)).await.unwrap();
        let (head, body) = response.into_parts();
        assert_eq!(head.status, 200, "{head:?}");
        let kind = head.headers["content-type"].to_str().unwrap();
        assert!(kind.starts_with("text/event-stream"), "{kind}");
        Events { body, text: String::new(), ready: VecDeque::new(), _driver: driver }
    }

    /// The data of the next event; none at the end, whether it is a good one or not.
    pub async fn next(&mut self) -> Option<String> {
        self.step().await.ok().flatten()
    }

    /// The data of all that follow; an error where the stream is cut off.
    pub async fn rest(mut self) -> Result<Vec<String>, String> {
        let mut events = Vec::new();
        while let Some(event) = self.step().await? {
            events.push(event);
        }
        Ok(events)
    }

    async fn step(&mut self) -> Result<Option<String>, String> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            let Some(frame) = within("an event", self.body.frame()).await else { return Ok(None) };
            let Ok(data) = frame.map_err(|error| error.to_string())?.into_data() else { continue };
            self.text.push_str(std::str::from_utf8(&data).map_err(|error| error.to_string())?);
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                self.ready.extend(event.strip_prefix("data: ").map(str::to_owned));
                self.text = rest.to_owned();
            }
        }
    }
}
