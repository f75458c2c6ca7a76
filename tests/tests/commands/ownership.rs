//! A service has one owner; who is not it changes nothing.

use weirgate_tests::{Server, Service};

async fn split_by_file() -> (Server, String) {
    let server = Server::start([Service::sum(1)]).await;
    server.splits("sum", &[("add_1", 100)]).await;
    let yaml = Service::sum(2).canary_percent(20).yaml();
    let yaml = format!(
        "# The team's pride.\n{}",
        yaml.replace("canaryTrafficPercent: 20", "canaryTrafficPercent: 20  # careful")
    );
    std::fs::write(server.file(&Service::sum(2)), &yaml).unwrap();
    server.splits("sum", &[("add_1", 80), ("add_2", 20)]).await;
    (server, yaml)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_files_service_is_changed_in_the_file_only() {
    let (server, yaml) = split_by_file().await;
    let other = server.folder().file("other.yaml", &Service::sum(3).yaml());
    for words in [
        &["apply", "-f", other.to_str().unwrap()][..],
        &["delete", "sum"],
        &["rollout", "set", "sum", "50"],
        &["rollout", "promote", "sum"],
        &["rollout", "rollback", "sum"],
    ] {
        let text = server.fails(words).await;
        assert!(text.contains("sum.yaml"), "{words:?}: {text}");
        assert!(words[0] != "rollout" || text.contains("--write-back"), "{words:?}: {text}");
    }
    assert_eq!(std::fs::read_to_string(server.file(&Service::sum(2))).unwrap(), yaml);
    server.splits("sum", &[("add_1", 80), ("add_2", 20)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn write_back_edits_the_file_and_keeps_its_comments() {
    let (server, yaml) = split_by_file().await;
    let file = server.file(&Service::sum(2));
    server.done(&["rollout", "set", "sum", "50", "--write-back"]).await;
    server.splits("sum", &[("add_1", 50), ("add_2", 50)]).await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), yaml.replace("Percent: 20", "Percent: 50"));
    server.done(&["rollout", "rollback", "sum", "--write-back"]).await;
    server.splits("sum", &[("add_1", 100), ("add_2", 0)]).await;
    server.done(&["rollout", "promote", "sum", "--write-back"]).await;
    server.splits("sum", &[("add_2", 100)]).await;
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("# The team's pride.\n") && !text.contains("canaryTrafficPercent"), "{text}");
    // A rollback to another model is more than a line.
    let told = server.fails(&["rollout", "rollback", "sum", "--write-back"]).await;
    assert!(told.contains("sum.yaml") && told.contains("by hand"), "{told}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    server.splits("sum", &[("add_2", 100)]).await;
}
