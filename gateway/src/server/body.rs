//! Reading a request's body: within the limit, within the deadline, within what the lane may hold, and without a copy
//! where it came in one piece.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Frame;
use http_body_util::BodyExt;
use weirgate_protocol::{Error, Result, RetryClass};

use super::codings::Codings;
use crate::dispatch::Reservation;

/// How long, and for how many bytes, the body of a refused request is read on.
const DISCARD_TIME: Duration = Duration::from_secs(2);
const DISCARD_BYTES: usize = 256 << 20;

/// The most bytes a body may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimit {
    pub bytes: usize,
    /// What sets it, for the error.
    pub set_by: &'static str,
}

impl BodyLimit {
    /// Refuses what is known to have more bytes.
    pub fn check(&self, bytes: usize) -> Result<()> {
        if bytes > self.bytes {
            return Err(Error::too_large(format!(
                "the request has {bytes} bytes or more, the limit is {} ({})",
                self.bytes, self.set_by
            )));
        }
        Ok(())
    }
}

/// Why a body can't be read on: its framing is broken, or its connection is.
pub fn unreadable(error: &(dyn std::error::Error + 'static)) -> Error {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let broken = causes.filter_map(|cause| cause.downcast_ref::<io::Error>());
    let broken =
        broken.into_iter().find(|cause| matches!(cause.kind(), ErrorKind::InvalidInput | ErrorKind::InvalidData));
    match broken {
        Some(cause) => Error::invalid(format!("the framing of the request's body is broken: {cause}")),
        None => Error::invalid(format!("the request's body was cut off: {error}")),
    }
}

/// A body, and what has been read of it.
pub struct BodyReader<B> {
    body: B,
    /// The body as long as it is in one piece, which is then passed on without a copy.
    first: Bytes,
    /// All of it, from the second piece on.
    joined: BytesMut,
    /// The length that the client announced, by header or by framing.
    announced: usize,
    waited: Duration,
    /// Bytes of framing around the message itself, not counted against the limit.
    framing: usize,
    /// The longest pause between two pieces.
    pause: Duration,
    codings: Codings,
    trailers: Option<HeaderMap>,
}

impl<B> BodyReader<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + 'static,
{
    /// `framing` bytes come around the message itself; a client that sends nothing for `pause` is given up.
    pub fn new(body: B, framing: usize, pause: Duration) -> Self {
        let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        BodyReader {
            body,
            first: Bytes::new(),
            joined: BytesMut::new(),
            announced,
            waited: Duration::ZERO,
            framing,
            pause,
            codings: Codings::default(),
            trailers: None,
        }
    }

    /// Notes how the body is encoded. It is read as it comes; whoever decodes it undoes that first.
    pub fn set_codings(&mut self, codings: Codings) {
        self.codings = codings;
    }

    pub fn codings(&self) -> Codings {
        self.codings
    }

    /// Bytes of framing around the message itself. Codings are those of the message.
    pub fn framing(&self) -> usize {
        self.framing
    }

    /// The bytes read so far.
    pub fn peeked(&self) -> &[u8] {
        if self.joined.is_empty() { &self.first } else { &self.joined }
    }

    /// Reads one more piece into [`BodyReader::peeked`]; `false` at the end.
    pub async fn peek_more(&mut self, deadline: Instant) -> Result<bool> {
        let Some(data) = self.frame(deadline).await? else { return Ok(false) };
        self.append(data);
        Ok(true)
    }

    fn append(&mut self, data: Bytes) {
        if self.peeked().is_empty() {
            self.first = data;
            return;
        }
        if self.joined.is_empty() {
            self.joined = BytesMut::with_capacity(self.announced.max(self.first.len() + data.len()));
            self.joined.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.joined.extend_from_slice(&data);
    }

    /// Whether all that was announced has been read.
    pub fn is_complete(&self) -> bool {
        self.body.is_end_stream() || (self.announced > 0 && self.peeked().len() >= self.announced)
    }

    /// Notes a length that the framing announces.
    pub fn announce(&mut self, length: usize) {
        self.announced = self.announced.max(length);
    }

    /// Bytes this body is known to have. Above the limit it is refused before it is read.
    pub fn check_length(&self, limit: BodyLimit) -> Result<usize> {
        let known = self.announced.max(self.peeked().len());
        limit.check(known.saturating_sub(self.framing))?;
        Ok(known)
    }

    /// Reads the rest, covered by `reservation` as it comes. Also returns how long the client was waited for.
    pub async fn read_all(
        &mut self,
        limit: BodyLimit,
        deadline: Instant,
        reservation: &mut Reservation,
    ) -> Result<(Bytes, Duration)> {
        reservation.cover(self.peeked().len())?;
        while self.peek_more(deadline).await? {
            reservation.cover(self.check_length(limit)?.min(self.peeked().len()))?;
        }
        Ok((self.take(), self.waited))
    }

    /// Reads as much as is passed on in one piece: all of it where no more than `most` bytes are announced, else what is there
    /// already. Returns whether that was all, without trailers, and how long the client was waited for.
    pub async fn read_first(
        &mut self,
        most: usize,
        limit: BodyLimit,
        deadline: Instant,
        reservation: &mut Reservation,
    ) -> Result<(bool, Duration)> {
        let announced = self.body.size_hint().exact().is_some_and(|left| left <= most as u64);
        loop {
            reservation.cover(self.check_length(limit)?.min(self.peeked().len()))?;
            if self.body.is_end_stream() {
                return Ok((self.trailers.is_none(), self.waited));
            }
            if !announced {
                if self.peeked().len() >= most {
                    return Ok((false, self.waited));
                }
                let is_there = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut self.body).poll_frame(cx))).await;
                let Poll::Ready(frame) = is_there else { return Ok((false, self.waited)) };
                match frame {
                    None => return Ok((true, self.waited)),
                    Some(Err(error)) => return Err(unreadable(&error)),
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => self.append(data),
                        // Trailers are passed on, and with them the body as a stream.
                        Err(trailers) => {
                            self.trailers = trailers.into_trailers().ok();
                            return Ok((false, self.waited));
                        }
                    },
                }
            } else if !self.peek_more(deadline).await? {
                return Ok((self.trailers.is_none(), self.waited));
            }
        }
    }

    /// Puts back what had been read of it.
    pub fn restore(&mut self, read: Bytes) {
        self.first = read;
    }

    /// What has been read, what is still to come, and trailers that were met on the way.
    pub fn hand_over(&mut self) -> (Bytes, B, Option<HeaderMap>)
    where
        B: Default,
    {
        (self.take(), std::mem::take(&mut self.body), self.trailers.take())
    }

    /// Reads all of a small body.
    pub async fn read_small(&mut self, limit: BodyLimit, deadline: Instant) -> Result<Bytes> {
        self.check_length(limit)?;
        while self.peek_more(deadline).await? {
            self.check_length(limit)?;
        }
        Ok(self.take())
    }

    /// What has been read so far, taken out.
    pub fn take(&mut self) -> Bytes {
        if self.joined.is_empty() { std::mem::take(&mut self.first) } else { std::mem::take(&mut self.joined).freeze() }
    }

    async fn frame(&mut self, deadline: Instant) -> Result<Option<Bytes>> {
        while !self.body.is_end_stream() {
            // As a rule the piece is there already, and neither a clock nor a timer is needed.
            let ready = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut self.body).poll_frame(cx))).await;
            let frame = match ready {
                Poll::Ready(frame) => frame,
                Poll::Pending => self.wait_for_frame(deadline).await?,
            };
            match frame {
                None => break,
                Some(Err(error)) => return Err(unreadable(&error)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => return Ok(Some(data)),
                    // They carry nothing that is acted on here, and are kept for a server that the body is passed to.
                    Err(frame) => self.trailers = frame.into_trailers().ok(),
                },
            }
        }
        Ok(None)
    }

    async fn wait_for_frame(&mut self, deadline: Instant) -> Result<Option<Result<Frame<Bytes>, B::Error>>> {
        let started = Instant::now();
        let give_up = started + self.pause;
        let frame = tokio::time::timeout_at(deadline.min(give_up).into(), self.body.frame()).await;
        self.waited += started.elapsed();
        frame.map_err(|_| {
            if give_up < deadline {
                let seconds = self.pause.as_secs_f64();
                return Error::request_timeout(format!(
                    "the request's body paused for {seconds} s, which is the limit (flag --client-timeout)"
                ));
            }
            Error::deadline("the deadline passed while the request was being read", RetryClass::NotExecuted)
        })
    }

    /// Reads on and forgets, within bounds, what a client still sends of a request that has been refused. A client that
    /// sends first and reads later would see a reset connection and not the answer.
    pub async fn discard(&mut self) {
        if self.body.is_end_stream() {
            return;
        }
        let mut left = DISCARD_BYTES;
        let drain = async {
            while let Some(Ok(frame)) = self.body.frame().await {
                left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
                if left == 0 {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(DISCARD_TIME, drain).await;
    }
}
