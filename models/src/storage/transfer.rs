//! Brings a file here, however often the connection is cut.

use std::io::{Read, Write};
use std::time::Duration;

use url::Url;

use super::archive::unwritable;
use super::client::{Answer, Client, Failed, Want};
use super::entry::{Note, Part, PartNote};
use super::progress::Progress;
use super::room::Room;
use crate::stop::Stop;

const CHUNK: usize = 256 << 10;
/// An attempt that brings so much counts as a success, and the next cut is the first again.
const GAIN: u64 = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Brought {
    /// It is what the whole copy is.
    Unchanged,
    /// The part has become the whole file.
    Whole,
    /// The part was the whole file before, and still is what the server has.
    Still,
}

pub(super) struct Transfer<'a> {
    pub client: &'a Client,
    pub url: &'a Url,
    pub most_bytes: u64,
    /// Before each further attempt.
    pub pauses: &'a [Duration],
    pub stop: &'a Stop,
    /// Told how many bytes will come, before the first is written; 0 where so many have come already.
    pub make_room: &'a dyn Fn(u64),
}

impl Transfer<'_> {
    /// Fills the part. `Again` is what is left when every attempt has failed.
    pub fn run(&self, part: &mut Part, copy: Option<&Note>, progress: &mut Progress<'_>) -> Result<Brought, Failed> {
        // With a copy at hand nobody waits long for a server that is away.
        let first = if copy.is_some() && part.bytes == 0 { 1 } else { self.pauses.len() };
        let mut pauses = self.pauses[..first.min(self.pauses.len())].iter();
        loop {
            let before = part.bytes;
            match self.attempt(part, copy, progress) {
                Err(_) if self.stop.asked() => return Err(Failed::Stopped),
                Err(Failed::Again(reason)) => {
                    if part.bytes >= before + GAIN {
                        pauses = self.pauses.iter();
                    }
                    let Some(pause) = pauses.next() else { return Err(Failed::Again(reason)) };
                    progress.again(&reason, part.bytes, *pause);
                    if self.stop.wait(*pause) {
                        return Err(Failed::Stopped);
                    }
                }
                result => return result,
            }
        }
    }

    fn attempt(&self, part: &mut Part, copy: Option<&Note>, progress: &mut Progress<'_>) -> Result<Brought, Failed> {
        let whole = part.is_whole();
        let known = if whole { Some(&part.note.validators) } else { copy.map(|copy| &copy.validators) };
        let known = known.filter(|known| known.etag.is_some() || known.last_modified.is_some());
        let want = match (part.continued_by(), known) {
            (Some(validator), _) if !whole => Want::Rest(part.bytes, validator),
            (_, Some(known)) => Want::Changed(known),
            _ => Want::All,
        };
        let (changed, rest) = (matches!(want, Want::Changed(_)), matches!(want, Want::Rest(..)));
        let answer = self.client.get(self.url, want)?;
        match answer.status.as_u16() {
            304 if changed => Ok(if whole { Brought::Still } else { Brought::Unchanged }),
            200 => {
                let note = PartNote { validators: answer.validators.clone(), total: answer.total };
                self.check_size(answer.total)?;
                self.room_for(answer.total, 0);
                let file = part.begin(note).map_err(|error| unwritable(part.path(), &error))?;
                self.copy(answer, part, file, progress)
            }
            206 if rest && answer.start == part.bytes && same(&answer, part) => {
                self.check_size(answer.total)?;
                self.room_for(answer.total, part.bytes);
                let file = part.append().map_err(|error| unwritable(part.path(), &error))?;
                self.copy(answer, part, file, progress)
            }
            status => {
                // It has no use for what is here; the next attempt begins anew.
                part.clear().map_err(|error| unwritable(part.path(), &error))?;
                let start = answer.start;
                Err(Failed::Again(format!("the server answered {status} (from byte {start}) where that does not fit")))
            }
        }
    }

    fn copy(
        &self,
        mut answer: Answer,
        part: &mut Part,
        mut file: std::fs::File,
        progress: &mut Progress<'_>,
    ) -> Result<Brought, Failed> {
        let total = answer.total.or(part.note.total);
        let make_room = || (self.make_room)(0);
        let mut room = total.is_none().then(|| Room::new(&make_room));
        let mut chunk = vec![0; CHUNK];
        loop {
            let read = answer.body.read(&mut chunk);
            // An interrupted connection may look like one that has come to its end.
            if self.stop.asked() {
                return Err(Failed::Stopped);
            }
            let read = read.map_err(|error| cut(part.bytes, total, &error.to_string()))?;
            if read == 0 {
                break;
            }
            if let Err(failed) = self.check_size(Some(part.bytes + read as u64)) {
                part.clear().map_err(|error| unwritable(part.path(), &error))?;
                return Err(failed);
            }
            file.write_all(&chunk[..read]).map_err(|error| unwritable(part.path(), &error))?;
            part.bytes += read as u64;
            progress.came(read, part.bytes, total);
            if let Some(room) = &mut room {
                room.filled(read as u64);
            }
        }
        if total.is_some_and(|total| total != part.bytes) {
            return Err(cut(part.bytes, total, "the connection has ended"));
        }
        file.sync_all().map_err(|error| unwritable(part.path(), &error))?;
        Ok(Brought::Whole)
    }

    fn room_for(&self, total: Option<u64>, here: u64) {
        if let Some(total) = total {
            (self.make_room)(total.saturating_sub(here));
        }
    }

    fn check_size(&self, bytes: Option<u64>) -> Result<(), Failed> {
        let most = self.most_bytes;
        match bytes.filter(|bytes| *bytes > most) {
            Some(bytes) => {
                Err(Failed::Final(format!("it has {bytes} bytes or more, allowed are {most} (flag --max-model-size)")))
            }
            None => Ok(()),
        }
    }
}

/// Whether an answer continues the file that the part is of.
fn same(answer: &Answer, part: &Part) -> bool {
    let agree = |a: &Option<String>, b: &Option<String>| a.is_none() || b.is_none() || a == b;
    let (now, then) = (&answer.validators, &part.note.validators);
    agree(&now.etag, &then.etag)
        && agree(&now.last_modified, &then.last_modified)
        && (answer.total.is_none() || part.note.total.is_none() || answer.total == part.note.total)
}

fn cut(bytes: u64, total: Option<u64>, why: &str) -> Failed {
    let of = total.map_or(String::new(), |total| format!(" of {total}"));
    Failed::Again(format!("cut after {bytes}{of} bytes: {why}"))
}
