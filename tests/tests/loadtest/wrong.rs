//! What is asked in a wrong way, or of nobody, is told in a line.

use weirgate_tests::process::run;
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
        (&["127.0.0.1:1", "--sweep", "--ab", "127.0.0.1:2"], "cannot be used with"),
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
