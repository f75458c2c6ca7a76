//! Copies that are there already.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use weirgate_models::storage::Source;
use weirgate_models::{LoadError, Stop};

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
        let error = world.refusal(&url);
        assert!(error.contains("can't be unpacked") && !error.contains("can't be downloaded"), "{error}");
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

/// A `.tar.gz` of zeros, whose sum is wrong: that shows at its end.
fn large_and_broken(bytes: usize) -> Vec<u8> {
    let gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut builder = tar::Builder::new(gz);
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes as u64);
    header.set_mode(0o600);
    builder.append_data(&mut header, "m.onnx", std::io::repeat(0).take(bytes as u64)).unwrap();
    let mut packed = builder.into_inner().unwrap().finish().unwrap();
    let sum = packed.len() - 8;
    packed[sum] ^= 1;
    packed
}

#[test]
fn room_is_made_for_what_an_archive_becomes_and_a_refused_one_is_unpacked_once() {
    let packed = large_and_broken(65 << 20);
    let origin = Origin::start(move |_, seen| match seen.path.as_str() {
        "/m.tar.gz" => Reply::file(&packed, "a", seen),
        path => Reply::file(b"model", path, seen),
    });
    let world = World::with(|config| {
        config.max_model_size = 100 << 20;
        config.cache_size = 10 << 20;
    });
    let (other, large) = (origin.url("/m.onnx"), origin.url("/m.tar.gz"));
    assert_eq!(world.fetch(&other).unwrap(), b"model");
    let hold = world.hold(&large);
    let refusal = || hold.fetch("default/sum", &Stop::default()).map(|_| ()).unwrap_err().0;
    let error = refusal();
    assert!(error.contains("can't be unpacked"), "{error}");
    assert_eq!(world.files(), ["part", "part.json"], "the other one has made room, and nothing unpacked is left");
    // Where it would be unpacked again it would need the folder.
    let folders = std::fs::read_dir(world.folder.path().join("models")).unwrap();
    let folder = folders.map(|folder| folder.unwrap().path()).next().unwrap();
    std::fs::write(folder.join("part"), vec![1; std::fs::metadata(folder.join("part")).unwrap().len() as usize])
        .unwrap();
    assert_eq!(refusal(), error, "it is not looked into again");
}

#[test]
fn a_body_of_unknown_length_makes_room_as_it_comes() {
    let origin = Origin::start(|_, seen| match seen.path.as_str() {
        "/large" => Reply { head: "200 OK\r\nconnection: close".to_owned(), body: vec![1; 66 << 20], hold: false },
        path => Reply::file(b"model", path, seen),
    });
    let world = World::with(|config| {
        config.max_model_size = 65 << 20;
        config.cache_size = 10 << 20;
    });
    assert_eq!(world.fetch(&origin.url("/m.onnx")).unwrap(), b"model");
    assert!(world.refusal(&origin.url("/large")).contains("--max-model-size"));
    assert_eq!(world.files(), Vec::<String>::new());
}

#[test]
fn what_is_wrong_with_a_copy_is_told_of_its_url() {
    let origin = Origin::start(|_, seen| Reply::file(b"half a model", "a", seen));
    let world = World::new();
    let source = Source::Remote(world.hold(&format!("http://user:hush@{}/m.onnx", origin.address)));
    let place = source.fetch("default/sum", &Stop::default()).unwrap();
    let error = place.named(LoadError(format!("{} can't be loaded", place.path().display()))).0;
    assert_eq!(error, format!("http://***@{}/m.onnx can't be loaded", origin.address));
}
