//! API keys: a file of their hashes, and what each may use.
//!
//! A key is 256 random bits, so a plain SHA-256 hides it as well as any slow hash would: there is nothing to guess. And it
//! costs a call less than a microsecond.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use weirgate_protocol::{Error, Result};
use weirgate_router::limits::Meter;

use super::caller::{Caller, Reason, count};
use super::policy::Policy;
use crate::watched::{Contents, Named, Reload, read};

/// How the hash in an entry begins.
pub const HASH: &str = "sha256:";
/// How the keys begin that `weirgate key new` makes, so that people and scanners know one when they see it.
const BEGIN: &str = "wgk_";
const RANDOM_BYTES: usize = 32;
/// Keys in one file: their names are values of a metric's label.
const MOST_KEYS: usize = 10_000;
const LONGEST_NAME: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    keys: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    name: String,
    hash: String,
    #[serde(default)]
    expires: Option<String>,
    #[serde(flatten)]
    policy: serde_json::Map<String, serde_json::Value>,
}

struct Key {
    digest: [u8; 32],
    expires: Option<SystemTime>,
    caller: Arc<Caller>,
}

/// The keys of one version of the file, by the first bytes of their hashes.
#[derive(Default)]
struct Keys(HashMap<[u8; 8], Vec<Key>>);

/// The file of keys.
pub struct KeyFile {
    path: PathBuf,
    keys: ArcSwap<Keys>,
}

impl KeyFile {
    /// Reads the file, and also returns what it held.
    pub fn open(path: PathBuf) -> Result<(Arc<KeyFile>, Vec<Contents>), String> {
        let file = KeyFile { path, keys: ArcSwap::default() };
        let contents: Vec<_> = file.files().iter().map(read).collect();
        file.reload(&contents)?;
        Ok((Arc::new(file), contents))
    }

    /// The caller that a key belongs to; `None` where it is nobody's.
    pub fn find(&self, key: &[u8], now: SystemTime) -> Result<Option<Arc<Caller>>> {
        let digest: [u8; 32] = Sha256::digest(key).into();
        let keys = self.keys.load();
        let Some(key) = keys.with_digest(&digest) else { return Ok(None) };
        if key.expires.is_some_and(|expires| expires <= now) {
            let name = &key.caller.identity().name;
            count(Reason::Expired, key.caller.label());
            return Err(Error::unauthenticated(format!("key '{name}' has expired: ask for another one")));
        }
        Ok(Some(key.caller.clone()))
    }
}

impl Keys {
    fn with_digest(&self, digest: &[u8; 32]) -> Option<&Key> {
        self.0.get(&begin(digest))?.iter().find(|key| same(&key.digest, digest))
    }

    /// What the callers of these keys have used so far, by name.
    fn meters(&self) -> HashMap<Arc<str>, Arc<Mutex<Meter>>> {
        let callers = self.0.values().flatten().map(|key| &key.caller);
        callers.map(|caller| (caller.identity().name.clone(), caller.meter().clone())).collect()
    }

    fn parse(text: &str, mut meters: HashMap<Arc<str>, Arc<Mutex<Meter>>>, now: Instant) -> Result<Keys, String> {
        // Of the text nothing is shown: somebody may have put a key where its hash belongs.
        let File { keys: entries } = serde_saphyr::from_str(text).map_err(|error| {
            let place = error.location().map_or_else(String::new, |at| format!(" (line {})", at.line()));
            format!("it is not a list 'keys' of entries with name, hash and services, which begins with a line 'keys:'{place}")
        })?;
        if entries.len() > MOST_KEYS {
            return Err(format!("it has {} keys: allowed are {MOST_KEYS}", entries.len()));
        }
        let (mut keys, mut names) = (Keys::default(), std::collections::HashSet::new());
        for (index, Entry { name, hash, expires, policy }) in entries.into_iter().enumerate() {
            check_name(&name).map_err(|error| format!("entry {}: {error}", index + 1))?;
            let wrong = |what: String| format!("key '{name}': {what}");
            if !names.insert(name.clone()) {
                return Err(wrong("there are two of this name".to_owned()));
            }
            let digest = parse_hash(&hash).ok_or_else(|| {
                wrong(format!("hash is not {HASH} and 64 hexadecimal digits: weirgate key new makes one"))
            })?;
            let policy: Policy = serde_json::from_value(policy.into()).map_err(|error| wrong(error.to_string()))?;
            if policy.services.is_none() {
                return Err(wrong(
                    "services are missing: give a list of namespace/name, namespace/* or '*'".to_owned(),
                ));
            }
            let expires = expires.as_deref().map(humantime::parse_rfc3339).transpose();
            let expires =
                expires.map_err(|error| wrong(format!("expires is no time as 2027-01-31T00:00:00Z: {error}")))?;
            if keys.with_digest(&digest).is_some() {
                return Err(wrong("another entry has the same hash".to_owned()));
            }
            // It holds the meter against its own limits when it calls, so a file that is refused further on changes nothing.
            let caller = Caller::new(&name, name.as_str().into(), policy, meters.remove(name.as_str()), now);
            let key = Key { digest, expires, caller: Arc::new(caller) };
            keys.0.entry(begin(&digest)).or_default().push(key);
        }
        Ok(keys)
    }
}

impl Reload for KeyFile {
    fn what(&self) -> &'static str {
        "the file of API keys"
    }

    fn files(&self) -> Vec<Named> {
        vec![Named::new(&self.path, "--api-keys")]
    }

    fn reload(&self, contents: &[Contents]) -> Result<(), String> {
        let shown = self.path.display();
        let [seen] = contents else { return Err(format!("{shown} is one file (--api-keys)")) };
        let seen = seen.as_ref().map_err(String::clone)?;
        check_mode(&self.path, seen.mode)?;
        let text = std::str::from_utf8(seen).map_err(|_| format!("{shown} is not UTF-8 (--api-keys)"))?;
        let keys = Keys::parse(text, self.keys.load().meters(), Instant::now());
        self.keys.store(Arc::new(keys.map_err(|error| format!("{shown}: {error} (--api-keys)"))?));
        Ok(())
    }
}

/// A name is a value of a label, and part of logs.
pub fn check_name(name: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'@');
    if (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    Err(format!("the name of a key is 1 to {LONGEST_NAME} of a-z, A-Z, 0-9 and -_.@"))
}

/// Whoever can write the file can let himself in.
fn check_mode(path: &Path, mode: u32) -> Result<(), String> {
    let shown = path.display();
    if mode & 0o022 != 0 {
        return Err(format!(
            "{shown} can be written by others (mode {:04o}): run chmod go-w on it (--api-keys)",
            mode & 0o7777
        ));
    }
    if mode & 0o004 != 0 {
        tracing::warn!(
            path = %shown,
            "the file of API keys can be read by everybody on this machine: it holds hashes and no keys, and names who may \
             use what"
        );
    }
    Ok(())
}

fn begin(digest: &[u8; 32]) -> [u8; 8] {
    std::array::from_fn(|index| digest[index])
}

/// Compares in a time that tells nothing of where the two differ.
fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    let differing = a.iter().zip(b).fold(0, |differing, (a, b)| differing | (a ^ b));
    std::hint::black_box(differing) == 0
}

fn parse_hash(text: &str) -> Option<[u8; 32]> {
    let digits = text.strip_prefix(HASH)?.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut digest = [0; 32];
    if digits.len() != 2 * digest.len() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(digits.chunks(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(digest)
}

/// A new key, and its hash as an entry of the file has it.
pub fn generate() -> (String, String) {
    let random: [u8; RANDOM_BYTES] = rand::random();
    let key = BEGIN.to_owned() + &hexadecimal(&random);
    let hash = HASH.to_owned() + &hexadecimal(&Sha256::digest(key.as_bytes()));
    (key, hash)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::*;

    fn parse(text: &str) -> Result<Keys, String> {
        Keys::parse(text, HashMap::new(), Instant::now())
    }

    fn entry(hash: &str, more: &str) -> String {
        format!("keys:\n- name: team-a\n  hash: {hash}\n{more}")
    }

    fn file(text: &str) -> KeyFile {
        KeyFile { path: "keys.yaml".into(), keys: ArcSwap::from_pointee(parse(text).unwrap()) }
    }

    #[test]
    fn a_key_is_known_by_its_hash_alone() {
        let (key, hash) = generate();
        let keys = file(&entry(&hash, "  services: [default/*]\n  priority: high\n  explain: true\n"));
        let now = SystemTime::now();
        let caller = keys.find(key.as_bytes(), now).unwrap().unwrap();
        assert!(caller.may_use("default", "x") && !caller.may_use("other", "x"));
        assert_eq!((&*caller.identity().name, caller.identity().explains), ("team-a", true));
        for other in [generate().0.as_bytes(), hash.as_bytes(), &key.as_bytes()[1..], b""] {
            assert!(keys.find(other, now).unwrap().is_none());
        }
    }

    /// Whatever of a new file is good: where it is refused, the limits are those of the old one.
    #[test]
    fn a_file_that_is_refused_leaves_every_limit_as_it_was() {
        let (key, hash) = generate();
        let with = |limit: u32, more: &str| {
            let text = entry(&hash, &format!("  services: ['*']\n  maxConcurrent: {limit}\n")) + more;
            vec![Ok(crate::watched::Seen { bytes: text.into_bytes(), mode: 0o600 })]
        };
        let keys = file("keys: []");
        let caller = || keys.find(key.as_bytes(), SystemTime::now()).unwrap().unwrap();
        keys.reload(&with(1, "")).unwrap();
        let running = caller().enter(0.0).unwrap();
        assert!(keys.reload(&with(9, "- name: team-b\n  hash: none\n")).is_err());
        assert!(caller().enter(0.0).is_err(), "nine would let it in");
        keys.reload(&with(2, "")).unwrap();
        let _second = caller().enter(0.0).unwrap();
        assert!(caller().enter(0.0).is_err(), "what runs stays counted");
        drop(running);
        assert!(caller().enter(0.0).is_ok());
    }

    #[test]
    fn keys_end_when_they_expire() {
        let (key, hash) = generate();
        let keys = file(&entry(&hash, "  services: ['*']\n  expires: 2030-01-01T00:00:00Z\n"));
        let at = humantime::parse_rfc3339("2030-01-01T00:00:00Z").unwrap();
        assert!(keys.find(key.as_bytes(), at - Duration::from_secs(1)).unwrap().is_some());
        assert!(keys.find(key.as_bytes(), at).is_err());
    }

    #[test]
    fn what_is_wrong_is_told_without_what_may_be_secret() {
        let (key, hash) = generate();
        for (text, expected) in [
            (entry(&key, "  services: ['*']\n"), "key 'team-a': hash is not sha256:"),
            (entry(&hash, ""), "services are missing"),
            (entry(&hash, "  services: [digits]\n"), "namespace/name"),
            (entry(&hash, "  services: ['*']\n  requestPerSecond: 1\n"), "unknown field"),
            (entry(&hash, "  services: ['*']\n  expires: tomorrow\n"), "expires is no time"),
            (entry(&hash, "  services: ['*']\n").replace("team-a", "'a b'"), "entry 1: the name of a key"),
            (
                format!("{0}{1}", entry(&hash, "  services: ['*']\n"), &entry(&hash, "  services: ['*']\n")[6..]),
                "two of this",
            ),
            (key.clone(), "it is not a list"),
            (format!("keys: {key}"), "it is not a list"),
        ] {
            let Err(error) = parse(&text) else { panic!("it passed: {text}") };
            assert!(error.contains(expected) && !error.contains(&key), "{error}");
        }
    }

    #[test]
    fn a_file_that_others_can_write_is_refused() {
        let path = std::env::temp_dir().join(format!("weirgate-keys-{}", std::process::id()));
        std::fs::write(&path, "keys: []\n").unwrap();
        let with = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            KeyFile::open(path.clone()).map(drop)
        };
        assert_eq!((with(0o600), with(0o644)), (Ok(()), Ok(())));
        for mode in [0o620, 0o602] {
            assert!(with(mode).unwrap_err().contains("can be written by others"));
        }
        std::fs::remove_file(&path).unwrap();
    }
}
