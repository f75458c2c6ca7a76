//! Whether a revision fits into memory beside those that run.

use std::path::Path;

use weirgate_deploy_core::{Executor, Location, RevisionPlan};

/// A loaded model takes about its file's size, and its arena once more of what a run needs.
const PER_FILE_BYTE: u64 = 2;
/// Entries of a model's folder that are looked at.
const MOST_ENTRIES: usize = 1_000;
/// Folders below it: a repository's model, and its versions.
const DEEPEST: usize = 2;

/// What is missing for one replica to start now; nothing: it fits.
pub(super) fn missing(plan: &RevisionPlan) -> Option<String> {
    let needs = plan.memory.or_else(|| match &plan.executor {
        Executor::Model { model, .. } => Some(PER_FILE_BYTE * size(&model.location)),
        // What a command needs its manifest has to say; servers elsewhere need none of ours.
        Executor::Command(_) | Executor::Upstream(_) => None,
    })?;
    let available = available()?;
    (needs > available).then(|| format!("a replica needs {needs} bytes of memory, {available} are available"))
}

/// Bytes of a model's files. Of a URL nobody knows before the server is asked.
fn size(location: &Location) -> u64 {
    match location {
        Location::Path(path) => size_on_disk(path),
        Location::Url(_) => 0,
    }
}

/// A folder's files, and the largest of its folders: of version folders one is loaded, as a rule.
fn size_on_disk(location: &Path) -> u64 {
    fn size(location: &Path, depth: usize) -> u64 {
        let Ok(metadata) = std::fs::metadata(location) else { return 0 };
        if metadata.is_file() {
            return metadata.len();
        }
        let (mut files, mut largest) = (0, 0);
        for entry in std::fs::read_dir(location).into_iter().flatten().flatten().take(MOST_ENTRIES) {
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            match is_folder {
                true if depth > 0 => largest = size(&entry.path(), depth - 1).max(largest),
                true => {}
                false => files += entry.metadata().map_or(0, |metadata| metadata.len()),
            }
        }
        files + largest
    }
    size(location, DEEPEST)
}

/// Bytes that this process may still take: the machine's, or what its cgroup leaves. None where neither can be read.
fn available() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    });
    let cgroup = || {
        let read = |file: &str| std::fs::read_to_string(format!("/sys/fs/cgroup/{file}")).ok();
        let number = |file: &str| read(file)?.trim().parse::<u64>().ok();
        // Files that were read count as used, and are given back when somebody needs the room.
        let statistics = read("memory.stat")?;
        let cached = statistics.lines().find_map(|line| line.strip_prefix("inactive_file ")?.parse().ok());
        let used = number("memory.current")?.saturating_sub(cached.unwrap_or(0));
        Some(number("memory.max")?.saturating_sub(used))
    };
    [machine, cgroup()].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_some_memory() {
        assert!(available().is_some_and(|bytes| bytes > 1 << 20));
    }
}
