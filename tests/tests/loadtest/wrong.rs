//! What is asked in a wrong way, or of nobody, is told in a line.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use weirgate_tests::environment::binary;
use weirgate_tests::process::{Folder, run};
use weirgate_tests::{Server, Service};

use super::{command, loadtest_at};

#[test]
fn wrong_usage_exits_with_2_and_says_what_is_known() {
    for (words, part) in [
        (&[][..], "URL"),
        (&["ftp://127.0.0.1:1"], "scheme 'ftp'"),
        (&["127.0.0.1:1", "-p", "v3"], "v2-binary"),
        (&["127.0.0.1:1", "--slo", "p99<50"], "ms"),
        (&["127.0.0.1:1", "--slo", "latency<50ms"], "p99"),
        (&["127.0.0.1:1", "-r", "-5"], "-5"),
        (&["127.0.0.1:1", "-r", "5", "--arrivals", "never"], "poisson"),
        (&["127.0.0.1:1", "-c", "0"], "--callers"),
        (&["127.0.0.1:1", "--sweep", "--ab", "127.0.0.1:2"], "--sweep and --ab are both given"),
        (&["127.0.0.1:1", "-c", "64", "-r", "5"], "--rate and --callers are both given"),
        (&["127.0.0.1:1", "--sweep", "-n", "5"], "--requests means nothing here"),
        (&["127.0.0.1:1", "--rounds", "5"], "it is of --ab"),
        (&["127.0.0.1:1", "-c", "1000000"], "1..=100000"),
        (&["127.0.0.1:1", "-r", "abc"], "--rate 'abc'"),
        (&["127.0.0.1:1", "-d", "-5s"], "'-5s' is below 0"),
        (&["127.0.0.1:1", "--expect", "foo"], "--expect 'foo'"),
        (&["127.0.0.1:1", "--values", "x=5..1"], "ends before it begins"),
        (&["127.0.0.1:1", "-p", "chat", "--prompt-words", "9..3"], "--prompt-words '9..3'"),
        (&["127.0.0.1:1", "--out", "same", "--html", "same"], "--out and --html are both same"),
    ] {
        let output = run(&mut command(words));
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {told}");
        assert!(told.contains(part), "{words:?}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_or_lacks_the_model_is_told() {
    // Nobody listens on port 1 of the loopback.
    let nobody = loadtest_at("http://127.0.0.1:1", &["-m", "digits", "-n", "1"]).await;
    assert_eq!(nobody.code(), 1);
    assert!(nobody.told().contains("can't connect") && nobody.told().contains("127.0.0.1:1"), "{}", nobody.told());
    let server = Server::start([Service::digits(), Service::new("identity")]).await;
    let url = format!("http://{}", server.data);
    let absent = loadtest_at(&url, &["-m", "absent", "-n", "1"]).await;
    assert_eq!(absent.code(), 1);
    assert!(absent.told().contains("absent"), "{}", absent.told());
    let unnamed = loadtest_at(&url, &["-n", "1"]).await;
    assert!(unnamed.told().contains("digits") && unnamed.told().contains("identity"), "{}", unnamed.told());
    let chat = loadtest_at(&url, &["-m", "digits", "-p", "chat", "-n", "3"]).await;
    assert_eq!(chat.code(), 1, "a tensor model does not chat");
    assert_eq!(chat.outcome("errors"), 3, "{}", chat.told());
}

/// Answers each request of each connection with 200 and a greeting, until the test ends.
async fn greets(listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        connections.spawn(async move {
            let mut request = [0; 4096];
            while stream.read(&mut request).await.is_ok_and(|length| length > 0) {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await.unwrap();
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_with_status_200_is_no_answer_of_a_model() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut server = JoinSet::new();
    server.spawn(greets(listener));
    let folder = Folder::new();
    let body = folder.file("body.json", "{}");
    for protocol in ["v1", "v2", "chat"] {
        let words = ["-m", "m", "-p", protocol, "--body", body.to_str().unwrap(), "-n", "20"];
        let tested = loadtest_at(&url, &words).await;
        assert_eq!((tested.code(), tested.outcome("errors")), (1, 20), "{protocol}: {}", tested.told());
        assert_eq!(tested.run()["outcomes"]["by_kind"]["malformed answer: not a JSON object"], 20);
        assert!(tested.told().contains("hello"), "{}", tested.told());
        let own = loadtest_at(&url, &[&words[..], &["--path", "/mine"]].concat()).await;
        assert_eq!((own.code(), own.outcome("ok")), (0, 20), "{protocol}: {}", own.told());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_callers_than_there_may_be_sockets_are_refused() {
    let mut command = std::process::Command::new("sh");
    command.args(["-c", r#"ulimit -n 1000; exec "$0" loadtest 127.0.0.1:1 -c 25000"#]).arg(binary());
    let output = run(&mut command);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("--callers 25000") && told.contains("have 1000 files open"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_goes_to_standard_output_and_people_read_the_other() {
    let server = Server::start([Service::new("identity")]).await;
    let url = format!("http://{}", server.data);
    let words = [&url, "-m", "identity", "--shape", "x=1,8", "-n", "7", "--warmup", "0s", "--progress", "none"];
    let mut printing = command(&words);
    printing.args(["--out", "-"]);
    let output = run(&mut printing);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["findings"]["run"]["outcomes"]["ok"], 7);
    assert!(String::from_utf8_lossy(&output.stderr).contains("model identity"));
    let full = std::fs::File::create("/dev/full").unwrap();
    let mut lost = command(&words);
    let lost = lost.stdout(full).output().unwrap();
    assert_eq!(lost.status.code(), Some(1), "what can't be told is no success");
    assert!(String::from_utf8_lossy(&lost.stderr).contains("can't write to standard output"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flag_holds_before_the_environment() {
    let server = Server::start([Service::new("identity")]).await;
    let url = format!("http://{}", server.data);
    let folder = Folder::new();
    let (out, other) = (folder.path().join("result.json"), folder.path().join("other.json"));
    let words = [&url, "-m", "identity", "--shape", "x=1,8", "-n", "7", "-c", "1", "--warmup", "0s", "--out"];
    let mut command = command(&words);
    command.arg(&out).envs([
        ("WEIRGATE_LOADTEST_DURATION", "1h"),
        ("WEIRGATE_LOADTEST_RATE", "1"),
        ("WEIRGATE_LOADTEST_STREAM", "true"),
        ("WEIRGATE_LOADTEST_ROUNDS", "3"),
    ]);
    let output = tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let result: serde_json::Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    assert_eq!((&result["findings"]["run"]["due"], &result["options"]["requests"]), (&7.into(), &7.into()));
    assert!(result["options"].get("duration").is_none() && result["options"].get("rate").is_none(), "{result}");
    // Of a run, and not of what is made of its result.
    let mut shown = super::command(&["show"]);
    shown.arg(&out).env("WEIRGATE_LOADTEST_HTML", &other);
    assert!(String::from_utf8_lossy(&run(&mut shown).stdout).contains("model identity") && !other.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_result_can_not_be_written_nothing_is_loaded() {
    let server = Server::start([Service::new("identity")]).await;
    let folder = Folder::new();
    let html = folder.path().join("none").join("page.html");
    let words = ["-m", "identity", "--shape", "x=1,8", "-n", "7", "--html", html.to_str().unwrap()];
    let tested = loadtest_at(&format!("http://{}", server.data), &words).await;
    assert_eq!((tested.code(), tested.result.is_none()), (1, true), "{}", tested.told());
    assert!(tested.told().contains("none/page.html"), "{}", tested.told());
    assert_eq!(server.metric("weirgate_revision_requests_total", "identity").await, 0.0);
}
