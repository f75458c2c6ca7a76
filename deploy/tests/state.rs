//! The state folder: what a crash, a second process and a broken file leave of it.

#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use weirgate_deploy::StateFolder;
use weirgate_deploy::control::Named;
use weirgate_deploy::state::{Token, default_path};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    text: String,
}

fn record(text: &str) -> Record {
    Record { text: text.to_owned() }
}

fn named(namespace: &str, name: &str) -> Named {
    Named { namespace: namespace.to_owned(), name: name.to_owned() }
}

/// A path of its own for one test, removed when dropped.
struct Place(PathBuf);

impl Place {
    fn new() -> Place {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        Place(std::env::temp_dir().join(format!("weirgate-state-{}-{next}", std::process::id())))
    }

    fn open(&self) -> StateFolder {
        StateFolder::open(&self.0).unwrap()
    }

    fn service(&self, file: &str) -> PathBuf {
        self.0.join("services").join(file)
    }

    fn files(&self, namespace: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.service(namespace)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn records_come_back_by_namespace_and_name_in_order() {
    let place = Place::new();
    let folder = place.open();
    let mut expected = Vec::new();
    for number in 0..200 {
        let named = named(if number % 2 == 0 { "a" } else { "b" }, &format!("s-{number:03}"));
        folder.save(&named, &record("first")).unwrap();
        folder.save(&named, &record(&number.to_string())).unwrap();
        expected.push((named, record(&number.to_string())));
    }
    folder.remove(&named("a", "s-004")).unwrap();
    folder.remove(&named("a", "s-004")).unwrap();
    folder.remove(&named("nowhere", "s")).unwrap();
    expected.retain(|(named, _)| named.name != "s-004");
    expected.sort_by(|(a, _), (b, _)| a.cmp(b));
    drop(folder);
    assert_eq!(place.open().load::<Record>(), (expected, Vec::new()));
    assert_eq!(place.files("a").len(), 99, "records and nothing else");
}

#[test]
fn a_second_process_is_refused_until_the_first_has_gone() {
    let place = Place::new();
    let folder = place.open();
    let refused = StateFolder::open(&place.0).unwrap_err();
    for part in [place.0.to_str().unwrap(), &format!("process {}", std::process::id()), "--state DIR"] {
        assert!(refused.contains(part), "{refused}");
    }
    drop(folder);
    place.open();
}

#[test]
fn a_broken_file_is_set_aside_and_the_rest_loads() {
    let place = Place::new();
    let folder = place.open();
    folder.save(&named("default", "good"), &record("kept")).unwrap();
    folder.save(&named("default", "cut"), &record("longer than what is left of it")).unwrap();
    let cut = place.service("default/cut.json");
    let whole = std::fs::read(&cut).unwrap();
    // Whatever is left of a file, it is never taken for a record.
    for length in 0..whole.len() {
        std::fs::write(&cut, &whole[..length]).unwrap();
        let (records, aside) = folder.load::<Record>();
        assert_eq!(records, [(named("default", "good"), record("kept"))]);
        assert_eq!(aside.len(), 1, "{length} bytes");
        assert_eq!(aside[0].path, cut);
        let kept_as = aside[0].kept_as.as_ref().unwrap();
        assert_eq!(std::fs::read(kept_as).unwrap(), whole[..length]);
    }
    let names: Vec<_> = (whole.len() - 4..=whole.len()).map(|number| format!("cut.json.corrupt-{number}")).collect();
    let kept: Vec<_> = place.files("default").into_iter().filter(|name| name.contains("corrupt")).collect();
    assert_eq!(kept, names, "the last five are kept");
    assert_eq!(folder.load::<Record>().1, [], "what is set aside is not met again");
    folder.save(&named("default", "cut"), &record("again")).unwrap();
    assert_eq!(folder.load::<Record>().0.len(), 2);
}

#[test]
fn records_of_another_shape_or_version_or_name_are_set_aside() {
    let place = Place::new();
    let folder = place.open();
    std::fs::create_dir(place.service("default")).unwrap();
    for (file, text, reason) in [
        ("a.json", r#"{"version":2,"record":["any","shape"]}"#, "is of version 2, known is 1"),
        ("b.json", r#"{"version":1,"record":{"words":"x"}}"#, "missing field `text`"),
        ("c.json", r#"{"version":1}"#, "is not a record"),
        ("D.json", r#"{"version":1,"record":{"text":"x"}}"#, "'D' can't name a service"),
    ] {
        std::fs::write(place.service("default").join(file), text).unwrap();
        let (records, aside) = folder.load::<Record>();
        assert_eq!((records.len(), aside.len()), (0, 1), "{file}");
        assert!(aside[0].reason.contains(reason), "{:?}", aside[0]);
    }
    std::fs::create_dir(place.service("default/folder.json")).unwrap();
    assert!(folder.load::<Record>().1[0].reason.contains("can't be read"));
}

#[test]
fn what_a_killed_process_left_unfinished_is_removed() {
    let place = Place::new();
    let folder = place.open();
    folder.save(&named("default", "good"), &record("kept")).unwrap();
    let token = folder.token().unwrap();
    drop(folder);
    std::fs::write(place.service("default/good.json.unfinished"), "{\"vers").unwrap();
    std::fs::write(place.0.join("token.unfinished"), "12").unwrap();
    std::fs::create_dir(place.service("empty")).unwrap();
    let folder = place.open();
    assert_eq!(folder.load::<Record>(), (vec![(named("default", "good"), record("kept"))], Vec::new()));
    assert_eq!(place.files("default"), ["good.json"]);
    assert!(!place.0.join("token.unfinished").exists() && !place.service("empty").exists());
    assert!(folder.token().unwrap().is(token.secret().as_bytes()));
}

#[test]
fn a_failed_write_leaves_the_last_record_and_says_where() {
    let place = Place::new();
    let folder = place.open();
    let service = named("default", "good");
    folder.save(&service, &record("old")).unwrap();
    // A folder in the way of the unfinished file: no write can succeed.
    std::fs::create_dir(place.service("default/good.json.unfinished")).unwrap();
    let refused = folder.save(&service, &record("new")).unwrap_err();
    assert!(refused.contains("default/good") && refused.contains("good.json"), "{refused}");
    assert_eq!(folder.load::<Record>().0, [(service, record("old"))]);
}

#[test]
fn no_name_leads_out_of_the_folder() {
    let place = Place::new();
    let folder = place.open();
    let long = "a".repeat(64);
    for name in ["", ".", "..", "../x", "a/b", "/etc", "a.b", "A", "a\0b", "ä", long.as_str()] {
        for named in [named("default", name), named(name, "good")] {
            let refused = folder.save(&named, &record("x")).unwrap_err();
            assert!(refused.contains("can't name a service"), "{refused}");
            assert!(folder.remove(&named).is_err());
        }
    }
    assert_eq!(std::fs::read_dir(place.0.join("services")).unwrap().count(), 0);
}

#[test]
fn only_the_owner_can_read_any_of_it() {
    let place = Place::new();
    let folder = place.open();
    folder.save(&named("default", "good"), &record("x")).unwrap();
    let token = folder.token().unwrap();
    assert_eq!(token.secret().len(), 64);
    assert!(token.secret().bytes().all(|byte| byte.is_ascii_hexdigit()));
    let path = Token::path_in(&place.0);
    for (path, expected) in [
        (place.0.clone(), 0o700),
        (place.service("default"), 0o700),
        (place.service("default/good.json"), 0o600),
        (path.clone(), 0o600),
        (place.0.join("lock"), 0o600),
    ] {
        assert_eq!(mode(&path), expected, "{}", path.display());
    }
    assert_eq!(format!("{token:?}"), "Token(..)");
    for open in [0o640, 0o604, 0o644, 0o620] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(open)).unwrap();
        let refused = folder.token().unwrap_err();
        assert!(refused.contains(path.to_str().unwrap()) && refused.contains("chmod 600"), "{refused}");
        assert!(!refused.contains(token.secret()), "{refused}");
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(folder.token().unwrap().is(token.secret().as_bytes()), "it is kept");
}

#[test]
fn a_token_is_itself_and_nothing_else() {
    let place = Place::new();
    let folder = place.open();
    let path = Token::path_in(&place.0);
    for wrong in ["", "short", "with a space in it, and long enough for one", "\u{e9}".repeat(40).as_str()] {
        std::fs::write(&path, wrong).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let refused = folder.token().unwrap_err();
        assert!(refused.contains("holds no token"), "{refused}");
    }
    let own = "0123456789abcdef0123456789abcdef";
    std::fs::write(&path, format!("{own}\n")).unwrap();
    let token = folder.token().unwrap();
    assert!(token.is(own.as_bytes()));
    for other in ["", "0", &own[1..], &format!("{own}0"), &own.replace("f0", "f1")] {
        assert!(!token.is(other.as_bytes()), "{other}");
    }
}

#[test]
fn the_default_place_follows_the_environment() {
    let of = |variables: &[(&str, &str)]| {
        default_path(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into()))
    };
    let path = |path: &str| Ok(PathBuf::from(path));
    assert_eq!(of(&[("XDG_STATE_HOME", "/s"), ("HOME", "/h")]), path("/s/weirgate"));
    assert_eq!(of(&[("XDG_STATE_HOME", "s"), ("HOME", "/h")]), path("/h/.local/state/weirgate"));
    assert!(of(&[("XDG_STATE_HOME", ""), ("HOME", "")]).unwrap_err().contains("--state DIR"));
}

#[test]
fn sockets_have_a_folder_of_their_own_for_each_process() {
    let place = Place::new();
    let folder = place.open();
    // Whatever the names of folders say: the lock says whether somebody has one.
    let of = |name: &str| {
        let path = place.0.join("run").join(name);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("0.sock"), "").unwrap();
        let lock = std::fs::File::create(path.join("lock")).unwrap();
        lock.lock().unwrap();
        (path, lock)
    };
    let ((left_behind, lock), (of_another, held)) = (of("1"), of("4194999"));
    drop(lock);
    let sockets = folder.sockets().unwrap();
    assert_eq!(std::fs::metadata(&sockets).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(sockets.starts_with(&place.0) && !left_behind.exists() && of_another.join("0.sock").exists());
    std::fs::write(sockets.join("1.sock"), "").unwrap();
    drop(folder);
    assert!(!sockets.exists() && of_another.exists(), "its own goes with it, and nobody else's");
    let folder = place.open();
    let next = folder.sockets().unwrap();
    assert!(next != sockets && next.exists());
    drop((folder, held));
    std::fs::remove_dir_all(of_another).unwrap();
    let folder = place.open();
    assert!(folder.sockets().unwrap().exists());
    drop(folder);
    assert!(!place.0.join("run").exists(), "the last one leaves nothing");
}

#[test]
fn sockets_lie_elsewhere_where_their_addresses_would_be_too_long() {
    let long = Place(Place::new().0.join("x".repeat(100)));
    let folder = long.open();
    let sockets = folder.sockets().unwrap();
    assert!(sockets.as_os_str().len() < 80 && !sockets.starts_with(&long.0), "a socket's address is short");
    drop(folder);
    assert!(!sockets.exists(), "it goes with its process");
    // As one leaves it that is killed.
    std::fs::create_dir(&sockets).unwrap();
    std::fs::write(sockets.join("lock"), "").unwrap();
    let folder = long.open();
    let next = folder.sockets().unwrap();
    assert!(next.exists() && !sockets.exists(), "what a process leaves there is removed by the next");
    drop(folder);
    assert!(!next.exists());
}
