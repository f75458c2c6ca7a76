//! One record per service. What can't be read is set aside by name, and never stands in the way of the rest.

use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::files::{is_unfinished, sync_folder_of, write_atomically};
use super::{SERVICES, StateFolder, make_folder};
use crate::control::Named;

/// Of the file, whatever the record in it.
const VERSION: u32 = 1;
const ENDING: &str = ".json";
const LONGEST_NAME: usize = 63;
/// Files set aside that are kept per service.
const KEPT_ASIDE: usize = 5;

/// A file that holds no record that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    pub path: PathBuf,
    /// Where it is kept now; none: it could not be moved.
    pub kept_as: Option<PathBuf>,
    pub reason: String,
}

#[derive(Serialize)]
struct Written<'a, T> {
    version: u32,
    record: &'a T,
}

/// The version is read first: a record of another one may have any shape.
#[derive(Deserialize)]
struct Read<'a> {
    version: u32,
    #[serde(borrow)]
    record: Option<&'a RawValue>,
}

impl StateFolder {
    /// Puts a service's record in the place of its last one. Once this has returned a crash can't undo it; where it fails
    /// the last one holds.
    pub fn save(&self, named: &Named, record: &impl Serialize) -> Result<(), String> {
        let path = self.file(named)?;
        let refused = |error: &dyn std::fmt::Display| {
            format!("the state of {named} can't be written to {}: {error}", path.display())
        };
        let bytes = serde_json::to_vec(&Written { version: VERSION, record }).map_err(|error| refused(&error))?;
        let write = || {
            if let Some(folder) = path.parent().filter(|folder| !folder.is_dir()) {
                make_folder(folder)?;
                sync_folder_of(folder)?;
            }
            write_atomically(&path, &bytes)
        };
        write().map_err(|error| refused(&error))
    }

    /// Forgets a service; one that is not known is forgotten already.
    pub fn remove(&self, named: &Named) -> Result<(), String> {
        let path = self.file(named)?;
        let removed = match std::fs::remove_file(&path) {
            Ok(()) => sync_folder_of(&path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
        removed.map_err(|error| format!("the state of {named} can't be removed from {}: {error}", path.display()))
    }

    /// Every record, by namespace and name, and what had to be set aside, which is logged too.
    pub fn load<T: DeserializeOwned>(&self) -> (Vec<(Named, T)>, Vec<SetAside>) {
        let (mut records, mut aside) = (Vec::new(), Vec::new());
        let mut visit = |namespace: &str, file: &str| {
            let Some(name) = file.strip_suffix(ENDING) else { return };
            let named = Named { namespace: namespace.to_owned(), name: name.to_owned() };
            match self.file(&named).and_then(|path| read(&path)) {
                Ok(record) => records.push((named, record)),
                Err(reason) => aside.push(set_aside(self.path.join(SERVICES).join(namespace).join(file), reason)),
            }
        };
        if let Err(error) = self.each_file(&mut visit) {
            let path = self.path.join(SERVICES);
            aside.push(SetAside { path, kept_as: None, reason: format!("can't be listed: {error}") });
        }
        records.sort_by(|(a, _), (b, _)| a.cmp(b));
        for SetAside { path, kept_as, reason } in &aside {
            tracing::error!(?path, ?kept_as, reason, "a file of the state folder can't be used and was set aside");
        }
        (records, aside)
    }

    /// Removes what a killed process left: unfinished files, and folders of namespaces without services.
    pub(super) fn sweep(&self) -> io::Result<()> {
        let services = self.path.join(SERVICES);
        let mut unfinished = Vec::new();
        self.each_file(&mut |namespace, file| {
            if is_unfinished(file) {
                unfinished.push(services.join(namespace).join(file));
            }
        })?;
        unfinished.extend(entries(&self.path)?.filter(|name| is_unfinished(name)).map(|name| self.path.join(name)));
        for file in unfinished {
            std::fs::remove_file(file)?;
        }
        for namespace in entries(&services)? {
            // Fails where there is something in it.
            let _ = std::fs::remove_dir(services.join(namespace));
        }
        Ok(())
    }

    /// Where a service's record lies. No name leads out of the folder.
    fn file(&self, named: &Named) -> Result<PathBuf, String> {
        for name in [&named.namespace, &named.name] {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            if !(1..=LONGEST_NAME).contains(&name.len()) || !name.bytes().all(plain) {
                return Err(format!(
                    "'{}' can't name a service or namespace: allowed are 1 to {LONGEST_NAME} of a-z, 0-9 and '-'",
                    name.chars().take(LONGEST_NAME).collect::<String>().escape_debug()
                ));
            }
        }
        Ok(self.path.join(SERVICES).join(&named.namespace).join(format!("{}{ENDING}", named.name)))
    }

    fn each_file(&self, visit: &mut dyn FnMut(&str, &str)) -> io::Result<()> {
        let services = self.path.join(SERVICES);
        for namespace in entries(&services)? {
            let folder = services.join(&namespace);
            if folder.is_dir() {
                entries(&folder)?.for_each(|file| visit(&namespace, &file));
            }
        }
        Ok(())
    }
}

/// Names in a folder. Those that are not UTF-8 are nobody's of ours.
fn entries(folder: &Path) -> io::Result<impl Iterator<Item = String>> {
    let names = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name()));
    let names = names.collect::<io::Result<Vec<_>>>()?;
    Ok(names.into_iter().filter_map(|name| name.into_string().ok()))
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("can't be read: {error}"))?;
    let broken = |error| format!("is not a record: {error}");
    let Read { version, record } = serde_json::from_slice(&bytes).map_err(broken)?;
    if version != VERSION {
        return Err(format!("is of version {version}, known is {VERSION}: it was written by another weirgate"));
    }
    serde_json::from_str(record.map_or("null", RawValue::get)).map_err(broken)
}

/// Renames a file to the next free `….corrupt-N`; the oldest ones go.
fn set_aside(path: PathBuf, reason: String) -> SetAside {
    let keep = || {
        let folder = path.parent().unwrap_or(Path::new("."));
        let prefix = format!("{}.corrupt-", path.file_name().unwrap_or_default().to_string_lossy());
        let kept = entries(folder)?.filter_map(|name| name.strip_prefix(&prefix)?.parse::<u64>().ok());
        let mut kept: Vec<u64> = kept.collect();
        kept.sort_unstable();
        let at = |number: u64| folder.join(format!("{prefix}{number}"));
        let kept_as = at(kept.last().map_or(1, |last| last.saturating_add(1)));
        std::fs::rename(&path, &kept_as)?;
        for number in kept.iter().rev().skip(KEPT_ASIDE - 1) {
            std::fs::remove_file(at(*number))?;
        }
        sync_folder_of(&path)?;
        Ok::<_, io::Error>(kept_as)
    };
    let kept_as = keep();
    let reason = match &kept_as {
        Ok(_) => reason,
        Err(error) => format!("{reason}; it could not be moved away either: {error}"),
    };
    SetAside { path, kept_as: kept_as.ok(), reason }
}
