//! Servers that fail on the way: what came is kept, and only the rest is asked for.

use std::sync::mpsc;
use std::time::Duration;

use weirgate_models::Stop;

use crate::origin::{Origin, Reply};
use crate::{World, content};

/// The bytes that each request began at.
fn starts(origin: &Origin) -> Vec<Option<String>> {
    origin.seen().into_iter().map(|seen| seen.range).collect()
}

fn from(byte: usize) -> Option<String> {
    Some(format!("bytes={byte}-"))
}

#[test]
fn a_cut_download_goes_on_where_it_was_cut() {
    let all = content(100_000);
    let served = all.clone();
    let origin = Origin::start(move |number, seen| {
        let reply = Reply::file(&served, "a", seen);
        if number < 2 { reply.cut(30_000) } else { reply }
    });
    assert_eq!(World::new().fetch(&origin.url("/m.onnx")).unwrap(), all);
    assert_eq!(starts(&origin), [None, from(30_000), from(60_000)]);
    assert_eq!(origin.seen()[1].if_range.as_deref(), Some("\"a\""));
}

#[test]
fn a_server_that_falls_silent_is_given_up_and_asked_for_the_rest() {
    let all = content(50_000);
    let served = all.clone();
    let origin = Origin::start(move |number, seen| {
        let reply = Reply::file(&served, "a", seen);
        if number == 0 { reply.cut(20_000).held() } else { reply }
    });
    let world = World::with(|config| config.silence = Duration::from_millis(200));
    assert_eq!(world.fetch(&origin.url("/m.onnx")).unwrap(), all);
    assert_eq!(starts(&origin), [None, from(20_000)]);
}

#[test]
fn a_server_without_ranges_starts_over() {
    let all = content(50_000);
    let served = all.clone();
    let origin = Origin::start(move |number, _| {
        let head = format!("200 OK\r\netag: \"a\"\r\ncontent-length: {}", served.len());
        let reply = Reply { head, body: served.clone(), hold: false };
        if number == 0 { reply.cut(20_000) } else { reply }
    });
    assert_eq!(World::new().fetch(&origin.url("/m.onnx")).unwrap(), all);
    assert_eq!(starts(&origin), [None, from(20_000)]);
}

#[test]
fn without_a_validator_nothing_is_continued() {
    let all = content(50_000);
    let served = all.clone();
    let origin = Origin::start(move |number, _| {
        let head = format!("200 OK\r\netag: W/\"a\"\r\ncontent-length: {}", served.len());
        let reply = Reply { head, body: served.clone(), hold: false };
        if number == 0 { reply.cut(20_000) } else { reply }
    });
    assert_eq!(World::new().fetch(&origin.url("/m.onnx")).unwrap(), all);
    assert_eq!(starts(&origin), [None, None]);
}

#[test]
fn a_file_that_changed_meanwhile_is_never_mixed() {
    for honours_if_range in [true, false] {
        let (old, new) = (vec![1; 50_000], vec![2; 50_000]);
        let served = new.clone();
        let origin = Origin::start(move |number, seen| {
            let mut seen = seen.clone();
            if !honours_if_range {
                seen.if_range = None;
            }
            if number == 0 { Reply::file(&old, "old", &seen).cut(20_000) } else { Reply::file(&served, "new", &seen) }
        });
        assert_eq!(World::new().fetch(&origin.url("/m.onnx")).unwrap(), new, "{honours_if_range}");
        let expected = if honours_if_range { vec![None, from(20_000)] } else { vec![None, from(20_000), None] };
        assert_eq!(starts(&origin), expected);
    }
}

#[test]
fn a_part_that_the_server_has_no_more_of_is_fetched_anew() {
    let all = content(30_000);
    let served = all.clone();
    let origin = Origin::start(move |number, seen| match number {
        0 => Reply::file(&content(50_000), "a", seen).cut(40_000),
        1 => Reply::status("416 Range Not Satisfiable\r\ncontent-range: bytes */30000"),
        _ => Reply::file(&served, "b", seen),
    });
    assert_eq!(World::new().fetch(&origin.url("/m.onnx")).unwrap(), all);
    assert_eq!(starts(&origin), [None, from(40_000), None]);
}

#[test]
fn an_error_of_the_server_passes() {
    let all = content(1_000);
    let served = all.clone();
    let origin = Origin::start(move |number, seen| match number {
        0 => Reply::status("500 Internal Server Error"),
        1 => Reply::status("429 Too Many Requests"),
        _ => Reply::file(&served, "a", seen),
    });
    assert_eq!(World::new().fetch(&origin.url("/m.onnx")).unwrap(), all);
}

#[test]
fn a_server_that_always_cuts_is_given_up_and_gone_on_with_next_time() {
    let all = content(100_000);
    let served = all.clone();
    let origin = Origin::start(move |number, seen| {
        let reply = Reply::file(&served, "a", seen);
        if number < 5 { reply.cut(10_000) } else { reply }
    });
    let world = World::new();
    let error = world.refusal(&origin.url("/m.onnx"));
    assert!(error.contains("cut after 50000 of 100000 bytes"), "{error}");
    assert_eq!(origin.seen().len(), 5);
    let world = world.restart(|_| {});
    assert_eq!(world.fetch(&origin.url("/m.onnx")).unwrap(), all);
    assert_eq!(starts(&origin).last().unwrap(), &from(50_000));
}

#[test]
fn a_length_that_is_a_lie_is_no_model() {
    let origin = Origin::start(|_, _| Reply {
        head: "200 OK\r\ncontent-length: 5000".to_owned(),
        body: content(1_000),
        hold: false,
    });
    let world = World::new();
    let error = world.refusal(&origin.url("/m.onnx"));
    assert!(error.contains("cut after 1000 of 5000 bytes"), "{error}");
    assert!(!world.files().contains(&"note.json".to_owned()), "{:?}", world.files());
}

#[test]
fn a_stop_ends_a_download_that_nothing_comes_of_and_keeps_what_came() {
    let all = content(100_000);
    let (told, waits) = mpsc::channel();
    let served = all.clone();
    let origin = Origin::start(move |number, seen| {
        let reply = Reply::file(&served, "a", seen);
        if number > 0 {
            return reply;
        }
        told.send(()).unwrap();
        reply.cut(40_000).held()
    });
    // A server may be silent for long: the test would not end in time if that were waited for.
    let world = World::with(|config| config.silence = Duration::from_secs(3_600));
    let (hold, stop) = (world.hold(&origin.url("/m.onnx")), Stop::default());
    std::thread::scope(|scope| {
        let fetching = scope.spawn(|| hold.fetch("default/sum", &stop).map(|_| ()));
        waits.recv().unwrap();
        // What came so far is in the file as soon as its length says so.
        let part = || world.files().contains(&"part".to_owned()) && world.part() == 40_000;
        for _ in 0..10_000 {
            if part() {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(part(), "{} bytes came", world.part());
        stop.ask();
        let error = fetching.join().unwrap().unwrap_err().0;
        assert!(error.contains("stopped"), "{error}");
    });
    drop(hold);
    assert_eq!(world.fetch(&origin.url("/m.onnx")).unwrap(), all);
    assert_eq!(starts(&origin), [None, from(40_000)]);
}

impl World {
    /// Bytes of the one part there is.
    fn part(&self) -> u64 {
        let folders = std::fs::read_dir(self.folder.path().join("models")).into_iter().flatten();
        folders
            .filter_map(|folder| std::fs::metadata(folder.unwrap().path().join("part")).ok())
            .map(|part| part.len())
            .sum()
    }
}
