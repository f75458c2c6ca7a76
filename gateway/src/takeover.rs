//! One gateway takes the place of another without a refused connection and without a lost call.
//!
//! The running one listens on a socket in its state folder, that only its own user can reach:
//!
//! ```text
//! new                                     running
//! hello, protocol, version, pid ────────► freezes: no commands, no files, nothing stored; it serves on
//!       ◄──────────────────────────────── the two ports and the state folder's lock, as file descriptors,
//!                                         and which services are ready
//! loads its models
//! ready ────────────────────────────────► accepts no more, finishes what runs, exits
//! accepts
//! ```
//!
//! Where the new one ends before it is ready, the running one thaws and goes on. So it does where the new one takes too long:
//! then it ends the new one first, for both would act on the state folder. Connections wait in the shared socket's queue
//! whoever accepts them, so none is refused.

use std::io::{self, BufRead, BufReader, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use rustix::process::{Pid, Signal, getuid, kill_process};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader as AsyncReader, Interest};
use tokio::net::{UnixListener, UnixStream};
use weirgate_deploy::local::Freezer;

use crate::gateway::{Gateway, Standing};

/// The socket's name in the state folder.
const SOCKET: &str = "handover.sock";
/// Of what is said on it. Another one is refused, and the running gateway goes on.
const PROTOCOL: u32 = 1;
/// For each side to say what is expected next; for models to load there is more time.
const PATIENCE: Duration = Duration::from_secs(10);
/// For a client over HTTP/1 to send its next request on a connection that it keeps open: the answer tells it to connect anew.
pub const LINGER: Duration = Duration::from_secs(5);
/// Revisions that a line of the log names.
const MOST_NAMES: usize = 10;
const LONGEST_LINE: u64 = 4 << 20;
const READY: &str = "ready";

#[derive(Serialize, Deserialize)]
struct Hello {
    protocol: u32,
    version: String,
    pid: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Offer {
    Refused(String),
    /// What can answer now: revisions that take calls, as `namespace/name@revision`.
    Given {
        version: String,
        pid: u32,
        ready: Vec<String>,
    },
}

/// What one gateway gives to another.
pub struct Sockets {
    pub data: OwnedFd,
    pub admin: OwnedFd,
    /// The lock of the state folder. It is held until both have closed it.
    pub lock: OwnedFd,
}

/// A running gateway that waits for this one to be ready.
pub struct Predecessor {
    link: BufReader<BlockingStream>,
    pid: u32,
    ready: Vec<String>,
}

/// Asks the gateway that runs with this state folder for its sockets; `None` where there is none. Blocks.
pub fn take(state: &Path) -> Result<Option<(Sockets, Predecessor)>, String> {
    let path = state.join(SOCKET);
    let failed = |error: io::Error| format!("nothing can be taken over by {}: {error} (--takeover)", path.display());
    let link = match BlockingStream::connect(&path) {
        Ok(link) => link,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    link.set_read_timeout(Some(PATIENCE)).and_then(|()| link.set_write_timeout(Some(PATIENCE))).map_err(failed)?;
    let hello = Hello { protocol: PROTOCOL, version: version(), pid: std::process::id() };
    (&link).write_all(&line(&hello).map_err(failed)?).map_err(failed)?;
    let sockets = receive(&link).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock => {
            format!("the running gateway gives no answer on {}: another one may be taking over", path.display())
        }
        _ => failed(error),
    })?;
    let mut link = BufReader::new(link);
    let mut answer = String::new();
    (&mut link).take(LONGEST_LINE).read_line(&mut answer).map_err(failed)?;
    match (parse(&answer).map_err(failed)?, sockets) {
        (Offer::Refused(reason), _) => Err(format!("the running gateway can't be taken over: {reason}")),
        (Offer::Given { version, pid, ready }, Some(sockets)) => {
            tracing::info!(pid, version, "taking over: the running gateway serves on until this one is ready");
            Ok(Some((sockets, Predecessor { link, pid, ready })))
        }
        (Offer::Given { .. }, None) => Err(failed(io::Error::other("the sockets did not come along"))),
    }
}

impl Predecessor {
    /// Waits until what can answer there does not load any more here, and says that this gateway is ready, unless it would be
    /// a loss: what could answer there must be able to here. Returns the number of its process.
    pub async fn replace(mut self, gateway: &Gateway) -> Result<u32, String> {
        let mut changes = gateway.watch_changes();
        let standing = |name: &String| gateway.standing_of(name);
        let loading = || -> Vec<&str> {
            let loading = self.ready.iter().filter(|name| standing(name) == Standing::Loading);
            loading.map(String::as_str).collect()
        };
        let mut told = Vec::new();
        loop {
            let now = loading();
            if now != told && !now.is_empty() {
                tracing::info!(pid = self.pid, "waiting for what answers there to be ready here: {}", shortened(&now));
            }
            told = now;
            // The sender lives as long as the gateway.
            if told.is_empty() || changes.changed().await.is_err() {
                break;
            }
        }
        let lost: Vec<_> =
            self.ready.iter().filter(|name| standing(name) != Standing::Ready).map(String::as_str).collect();
        if !lost.is_empty() {
            let lost = lost.join(", ");
            return Err(format!("the running gateway is left in its place: here these are not ready: {lost}"));
        }
        match self.link.get_mut().write_all(format!("{READY}\n").as_bytes()) {
            Ok(()) => {}
            // Everything it had is here.
            Err(error) => tracing::warn!(%error, pid = self.pid, "the gateway that was to be replaced is gone"),
        }
        Ok(self.pid)
    }
}

/// Names for one line of the log.
fn shortened(names: &[&str]) -> String {
    match names.split_at_checked(MOST_NAMES) {
        Some((shown, rest)) if !rest.is_empty() => format!("{} and {} more", shown.join(", "), rest.len()),
        _ => names.join(", "),
    }
}

/// Where a running gateway can be asked for its place.
pub struct Handover {
    socket: UnixListener,
    /// Where it lies, and which file that is.
    path: PathBuf,
    file: Option<(u64, u64)>,
    sockets: Sockets,
    freezer: Freezer,
    /// For the other one to load its models.
    loading: Duration,
}

impl Handover {
    /// Listens in the state folder, which must be locked by this process.
    /// Whoever takes over has the time `loading` for its models.
    pub fn open(state: &Path, sockets: Sockets, freezer: Freezer, loading: Duration) -> Result<Handover, String> {
        let path: PathBuf = state.join(SOCKET);
        let open = || {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let socket = UnixListener::bind(&path)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
            Ok(socket)
        };
        match open() {
            Ok(socket) => {
                let file = identity(&path);
                Ok(Handover { socket, path, file, sockets, freezer, loading })
            }
            Err(error) => Err(format!("{} can't be listened on: {error}", path.display())),
        }
    }

    /// Resolves when another gateway has taken this one's place.
    pub async fn handed_over(&self, gateway: &Gateway) {
        loop {
            let given = match self.socket.accept().await {
                Ok((link, _)) => self.hand_over(link, gateway).await,
                Err(error) => Err(error),
            };
            match given {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(%error, "a takeover came to nothing: this gateway goes on");
                    // Errors of the socket itself could come without end.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn hand_over(&self, link: UnixStream, gateway: &Gateway) -> io::Result<()> {
        // The folder lets nobody else in; this holds where somebody has opened it.
        if link.peer_cred()?.uid() != getuid().as_raw() {
            return Err(io::Error::new(ErrorKind::PermissionDenied, "another user asked for it"));
        }
        let mut link = AsyncReader::new(link);
        let hello: Hello = parse(&read_line(&mut link, PATIENCE).await?)?;
        if hello.protocol != PROTOCOL {
            let reason = format!(
                "it is of version {} and can't hand over to version {}: stop it and start the new one",
                version(),
                hello.version
            );
            send(link.get_ref(), &[]).await?;
            link.get_mut().write_all(&line(&Offer::Refused(reason.clone()))?).await?;
            return Err(io::Error::other(reason));
        }
        tracing::info!(pid = hello.pid, version = hello.version, "being replaced: nothing is changed until then");
        self.freezer.set(true).await;
        let given = self.give(&mut link, gateway).await;
        if given.is_err() {
            self.freezer.set(false).await;
        }
        given
    }

    async fn give(&self, link: &mut AsyncReader<UnixStream>, gateway: &Gateway) -> io::Result<()> {
        let Sockets { data, admin, lock } = &self.sockets;
        send(link.get_ref(), &[data, admin, lock]).await?;
        let ready = gateway.ready_revisions();
        let offer = Offer::Given { version: version(), pid: std::process::id(), ready };
        link.get_mut().write_all(&line(&offer)?).await?;
        match read_line(link, self.loading).await {
            Ok(said) if said.trim_end() == READY => Ok(()),
            Ok(said) if said.is_empty() => {
                Err(io::Error::new(ErrorKind::UnexpectedEof, "the new gateway ended before it was ready"))
            }
            // It lives, and has the folder's lock as this one does.
            Ok(_) => Err(end(link, "the new gateway said what can't be understood".to_owned()).await),
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                let limit = humantime::format_duration(self.loading);
                let reason = format!("the new gateway was not ready after {limit}, and was ended (--takeover-timeout)");
                Err(end(link, reason).await)
            }
            Err(error) => Err(end(link, error.to_string()).await),
        }
    }
}

/// Leaves nothing behind that nobody listens at, unless another gateway has its own there by now.
impl Drop for Handover {
    fn drop(&mut self) {
        if self.file.is_some() && identity(&self.path) == self.file {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Which file lies there.
fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Ends the process at the other end of a link: in order where it still listens, and else at once. Returns when it is gone,
/// with the reason.
async fn end(link: &mut AsyncReader<UnixStream>, reason: String) -> io::Error {
    let process = link.get_ref().peer_cred().ok().and_then(|peer| Pid::from_raw(peer.pid()?));
    for signal in [Signal::TERM, Signal::KILL] {
        if let Some(process) = process
            && let Err(error) = kill_process(process, signal)
        {
            tracing::warn!(%error, "the new gateway can't be ended");
        }
        // What it says by now comes too late. The link ends with the process.
        if tokio::time::timeout(PATIENCE, tokio::io::copy_buf(link, &mut tokio::io::sink())).await.is_ok() {
            break;
        }
    }
    io::Error::new(ErrorKind::TimedOut, reason)
}

fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

fn line(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

fn parse<T: DeserializeOwned>(line: &str) -> io::Result<T> {
    if line.is_empty() {
        return Err(io::Error::new(ErrorKind::UnexpectedEof, "the other gateway has left"));
    }
    Ok(serde_json::from_str(line)?)
}

async fn read_line(link: &mut AsyncReader<UnixStream>, patience: Duration) -> io::Result<String> {
    let mut text = String::new();
    tokio::time::timeout(patience, link.take(LONGEST_LINE).read_line(&mut text)).await??;
    Ok(text)
}

/// Sends one byte, and these descriptors with it.
async fn send(link: &UnixStream, descriptors: &[&OwnedFd]) -> io::Result<()> {
    let descriptors: Vec<_> = descriptors.iter().map(|descriptor| descriptor.as_fd()).collect();
    loop {
        link.writable().await?;
        let sent = link.try_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
                return Err(io::Error::other("the descriptors don't fit into a message"));
            }
            Ok(sendmsg(link, &[IoSlice::new(b"!")], &mut control, SendFlags::NOSIGNAL)?)
        });
        match sent {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Receives one byte, and the three descriptors with it if there are any.
fn receive(link: &BlockingStream) -> io::Result<Option<Sockets>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let received = recvmsg(link, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    if received.bytes == 0 {
        return Err(io::Error::new(ErrorKind::UnexpectedEof, "the running gateway has left"));
    }
    let mut descriptors = control.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect::<Vec<_>>(),
        _ => Vec::new(),
    });
    let mut next = || descriptors.next();
    Ok(next().zip(next()).zip(next()).map(|((data, admin), lock)| Sockets { data, admin, lock }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_not_all_of_many() {
        assert_eq!(shortened(&["a", "b"]), "a, b");
        assert_eq!(shortened(&["a"; MOST_NAMES]), ["a"; MOST_NAMES].join(", "));
        assert!(shortened(&["a"; MOST_NAMES + 2]).ends_with("a and 2 more"));
    }

    #[test]
    fn descriptors_travel_with_a_byte() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (ours, theirs) = BlockingStream::pair().unwrap();
        let sockets: Vec<_> = (0..3).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let addresses: Vec<_> = sockets.iter().map(|socket| socket.local_addr().unwrap()).collect();
        let descriptors: Vec<OwnedFd> = sockets.into_iter().map(OwnedFd::from).collect();
        ours.set_nonblocking(true).unwrap();
        runtime.block_on(async {
            let ours = UnixStream::from_std(ours).unwrap();
            send(&ours, &descriptors.iter().collect::<Vec<_>>()).await.unwrap();
            send(&ours, &[]).await.unwrap();
        });
        drop(descriptors);
        let Sockets { data, admin, lock } = receive(&theirs).unwrap().unwrap();
        let received = [data, admin, lock].map(|socket| std::net::TcpListener::from(socket).local_addr().unwrap());
        assert_eq!(received[..], addresses[..]);
        assert!(receive(&theirs).unwrap().is_none());
        assert!(receive(&theirs).is_err(), "the other side has left");
    }
}
