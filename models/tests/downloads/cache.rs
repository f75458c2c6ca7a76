//! Copies that are there already.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use weirgate_models::Stop;

use crate::World;
use crate::origin::{Origin, Reply};

#[test]
fn a_copy_is_used_again_while_the_server_has_the_same() {
    let version = Arc::new(AtomicUsize::new(1));
    let served = version.clone();
    let origin = Origin::start(move |_, seen| {
        let version = served.load(Ordering::SeqCst);
        Reply::file(format!("model {version}").as_bytes(), &version.to_string(), seen)
    });
    let url = origin.url("/m.onnx");
    let world = World::new();
    assert_eq!(world.fetch(&url).unwrap(), b"model 1");
    let world = world.restart(|_| {});
    assert_eq!(world.fetch(&url).unwrap(), b"model 1");
    assert_eq!(origin.seen()[1].if_none_match.as_deref(), Some("\"1\""));
    version.store(2, Ordering::SeqCst);
    assert_eq!(world.fetch(&url).unwrap(), b"model 2");
}

#[test]
fn a_copy_is_used_while_the_server_is_away_but_not_against_its_word() {
    let mode = Arc::new(AtomicUsize::new(0));
    let now = mode.clone();
    let origin = Origin::start(move |_, seen| match now.load(Ordering::SeqCst) {
        0 => Reply::file(b"model", "a", seen),
        1 => Reply::status("503 Service Unavailable"),
        _ => Reply::status("404 Not Found"),
    });
    let (url, world) = (origin.url("/m.onnx"), World::new());
    assert_eq!(world.fetch(&url).unwrap(), b"model");
    mode.store(1, Ordering::SeqCst);
    assert_eq!(world.fetch(&url).unwrap(), b"model");
    assert_eq!(origin.seen().len(), 3, "it is asked twice, and not for longer");
    mode.store(2, Ordering::SeqCst);
    assert!(world.refusal(&url).contains("404"));
    drop(origin);
    assert_eq!(world.fetch(&url).unwrap(), b"model");
}

#[test]
fn many_at_once_are_one_download() {
    const MANY: usize = 8;
    let origin = Origin::start(|_, seen| Reply::file(&crate::content(1 << 20), "a", seen));
    let (url, world) = (origin.url("/m.onnx"), World::new());
    let together = Barrier::new(MANY);
    std::thread::scope(|scope| {
        for _ in 0..MANY {
            scope.spawn(|| {
                together.wait();
                assert_eq!(world.fetch(&url).unwrap().len(), 1 << 20);
            });
        }
    });
    let bodies = origin.seen().into_iter().filter(|seen| seen.if_none_match.is_none()).count();
    assert_eq!(bodies, 1, "{:?}", origin.seen());
}

#[test]
fn a_copy_that_is_read_is_not_replaced_meanwhile() {
    let version = Arc::new(AtomicUsize::new(1));
    let served = version.clone();
    let origin = Origin::start(move |_, seen| {
        let version = served.load(Ordering::SeqCst);
        Reply::file(&archive(version), &version.to_string(), seen)
    });
    let (url, world) = (origin.url("/m.tar"), World::new());
    let hold = world.hold(&url);
    let first = hold.fetch("default/sum", &Stop::default()).unwrap();
    let read = |folder: &std::path::Path| std::fs::read_to_string(folder.join("m.onnx")).unwrap();
    assert_eq!(read(first.path()), "model 1");
    version.store(2, Ordering::SeqCst);
    std::thread::scope(|scope| {
        let second = scope.spawn(|| hold.fetch("default/sum", &Stop::default()).map(|copy| read(copy.path())));
        while origin.seen().len() < 2 {
            std::thread::yield_now();
        }
        assert_eq!(read(first.path()), "model 1");
        assert!(!second.is_finished(), "it waits for the reader");
        drop(first);
        assert_eq!(second.join().unwrap().unwrap(), "model 2");
    });
}

fn archive(version: usize) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let text = format!("model {version}");
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o600);
    builder.append_data(&mut header, "m.onnx", text.as_bytes()).unwrap();
    builder.into_inner().unwrap()
}

#[test]
fn an_archive_that_can_not_be_unpacked_is_not_fetched_again_and_again() {
    let mut broken = archive(1);
    broken.truncate(600);
    broken[0..100].fill(b'x');
    broken.write_all(&[9; 600]).unwrap();
    let origin = Origin::start(move |_, seen| Reply::file(&broken, "a", seen));
    let (url, world) = (origin.url("/m.tar"), World::new());
    for _ in 0..2 {
        assert!(world.refusal(&url).contains("can't be unpacked"));
    }
    assert_eq!(origin.seen()[1].if_none_match.as_deref(), Some("\"a\""));
}

#[test]
fn the_cache_forgets_what_nobody_uses_and_keeps_what_runs() {
    let origin = Origin::start(|_, seen| Reply::file(&crate::content(100_000), &seen.path, seen));
    let world = World::with(|config| config.cache_size = 250_000);
    let asks = |path: &str| {
        let before = origin.seen().len();
        let held = world.hold(&origin.url(path));
        held.fetch("default/sum", &Stop::default()).unwrap();
        let fetched = origin.seen()[before..].iter().any(|seen| seen.if_none_match.is_none());
        (held, fetched)
    };
    let (first, fetched) = asks("/1");
    assert!(fetched);
    for path in ["/2", "/3", "/4"] {
        assert!(asks(path).1, "{path}");
    }
    assert!(!asks("/1").1, "it is in use");
    assert!(!asks("/4").1, "it came last");
    assert!(asks("/2").1, "it had to make room");
    drop(first);
}
