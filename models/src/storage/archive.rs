//! Unpacking, within bounds: of a stranger's archive nothing gets out of the folder that it is unpacked into.

use std::cell::Cell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Component, Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use zip::unstable::read::ZipIterable;

use super::client::Failed;
use super::room::Room;
use crate::stop::Stop;

/// Files and folders of one archive.
const MOST_ENTRIES: usize = 100_000;
/// Bytes of a `.tar` before one file: what is to be said of it.
const LONGEST_HEADER: u64 = 1 << 20;
/// Bytes of a `.tar` that are no content: some KiB for each of its files.
const MOST_BETWEEN: u64 = 256 << 20;
const CHUNK: usize = 256 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Archive {
    Tar,
    TarGz,
    Zip,
}

impl Archive {
    /// What a file of this name is; none: a model itself.
    pub fn of(name: &str) -> Option<Archive> {
        let name = name.to_ascii_lowercase();
        [(".tar", Archive::Tar), (".tar.gz", Archive::TarGz), (".tgz", Archive::TarGz), (".zip", Archive::Zip)]
            .iter()
            .find_map(|(ending, archive)| name.ends_with(ending).then_some(*archive))
    }

    /// Unpacks a file into an empty folder, at most so many bytes. `room` is told of each byte that is written there.
    pub fn unpack(self, file: &Path, into: &Path, most_bytes: u64, room: Room<'_>, stop: &Stop) -> Result<(), Failed> {
        let mut target = Target { folder: into, bytes_left: most_bytes, most_bytes, entries: 0, room, stop };
        let opened = File::open(file).map_err(|error| unreadable(file, &error))?;
        let opened = BufReader::with_capacity(CHUNK, opened);
        let unpacked = match self {
            Archive::Tar => untar(opened, &mut target),
            Archive::TarGz => untar(MultiGzDecoder::new(opened), &mut target),
            Archive::Zip => unzip(opened, &mut target),
        };
        unpacked.map_err(|failed| if stop.asked() { Failed::Stopped } else { failed })
    }
}

fn untar(from: impl Read, target: &mut Target<'_>) -> Result<(), Failed> {
    let (allowance, mut left) = (Cell::new(0), MOST_BETWEEN);
    let mut archive = tar::Archive::new(Metered { from, allowance: &allowance, stop: target.stop });
    let mut entries = archive.entries().map_err(|error| broken(&error))?;
    loop {
        // Names and attributes are read into memory, as long as they are said to be.
        let most = left.min(LONGEST_HEADER);
        allowance.set(most);
        let Some(entry) = entries.next() else { break };
        let mut entry = entry.map_err(|error| broken(&error))?;
        left -= most - allowance.get();
        // Content is counted where it is written.
        allowance.set(u64::MAX);
        let path = entry.path().map_err(|error| broken(&error))?.into_owned();
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            target.folder(&path)?;
        } else if kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse() {
            target.file(&path, &mut entry)?;
        } else if kind.is_symlink() || kind.is_hard_link() {
            return Err(refused(&path, "is a link: pack the file itself"));
        } else if !kind.is_pax_global_extensions() {
            return Err(refused(&path, "is neither a file nor a folder: leave it out"));
        }
    }
    // The sum over all of a `.gz` stands at its end.
    allowance.set(left);
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(|error| broken(&error))?;
    Ok(())
}

/// Goes through the directory as it lies in the file: however long it is said to be, one entry is in memory.
fn unzip(from: impl Read + Seek, target: &mut Target<'_>) -> Result<(), Failed> {
    let from = Metered { from, allowance: &Cell::new(u64::MAX), stop: target.stop };
    let mut archive = ZipIterable::try_new(from, zip::read::Config::default()).map_err(|error| broken(&error))?;
    if archive.len() > MOST_ENTRIES {
        return Err(too_many());
    }
    let entries = archive.files().map_err(|error| broken(&error))?;
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(|error| broken(&error))?;
        let options = zip::read::ZipReadOptions::new();
        let mut entry = entry.with_reader(entries.reader_mut(), options).map_err(|error| broken(&error))?;
        let path = PathBuf::from(entry.name().map_err(|error| broken(&error))?.into_owned());
        if entry.is_symlink() {
            return Err(refused(&path, "is a link: pack the file itself"));
        } else if entry.is_dir() {
            target.folder(&path)?;
        } else {
            target.file(&path, &mut entry)?;
        }
    }
    Ok(())
}

/// An archive's bytes as they are read: no more than are allowed, and none after a stop.
struct Metered<'a, R> {
    from: R,
    allowance: &'a Cell<u64>,
    stop: &'a Stop,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.stop.asked() {
            return Err(io::Error::other("stopped"));
        }
        let allowed = self.allowance.get();
        let most = into.len().min(usize::try_from(allowed).unwrap_or(usize::MAX));
        let read = match most {
            // Nothing more is allowed, and is an error only where there is more.
            0 if !into.is_empty() && self.from.read(&mut [0])? > 0 => {
                return Err(io::Error::other("there is too much between its files: long names, attributes or padding"));
            }
            most => self.from.read(&mut into[..most])?,
        };
        self.allowance.set(allowed - read as u64);
        Ok(read)
    }
}

impl<R: Seek> Seek for Metered<'_, R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.from.seek(to)
    }
}

/// The folder that is filled, and how much more it may hold.
struct Target<'a> {
    folder: &'a Path,
    bytes_left: u64,
    most_bytes: u64,
    entries: usize,
    room: Room<'a>,
    stop: &'a Stop,
}

impl Target<'_> {
    fn folder(&mut self, path: &Path) -> Result<(), Failed> {
        let path = self.place(path)?;
        fs::create_dir_all(path).map_err(|error| unwritable(self.folder, &error))
    }

    fn file(&mut self, path: &Path, from: &mut impl Read) -> Result<(), Failed> {
        let place = self.place(path)?;
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent).map_err(|error| unwritable(self.folder, &error))?;
        }
        // There are no links in the folder that it could follow.
        let mut file =
            OpenOptions::new().write(true).create_new(true).open(&place).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => refused(path, "is in it twice"),
                _ => unwritable(self.folder, &error),
            })?;
        let mut chunk = vec![0; CHUNK];
        loop {
            if self.stop.asked() {
                return Err(Failed::Stopped);
            }
            let read = from.read(&mut chunk).map_err(|error| broken(&error))?;
            if read == 0 {
                return file.sync_all().map_err(|error| unwritable(self.folder, &error));
            }
            self.bytes_left = self.bytes_left.checked_sub(read as u64).ok_or_else(|| {
                let most = self.most_bytes;
                Failed::Useless(format!("the archive holds more than {most} bytes unpacked (flag --max-model-size)"))
            })?;
            file.write_all(&chunk[..read]).map_err(|error| unwritable(self.folder, &error))?;
            self.room.filled(read as u64);
        }
    }

    /// Where an entry goes; counts it.
    fn place(&mut self, path: &Path) -> Result<PathBuf, Failed> {
        self.entries += 1;
        if self.entries > MOST_ENTRIES {
            return Err(too_many());
        }
        let mut place = self.folder.to_owned();
        for component in path.components() {
            match component {
                Component::Normal(name) => place.push(name),
                Component::CurDir => {}
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                    return Err(refused(path, "leads out of the archive"));
                }
            }
        }
        Ok(place)
    }
}

fn too_many() -> Failed {
    Failed::Useless(format!("the archive holds more than {MOST_ENTRIES} files and folders"))
}

fn refused(path: &Path, why: &str) -> Failed {
    let shown: String = path.to_string_lossy().chars().take(200).collect();
    Failed::Useless(format!("the archive can't be unpacked: {shown:?} {why}"))
}

fn broken(error: &dyn std::fmt::Display) -> Failed {
    Failed::Useless(format!("the archive can't be unpacked: {error}"))
}

fn unreadable(file: &Path, error: &io::Error) -> Failed {
    Failed::Final(format!("{} can't be read: {error}", file.display()))
}

/// A disk that is full, and the like.
pub(super) fn unwritable(place: &Path, error: &io::Error) -> Failed {
    let room = if error.kind() == io::ErrorKind::StorageFull { ", make room there" } else { "" };
    Failed::Final(format!("it can't be written to {}: {error}{room}", place.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u64 = 1_000_000;

    fn packed(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            // As nobody's tar would write it, for names that lead out.
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            header.set_mode(0o777);
            if matches!(kind, tar::EntryType::Symlink | tar::EntryType::Link) {
                header.set_link_name("/etc/passwd").unwrap();
            }
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn zipped(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default();
        for (path, content) in entries {
            writer.start_file(*path, options).unwrap();
            writer.write_all(content).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    /// What becomes of an archive: the folder it is unpacked into, with a neighbour that must stay empty.
    fn unpacked(archive: Archive, bytes: &[u8], most: u64) -> (tempfile::TempDir, Result<(), Failed>) {
        let folder = tempfile::tempdir().unwrap();
        let (file, into) = (folder.path().join("archive"), folder.path().join("into"));
        fs::write(&file, bytes).unwrap();
        fs::create_dir(&into).unwrap();
        let result = archive.unpack(&file, &into, most, Room::new(&|| {}), &Stop::default());
        let outside = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(outside, 2, "something was written outside of the folder");
        (folder, result)
    }

    fn refusal(archive: Archive, bytes: &[u8], most: u64) -> String {
        match unpacked(archive, bytes, most).1 {
            Err(Failed::Useless(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn kinds_are_told_by_name() {
        for (name, kind) in [
            ("a.tar", Some(Archive::Tar)),
            ("a.TAR.GZ", Some(Archive::TarGz)),
            ("a.tgz", Some(Archive::TarGz)),
            ("a.zip", Some(Archive::Zip)),
            ("tar", None),
            ("a.onnx", None),
        ] {
            assert_eq!(Archive::of(name), kind, "{name}");
        }
    }

    #[test]
    fn every_kind_becomes_a_folder() {
        let tar = packed(&[
            ("./", tar::EntryType::Directory, b""),
            ("./m.onnx", tar::EntryType::Regular, b"model"),
            ("sub/data", tar::EntryType::Regular, b"data"),
        ]);
        let gz = gzipped(&tar);
        let zip = zipped(&[("m.onnx", b"model"), ("sub/data", b"data")]);
        for (archive, bytes) in [(Archive::Tar, tar), (Archive::TarGz, gz), (Archive::Zip, zip)] {
            let (folder, result) = unpacked(archive, &bytes, MOST);
            assert_eq!(result, Ok(()), "{archive:?}");
            assert_eq!(fs::read(folder.path().join("into/m.onnx")).unwrap(), b"model");
            assert_eq!(fs::read(folder.path().join("into/sub/data")).unwrap(), b"data");
        }
    }

    #[test]
    fn nothing_leads_out() {
        for path in ["../evil", "/evil", "a/../../evil"] {
            for (archive, bytes) in [
                (Archive::Tar, packed(&[(path, tar::EntryType::Regular, b"x")])),
                (Archive::Zip, zipped(&[(path, b"x")])),
            ] {
                let reason = refusal(archive, &bytes, MOST);
                assert!(reason.contains("leads out"), "{path}: {reason}");
            }
        }
        for kind in [tar::EntryType::Symlink, tar::EntryType::Link] {
            let reason = refusal(Archive::Tar, &packed(&[("a", kind, b"")]), MOST);
            assert!(reason.contains("is a link"), "{reason}");
        }
        let reason = refusal(Archive::Tar, &packed(&[("a", tar::EntryType::Fifo, b"")]), MOST);
        assert!(reason.contains("neither a file"), "{reason}");
        let twice = packed(&[("a", tar::EntryType::Regular, b"x"), ("./a", tar::EntryType::Regular, b"y")]);
        assert!(refusal(Archive::Tar, &twice, MOST).contains("twice"));
    }

    fn gzipped(bytes: &[u8]) -> Vec<u8> {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(bytes).unwrap();
        gz.finish().unwrap()
    }

    /// A header that promises so many bytes, and nothing behind it.
    fn promising(kind: tar::EntryType, size: u64) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o600);
        header.set_cksum();
        header.as_bytes().to_vec()
    }

    #[test]
    fn what_is_said_of_a_file_is_not_read_at_any_length() {
        for kind in [tar::EntryType::GNULongName, tar::EntryType::GNULongLink, tar::EntryType::XHeader] {
            let mut bytes = promising(kind, 8 << 20);
            bytes.resize(bytes.len() + (8 << 20), b'a');
            let reason = refusal(Archive::TarGz, &gzipped(&bytes), MOST);
            assert!(reason.contains("too much between its files"), "{kind:?}: {reason}");
        }
        // What is stepped over counts too.
        let mut bytes = promising(tar::EntryType::XGlobalHeader, 8 << 20);
        bytes.resize(bytes.len() + (8 << 20), 0);
        bytes.extend(packed(&[("m.onnx", tar::EntryType::Regular, b"model")]));
        assert!(refusal(Archive::TarGz, &gzipped(&bytes), MOST).contains("too much between"));
    }

    #[test]
    fn long_names_are_still_read() {
        let name = format!("{}/m.onnx", "folder/".repeat(40));
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(5);
        header.set_mode(0o600);
        builder.append_data(&mut header, &name, &b"model"[..]).unwrap();
        let (folder, result) = unpacked(Archive::Tar, &builder.into_inner().unwrap(), MOST);
        assert_eq!(result, Ok(()));
        assert_eq!(fs::read(folder.path().join("into").join(name)).unwrap(), b"model");
    }

    #[test]
    fn a_tar_gz_may_have_several_members_and_each_is_checked_to_its_end() {
        let tar = packed(&[("m.onnx", tar::EntryType::Regular, &[7; 5_000])]);
        let members = [gzipped(&tar[..2_000]), gzipped(&tar[2_000..])].concat();
        let (folder, result) = unpacked(Archive::TarGz, &members, MOST);
        assert_eq!(result, Ok(()));
        assert_eq!(fs::read(folder.path().join("into/m.onnx")).unwrap(), [7; 5_000]);
        let whole = gzipped(&tar);
        let mut wrong = whole.clone();
        let sum = wrong.len() - 8;
        wrong[sum] ^= 1;
        for bytes in [&wrong, &whole[..whole.len() - 8]] {
            let reason = refusal(Archive::TarGz, bytes, MOST);
            assert!(reason.contains("can't be unpacked"), "{reason}");
        }
    }

    #[test]
    fn a_stop_ends_what_is_only_stepped_over() {
        let folder = tempfile::tempdir().unwrap();
        let (file, stop) = (folder.path().join("archive"), Stop::default());
        fs::write(&file, packed(&[("a", tar::EntryType::Directory, b"")])).unwrap();
        stop.ask();
        for archive in [Archive::Tar, Archive::TarGz, Archive::Zip] {
            let result = archive.unpack(&file, folder.path(), MOST, Room::new(&|| {}), &stop);
            assert_eq!(result, Err(Failed::Stopped), "{archive:?}");
        }
    }

    /// The end of a zip that is said to have so many entries, each of the least size, in a directory of that length.
    fn promising_zip(entries: u64, room: usize) -> Vec<u8> {
        let mut zip = vec![0; room];
        let (at, end) = (0_u64, zip.len() as u64);
        zip.extend(b"PK\x06\x06");
        zip.extend(44_u64.to_le_bytes());
        zip.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        for number in [entries, entries, end, at] {
            zip.extend(number.to_le_bytes());
        }
        zip.extend(b"PK\x06\x07\0\0\0\0");
        zip.extend(end.to_le_bytes());
        zip.extend(1_u32.to_le_bytes());
        zip.extend(b"PK\x05\x06\0\0\0\0");
        zip.extend([0xff; 12]);
        zip.extend([0; 2]);
        zip
    }

    #[test]
    fn a_zips_directory_is_not_taken_by_its_word() {
        let most = MOST_ENTRIES as u64;
        for (entries, says) in [(most, "can't be unpacked"), (most + 1, "more than 100000 files")] {
            let reason = refusal(Archive::Zip, &promising_zip(entries, 46 * (MOST_ENTRIES + 1)), MOST);
            assert!(reason.contains(says), "{reason}");
        }
        // Of two entries with one name none is taken silently.
        let twice = zipped(&[("aa", b"x"), ("ab", b"y")]);
        let twice: Vec<u8> = twice.iter().map(|byte| if *byte == b'b' { b'a' } else { *byte }).collect();
        assert!(refusal(Archive::Zip, &twice, MOST).contains("is in it twice"));
    }

    #[test]
    fn unpacked_bytes_have_a_limit() {
        let zeros = vec![0; 200_000];
        for (archive, bytes) in [
            (Archive::Tar, packed(&[("a", tar::EntryType::Regular, &zeros)])),
            (Archive::Zip, zipped(&[("a", &zeros[..150_000]), ("b", &zeros[..50_000])])),
        ] {
            assert!(refusal(archive, &bytes, 199_999).contains("--max-model-size"));
            assert_eq!(unpacked(archive, &bytes, 200_000).1, Ok(()));
        }
    }

    #[test]
    fn what_is_no_archive_says_so() {
        for archive in [Archive::Tar, Archive::TarGz, Archive::Zip] {
            let reason = refusal(archive, &[7; 2_000], MOST);
            assert!(reason.contains("can't be unpacked"), "{reason}");
        }
        let whole = zipped(&[("m", &[1; 5_000])]);
        assert!(refusal(Archive::Zip, &whole[..whole.len() / 2], MOST).contains("can't be unpacked"));
    }
}
