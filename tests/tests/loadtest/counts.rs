//! Each request once, and each by its right name.

use weirgate_tests::process::Folder;
use weirgate_tests::{Server, Service};

use super::{counted, loadtest};

#[tokio::test(flavor = "multi_thread")]
async fn every_protocol_counts_what_the_server_counts() {
    let server = Server::start([Service::digits()]).await;
    let mut sum = 0;
    for (protocol, callers) in [("v1", "3"), ("v2", "4"), ("v2-binary", "2"), ("grpc", "5")] {
        let words = ["-m", "digits", "-p", protocol, "-c", callers, "-n", "200", "--expect", "same"];
        let tested = loadtest(&server, &words).await;
        assert_eq!((tested.code(), tested.outcome("ok")), (0, 200), "{protocol}: {}", tested.told());
        assert_eq!(tested.run()["due"], 200, "{protocol}");
        assert_eq!(tested.run()["server"]["overhead"]["count"], 200, "{protocol}: the server's own time is read");
        sum += 200;
        counted(&server, "digits", |counted| counted == sum).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_loop_sends_each_arrival_once_from_any_number_of_threads() {
    let server = Server::start([Service::new("identity")]).await;
    let mut sum = 0;
    for (arrivals, threads) in [("constant", "1"), ("poisson", "2"), ("gamma:2", "3")] {
        let words = [
            "-m",
            "identity",
            "--shape",
            "x=1,8",
            "-r",
            "300",
            "-n",
            "150",
            "--arrivals",
            arrivals,
            "--threads",
            threads,
        ];
        let tested = loadtest(&server, &words).await;
        assert_eq!((tested.code(), tested.outcome("ok")), (0, 150), "{arrivals}: {}", tested.told());
        sum += 150;
        counted(&server, "identity", |counted| counted == sum).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_is_seen_with_its_exact_share() {
    let server = Server::start([Service::sum(1)]).await;
    server.write(&Service::sum(2).canary_percent(20));
    server.splits("sum", &[("add_1", 80), ("add_2", 20)]).await;
    let tested = loadtest(&server, &["-m", "sum", "--shape", "x=1,8", "-c", "1", "-n", "500"]).await;
    let revisions = tested.run()["server"]["revisions"].as_object().unwrap();
    let mut shares: Vec<_> = revisions.values().map(|revision| revision["answers"].as_u64().unwrap()).collect();
    shares.sort_unstable();
    assert_eq!(shares, [100, 400], "{}", tested.told());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_sheds_is_counted_apart_from_its_errors() {
    let server = Server::start([Service::new("slow").max_queued(1)]).await;
    // Far more callers than a queue of one holds.
    let tested =
        loadtest(&server, &["-m", "slow", "--shape", "x=1,8", "-c", "32", "-n", "320", "--slo", "shed<=0%"]).await;
    assert_eq!(tested.code(), 1, "{}", tested.told());
    let (ok, shed) = (tested.outcome("ok"), tested.outcome("shed"));
    assert!(ok > 0 && shed > 0, "{}", tested.told());
    assert_eq!((ok + shed, tested.outcome("errors")), (320, 0), "{}", tested.told());
    assert_eq!(tested.run()["outcomes"]["by_kind"]["429"], shed);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_answers_and_errors_are_no_right_answers() {
    let server = Server::start([Service::new("identity")]).await;
    let folder = Folder::new();
    let body = folder
        .file("ones.json", r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,8],"data":[1,1,1,1,1,1,1,1]}]}"#);
    let body = body.to_str().unwrap();
    let words = ["-m", "identity", "-n", "40", "--body", body, "--expect"];
    let right = loadtest(&server, &[&words[..], &["json:/outputs/0/data/7=1"]].concat()).await;
    assert_eq!((right.code(), right.outcome("ok")), (0, 40), "{}", right.told());
    let wrong = loadtest(&server, &[&words[..], &["json:/outputs/0/data/7=2"]].concat()).await;
    assert_eq!((wrong.code(), wrong.outcome("wrong")), (1, 40), "{}", wrong.told());
    assert!(wrong.told().contains("json:/outputs/0/data/7 is not 2"), "{}", wrong.told());
    let unknown = loadtest(&server, &["-m", "nobody", "-n", "10", "--body", body]).await;
    assert_eq!((unknown.code(), unknown.outcome("errors")), (1, 10), "{}", unknown.told());
    assert_eq!(unknown.run()["outcomes"]["by_kind"]["404"], 10, "{}", unknown.told());
}
