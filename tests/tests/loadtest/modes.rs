//! Sweeps, two servers in turn, results compared, and Ctrl-C.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use weirgate_tests::process::{self, Folder};
use weirgate_tests::{Server, Service};

use super::{command, counted, loadtest};

#[tokio::test(flavor = "multi_thread")]
async fn an_objective_decides_the_exit_code() {
    let server = Server::start([Service::digits()]).await;
    let words = ["-m", "digits", "-c", "2", "-d", "500ms", "--slo"];
    let met = loadtest(&server, &[&words[..], &["p50<10s,errors<0.1%,rate>1"]].concat()).await;
    assert_eq!(met.code(), 0, "{}", met.told());
    let missed = loadtest(&server, &[&words[..], &["p50<1us,errors<0.1%"]].concat()).await;
    assert_eq!(missed.code(), 1, "{}", missed.told());
    assert!(missed.told().contains("is not below 1"), "{}", missed.told());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_goes_up_until_the_server_no_longer_keeps_up() {
    let server = Server::start([Service::digits()]).await;
    // What a busy machine can't miss: the sweep ends where answers fall behind.
    let tested = loadtest(&server, &["-m", "digits", "--sweep", "-d", "500ms", "--slo", "p50<10s,errors<50%"]).await;
    assert_eq!(tested.code(), 0, "{}", tested.told());
    let sweep = &tested.findings()["sweep"];
    assert!(sweep["best_rate"].as_f64().unwrap() > 0.0, "{}", tested.told());
    let points = sweep["points"].as_array().unwrap().iter();
    let rates: Vec<_> = points.map(|point| point["rate"].as_f64().unwrap()).collect();
    assert!(rates.len() >= 3 && rates.is_sorted(), "{rates:?}");
    // It did not end for want of points, and says why it went no higher.
    let failed = sweep["failed_rate"].as_f64().unwrap_or_else(|| panic!("{}", tested.told()));
    assert!(failed > sweep["best_rate"].as_f64().unwrap(), "{}", tested.told());
    // A rate is met only if it is met twice, so the first try may have gone well.
    let missed = sweep["points"].as_array().unwrap().iter().filter(|point| point["rate"] == failed);
    let missed: String = missed.map(|point| point["missed"].to_string()).collect();
    assert!(missed.contains("does not keep up") || missed.contains("errors"), "{missed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_are_loaded_in_turn_and_told_apart() {
    let quick = Server::start([Service::new("identity").named("model")]).await;
    let slow = Server::start([Service::new("slow").named("model")]).await;
    let other = format!("http://{}", slow.data);
    let words = ["-m", "model", "-c", "2", "-d", "500ms", "--rounds", "3", "--shape", "x=1,8", "--ab", &other];
    let tested = loadtest(&quick, &words).await;
    assert_eq!(tested.code(), 0, "{}", tested.told());
    let ratios = tested.findings()["ab"]["ratios"].as_array().unwrap();
    let of =
        |figure: &str| ratios.iter().find(|ratio| ratio["figure"] == figure).unwrap_or_else(|| panic!("{ratios:?}"));
    assert_eq!(of("latency p50")["better"], "a", "{}", tested.told());
    assert!(of("latency p50")["ratio"].as_f64().unwrap() > 1.0, "{}", tested.told());
    let judged = loadtest(&quick, &[&words[..], &["--slo", "p50<1us"]].concat()).await;
    assert_eq!(judged.code(), 1, "{}", judged.told());
    assert!(judged.told().contains("A: objective missed: p50"), "{}", judged.told());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_of_conversations_is_refused() {
    let server = Server::start([Service::digits()]).await;
    let words = ["-m", "digits", "--protocol", "chat", "--turns", "3", "--sweep"];
    let refused = loadtest(&server, &words).await;
    assert_eq!(refused.code(), 2, "{}", refused.told());
    assert!(refused.told().contains("--sweep searches a rate of single requests"), "{}", refused.told());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_fails_is_surely_worse() {
    let server = Server::start([Service::new("identity")]).await;
    let folder = Folder::new();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (a, b) = (path("a.json"), path("b.json"));
    for (expect, file, code) in [("json:/model_name=\"identity\"", &a, 0), ("json:/model_name=\"other\"", &b, 1)] {
        let mut loading = command(&[&format!("http://{}", server.data), "-m", "identity", "-c", "1", "-d", "500ms"]);
        loading.args(["--shape", "x=1,8", "--progress", "none", "--expect", expect, "--out", file]);
        let output = tokio::task::spawn_blocking(move || process::run(&mut loading)).await.unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let compared = process::run(&mut command(&["compare", &a, &b, "--fail-above", "2"]));
    let told = String::from_utf8_lossy(&compared.stdout);
    assert_eq!(compared.status.code(), Some(1), "{told}{}", String::from_utf8_lossy(&compared.stderr));
    assert!(told.contains("B answered nothing right, and A did"), "{told}");
    assert!(told.contains("not answered right of B"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn results_are_compared_and_shown_again() {
    let server = Server::start([Service::new("identity"), Service::new("slow")]).await;
    let folder = Folder::new();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for (model, file) in [("identity", path("a.json")), ("slow", path("b.json"))] {
        let words =
            [format!("http://{}", server.data), "-m".into(), model.into(), "-c".into(), "2".into(), "-d".into()];
        let mut loading = command(&[]);
        loading.args(words).args(["3s", "--shape", "x=1,8", "--warmup", "0s", "--progress", "none", "--out", &file]);
        let output = tokio::task::spawn_blocking(move || process::run(&mut loading)).await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let (a, b, out) = (path("a.json"), path("b.json"), path("ratios.json"));
    let compared = process::run(&mut command(&["compare", &a, &b, "--fail-above", "1.5", "--out", &out]));
    let told = String::from_utf8_lossy(&compared.stdout);
    assert_eq!(compared.status.code(), Some(1), "{told}{}", String::from_utf8_lossy(&compared.stderr));
    assert!(told.contains("surely worse"), "{told}");
    let written: Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    assert!(written["ratios"].as_array().unwrap().iter().any(|ratio| ratio["better"] == "a"), "{written}");
    let same = process::run(&mut command(&["compare", &a, &a, "--fail-above", "1.5"]));
    assert_eq!(same.status.code(), Some(0), "{}", String::from_utf8_lossy(&same.stdout));
    let shown = process::run(&mut command(&["show", &a]));
    assert!(String::from_utf8_lossy(&shown.stdout).contains("model identity"), "{shown:?}");
    let page = path("a.html");
    assert!(process::run(&mut command(&["show", &a, "--html", &page])).status.success());
    assert!(std::fs::read_to_string(&page).unwrap().contains("identity"));
    let broken = folder.file("broken.json", "{}");
    let refused = process::run(&mut command(&["show", broken.to_str().unwrap()]));
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("broken.json"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_a_run_early_and_tells_what_was_measured() {
    ended_by("INT", 130).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_a_run_as_ctrl_c_does() {
    ended_by("TERM", 143).await;
}

async fn ended_by(signal: &str, code: i32) {
    let server = Server::start([Service::new("identity")]).await;
    let folder = Folder::new();
    let out = folder.path().join("result.json");
    let mut loading =
        command(&[&format!("http://{}", server.data), "-m", "identity", "--shape", "x=1,8", "-r", "100", "-d", "10m"]);
    loading.args(["--warmup", "0s", "--progress", "none", "--out"]).arg(&out);
    let child = loading.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    counted(&server, "identity", |counted| counted >= 60).await;
    process::signal(child.id(), signal);
    let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("stopping: waiting at most 5s"), "{told}");
    assert_eq!(output.status.code(), Some(code), "{told}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("identity"), "the table is printed");
    let result: Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    let run = &result["findings"]["run"];
    let seconds = run["seconds"].as_f64().unwrap();
    assert!(run["outcomes"]["ok"].as_u64().unwrap() >= 50, "{run}");
    assert_eq!((&run["stopped"], &run["outcomes"]["timeouts"]), (&Value::Bool(true), &Value::from(0)), "{run}");
    assert!(Duration::from_secs_f64(seconds) < Duration::from_secs(600), "{seconds}");
}
