//! Models from URLs: one copy of each on disk, however many replicas want it.
//!
//! A [`Hold`] keeps a URL's copy from being thrown away; a revision has one for as long as it runs. [`Hold::fetch`] makes
//! sure that the copy is there and is what the server has. Whoever asks while another one fetches waits, and shares what
//! comes of it. What nobody holds is thrown away where all of it takes more than the cache may.

use std::collections::HashMap;
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use sha2::{Digest, Sha256};
use weirgate_protocol::RemoteUrl;

use super::allowed::UrlPrefix;
use super::archive::{Archive, unwritable};
use super::client::{Client, Failed};
use super::entry::{Entry, Note, Part, file_name, remove, sync};
use super::progress::Progress;
use super::room::Room;
use super::transfer::{Brought, Transfer};
use crate::model::LoadError;
use crate::stop::Stop;

/// Hexadecimal digits of the hash of a URL.
const KEY: usize = 32;
/// Begins the name of a folder that is being thrown away.
const THROWN: &str = "thrown-";
/// How often whoever waits for another one looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(50);

/// What holds for all downloads.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Bytes of one model, as it is downloaded and unpacked.
    pub max_model_size: u64,
    /// Bytes of all models; those in use are kept beyond it.
    pub cache_size: u64,
    /// URLs that may be fetched; none: all.
    pub allowed: Arc<[UrlPrefix]>,
    /// How long a server may send nothing.
    pub silence: Duration,
    /// Before each further attempt, where one brings nothing.
    pub pauses: Vec<Duration>,
}

impl StoreConfig {
    pub fn new(max_model_size: u64, cache_size: u64, allowed: Arc<[UrlPrefix]>) -> StoreConfig {
        let pauses = [250, 500, 1_000, 2_000].map(Duration::from_millis).to_vec();
        StoreConfig { max_model_size, cache_size, allowed, silence: Duration::from_secs(30), pauses }
    }
}

/// The folder of downloaded models. One process uses it at a time.
pub struct Store {
    folder: PathBuf,
    config: StoreConfig,
    /// Who is in use, by key.
    held: Mutex<HashMap<String, Weak<Held>>>,
}

/// Keeps a URL's copy for as long as it lives.
pub struct Hold {
    store: Arc<Store>,
    held: Arc<Held>,
    url: RemoteUrl,
}

struct Held {
    entry: Entry,
    turn: Mutex<Turn>,
    changed: Condvar,
}

#[derive(Default)]
struct Turn {
    fetching: bool,
    /// Who reads the copy, which is not replaced meanwhile.
    readers: usize,
    /// How many fetches have ended, and how the last one did.
    ended: u64,
    last: Option<Result<PathBuf, LoadError>>,
    /// Why the part, which is whole, can't be used.
    useless: Option<String>,
}

/// A copy that stays as it is for as long as this lives.
pub struct Copy {
    path: PathBuf,
    url: String,
    held: Arc<Held>,
}

impl Copy {
    /// A file, or the folder that an archive was unpacked into.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is said of it, with its URL in the place of the path that it has here, which nobody has written.
    pub(super) fn named(&self, LoadError(text): LoadError) -> LoadError {
        LoadError(text.replace(&*self.path.to_string_lossy(), &self.url))
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.held.turn.lock().readers -= 1;
        self.held.changed.notify_all();
    }
}

impl Store {
    /// The folder is made when the first model comes.
    pub fn new(folder: PathBuf, config: StoreConfig) -> Arc<Store> {
        let store = Arc::new(Store { folder, config, held: Mutex::default() });
        for name in store.names() {
            let path = store.folder.join(&name);
            // What stays is tried again at the next start. Only an empty folder is removed by the second.
            let _ = if name.starts_with(THROWN) { remove(&path) } else { std::fs::remove_dir(&path) };
        }
        store
    }

    pub fn hold(self: &Arc<Self>, url: RemoteUrl) -> Hold {
        let key = key(url.as_written());
        let mut all = self.held.lock();
        all.retain(|_, held| held.strong_count() > 0);
        let known = all.get(&key).and_then(Weak::upgrade);
        let held = known.unwrap_or_else(|| {
            let entry = Entry::new(self.folder.join(&key));
            let held = Arc::new(Held { entry, turn: Mutex::default(), changed: Condvar::new() });
            all.insert(key, Arc::downgrade(&held));
            held
        });
        Hold { store: self.clone(), held, url }
    }

    /// Throws away what nobody holds, the longest unused first, until so many more bytes have their place.
    fn make_room(&self, more: u64) {
        let mut thrown = Vec::new();
        {
            // Nobody can begin to use one meanwhile.
            let all = self.held.lock();
            let entries = self.names().filter(|name| !name.starts_with(THROWN));
            let entries: Vec<_> = entries.map(|name| (Entry::new(self.folder.join(&name)), name)).collect();
            let mut size = entries.iter().map(|(entry, _)| entry.size()).sum::<u64>().saturating_add(more);
            let unused = |name: &str| all.get(name).is_none_or(|held| held.strong_count() == 0);
            let mut unused: Vec<_> = entries.iter().filter(|(_, name)| unused(name)).collect();
            unused.sort_by_key(|(entry, _)| entry.used());
            for (entry, name) in unused {
                if size <= self.config.cache_size {
                    break;
                }
                let (bytes, to) = (entry.size(), self.folder.join(format!("{THROWN}{name}")));
                if std::fs::rename(entry.path(), &to).is_ok() {
                    tracing::info!(key = name, bytes, "a model that nobody uses makes room in the cache");
                    size = size.saturating_sub(bytes);
                    thrown.push(to);
                }
            }
        }
        for path in thrown {
            if let Err(error) = remove(&path) {
                tracing::warn!(?path, %error, "a model that nobody uses can't be removed");
            }
        }
    }

    /// Names in the folder; none where it is not there.
    fn names(&self) -> impl Iterator<Item = String> + use<> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok())
    }
}

impl Hold {
    /// Brings the model here, unless it is here and up to date. Blocks until it is there, or can't be, or a stop is asked
    /// for.
    pub fn fetch(&self, service: &str, stop: &Stop) -> Result<Copy, LoadError> {
        let mut turn = self.held.turn.lock();
        let ended = turn.ended;
        while turn.fetching {
            self.wait(&mut turn, stop)?;
            if let Some(last) = turn.last.as_ref().filter(|_| turn.ended != ended) {
                let path = last.clone()?;
                return Ok(self.read(&mut turn, path));
            }
        }
        turn.fetching = true;
        drop(turn);
        let fetching = Fetching(&self.held);
        let result = self.bring(service, stop);
        let mut turn = self.held.turn.lock();
        // Whoever waits goes on by itself where this one was only stopped.
        if !matches!(result, Err(Failed::Stopped)) {
            turn.ended += 1;
            turn.last = Some(result.clone().map_err(|failed| self.error(failed)));
        }
        let copy = result.map(|path| self.read(&mut turn, path));
        drop(turn);
        drop(fetching);
        copy.map_err(|failed| self.error(failed))
    }

    fn read(&self, turn: &mut Turn, path: PathBuf) -> Copy {
        turn.readers += 1;
        Copy { path, url: self.url.to_string(), held: self.held.clone() }
    }

    fn wait(&self, turn: &mut MutexGuard<'_, Turn>, stop: &Stop) -> Result<(), LoadError> {
        self.held.changed.wait_for(turn, LOOK);
        if stop.asked() { Err(self.error(Failed::Stopped)) } else { Ok(()) }
    }

    fn error(&self, failed: Failed) -> LoadError {
        let url = &self.url;
        LoadError(match failed {
            Failed::Again(reason) | Failed::Final(reason) => format!("{url} can't be downloaded: {reason}"),
            Failed::Useless(reason) => format!("{url} can't be used: {reason}"),
            Failed::Stopped => format!("the download of {url} was stopped"),
        })
    }

    fn bring(&self, service: &str, stop: &Stop) -> Result<PathBuf, Failed> {
        let (entry, shown) = (&self.held.entry, self.url.to_string());
        entry.create().and_then(|()| sync(&self.store.folder)).map_err(|error| unwritable(entry.path(), &error))?;
        let config = &self.store.config;
        let client = Client::new(config.allowed.clone(), config.silence);
        let _interrupt = stop.hook(client.interrupt());
        let (mut part, copy) = (entry.part(), entry.note());
        let mut progress = Progress::new(service, &shown);
        let transfer = Transfer {
            client: &client,
            url: self.url.url(),
            most_bytes: config.max_model_size,
            pauses: &config.pauses,
            stop,
            make_room: &|more| self.store.make_room(more),
        };
        let note = match (transfer.run(&mut part, copy.as_ref(), &mut progress), copy) {
            (Ok(Brought::Whole), _) => {
                progress.done(part.bytes);
                self.keep(&mut part, stop)?
            }
            (Ok(Brought::Still), _) => match self.useless() {
                Some(reason) => return Err(Failed::Useless(reason)),
                None => self.keep(&mut part, stop)?,
            },
            (Ok(Brought::Unchanged), Some(copy)) => copy,
            (Err(Failed::Again(reason)), Some(copy)) => {
                tracing::warn!(%service, url = shown, reason, "the server can't be asked: the copy from before is used");
                copy
            }
            (Ok(Brought::Unchanged), None) => return Err(Failed::Again("the copy is gone".to_owned())),
            (Err(failed), _) => return Err(failed),
        };
        // It only says what is thrown away first.
        let _ = entry.touch();
        Ok(entry.location(&note))
    }

    fn useless(&self) -> Option<String> {
        self.held.turn.lock().useless.clone()
    }

    /// Makes a part that is whole the copy, and notes it where that can't be.
    fn keep(&self, part: &mut Part, stop: &Stop) -> Result<Note, Failed> {
        let kept = self.try_keep(part, stop);
        self.held.turn.lock().useless = match &kept {
            Err(Failed::Useless(reason)) => Some(reason.clone()),
            _ => None,
        };
        if kept.is_err() {
            // What stays is removed by the next one.
            let _ = remove(&self.held.entry.prepared());
        }
        kept
    }

    fn try_keep(&self, part: &mut Part, stop: &Stop) -> Result<Note, Failed> {
        let (entry, name) = (&self.held.entry, file_name(self.url.file_name()));
        let archive = Archive::of(&name);
        let failed = |error: io::Error| unwritable(entry.path(), &error);
        let prepared = entry.prepare().map_err(failed)?;
        match archive {
            Some(archive) => {
                let make_room = || self.store.make_room(0);
                archive.unpack(
                    part.path(),
                    &prepared,
                    self.store.config.max_model_size,
                    Room::new(&make_room),
                    stop,
                )?;
            }
            None => std::fs::rename(part.path(), prepared.join(&name)).map_err(failed)?,
        }
        let note = Note {
            url: self.url.to_string(),
            validators: part.note.validators.clone(),
            file: archive.is_none().then_some(name),
            bytes: part.bytes,
        };
        let mut turn = self.held.turn.lock();
        while turn.readers > 0 {
            self.wait(&mut turn, stop).map_err(|_| Failed::Stopped)?;
        }
        entry.replace(&note).and_then(|()| part.clear()).map_err(failed)?;
        drop(turn);
        self.store.make_room(0);
        Ok(note)
    }
}

/// Lets the next one fetch, after a panic too.
struct Fetching<'a>(&'a Held);

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        self.0.turn.lock().fetching = false;
        self.0.changed.notify_all();
    }
}

/// Of the URL as it is written: who writes another password does not get what was fetched by the right one.
fn key(url: &str) -> String {
    let mut key = String::with_capacity(KEY);
    for byte in Sha256::digest(url.as_bytes()).iter().take(KEY / 2) {
        let _ = write!(key, "{byte:02x}");
    }
    key
}
