//! One gateway takes another's place, while calls go on.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use weirgate_protocol::oip;
use weirgate_tests::environment::{binary, onnxruntime};
use weirgate_tests::grpc::{MODEL_INFER, answer, frame, request};
use weirgate_tests::http::{Lost, get};
use weirgate_tests::process::{children_of, run, signal};
use weirgate_tests::{Http1, Http2, Server, Service, calls, eventually, row, values};

/// Callers that go on until they are told to stop. A call that is refused, lost or answered wrongly ends its caller, which
/// fails the test.
struct Load {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    /// Each returns how often it had to connect anew though it wanted to keep its connection.
    callers: JoinSet<usize>,
}

impl Load {
    fn start(address: SocketAddr) -> Load {
        let mut load = Load { stop: Arc::default(), answers: Arc::default(), callers: JoinSet::new() };
        for _ in 0..3 {
            load.callers.spawn(short(address, load.stop.clone(), load.answers.clone()));
        }
        load.callers.spawn(kept(address, load.stop.clone(), load.answers.clone()));
        load.callers.spawn(over_h2(address, load.stop.clone(), load.answers.clone()));
        load
    }

    /// Waits for so many more answers.
    async fn goes_on(&self, more: usize) {
        let before = self.answers.load(Ordering::Relaxed);
        eventually("more answers", async || (self.answers.load(Ordering::Relaxed) >= before + more).then_some(()))
            .await;
    }

    /// Each connection that was to be kept may have ended once for each takeover, and no more.
    async fn stop(mut self, takeovers: usize) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.callers.join_next().await {
            let connected = ended.unwrap();
            assert!(connected <= takeovers, "{connected} connections were closed by {takeovers} takeovers");
        }
    }
}

/// A connection for each call.
async fn short(address: SocketAddr, stop: Arc<AtomicBool>, answers: Arc<AtomicUsize>) -> usize {
    while !stop.load(Ordering::Relaxed) {
        let number = answers.fetch_add(1, Ordering::Relaxed) as f32;
        let mut client = Http1::try_connect(address).await.expect("no connection is refused");
        let reply = client.try_send(calls::json("identity", &row(&[number]))).await.expect("no call is lost");
        assert_eq!(values(&reply.response().outputs[0]), [number]);
    }
    0
}

/// One connection, for as long as the server keeps it.
async fn kept(address: SocketAddr, stop: Arc<AtomicBool>, answers: Arc<AtomicUsize>) -> usize {
    let (mut client, mut connected) = (Http1::connect(address).await, 0);
    while !stop.load(Ordering::Relaxed) {
        let number = answers.fetch_add(1, Ordering::Relaxed) as f32;
        let reply = client.try_send(calls::json("identity", &row(&[number]))).await.expect("no call is lost");
        assert_eq!(values(&reply.response().outputs[0]), [number]);
        if reply.header("connection") == Some("close") {
            connected += 1;
            client = Http1::connect(address).await;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    connected
}

/// One connection over h2, until the server says that it goes away: then what was not sent is sent over another one.
async fn over_h2(address: SocketAddr, stop: Arc<AtomicBool>, answers: Arc<AtomicUsize>) -> usize {
    let (mut client, mut connected) = (Http2::connect(address).await, 0);
    while !stop.load(Ordering::Relaxed) {
        let number = answers.fetch_add(1, Ordering::Relaxed) as f32;
        let message = oip::encode_request("identity", None, row(&[number]), false).unwrap();
        let call = || request(MODEL_INFER, frame(0, &prost::Message::encode_to_vec(&message)));
        let reply = match client.exchange(call()).await {
            Err(Lost::Unsent(_)) => {
                connected += 1;
                client = Http2::connect(address).await;
                client.exchange(call()).await
            }
            answered => answered,
        };
        let message = answer(&reply.expect("no call is lost")).unwrap();
        let message: oip::ModelInferResponse = prost::Message::decode(message).unwrap();
        assert_eq!(values(&oip::decode_response(message).unwrap().outputs[0]), [number]);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    connected
}

/// Waits until the running gateway has given its sockets away.
async fn begins(server: &Server, turn: usize) {
    let begun = async || (server.log().matches("being replaced").count() >= turn).then_some(());
    eventually("the takeover to begin", begun).await;
}

/// Whether it has been given the sockets.
fn takes((_, log): &(Child, Arc<Mutex<String>>)) -> bool {
    log.lock().unwrap().contains("taking over: the running gateway")
}

async fn thaws(server: &Server, times: usize) {
    let thawed = async || (server.log().matches("came to nothing").count() == times).then_some(());
    eventually("it to thaw", thawed).await;
}

async fn answers(server: &Server) {
    Http1::connect(server.data).await.infer("identity", &row(&[1.0])).await.response();
}

#[tokio::test(flavor = "multi_thread")]
async fn three_takeovers_refuse_no_connection_and_lose_no_call() {
    let mut server = Server::start([Service::new("identity")]).await;
    let load = Load::start(server.data);
    for _ in 0..3 {
        load.goes_on(50).await;
        let before = server.pid();
        server.take_over().await;
        assert_ne!(server.pid(), before);
        load.goes_on(50).await;
        let log = server.log();
        for part in
            ["taking over: ", "waiting for what answers there to be ready here: default/identity@", "taken over: "]
        {
            let line =
                log.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("{part} is missing: {log}"));
            assert!(line.contains(&format!("pid={before}")), "{line}");
        }
    }
    load.stop(3).await;
    assert!(server.state().join("handover.sock").exists(), "those that ended took their own away, and not this one's");
    assert_eq!(server.stop().await.code(), Some(0));
    assert!(!server.state().join("handover.sock").exists());
}

/// The models' own processes too: the new gateway's are ready before the old one's end.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_in_processes_of_their_own_are_taken_over_without_a_lost_call() {
    let service = Service::new("identity").annotation("weirgate.dev/isolation", "process");
    let mut server = Server::start([service]).await;
    let load = Load::start(server.data);
    for _ in 0..2 {
        load.goes_on(50).await;
        let before = children_of(server.pid());
        assert_eq!(before.len(), 1);
        server.take_over().await;
        load.goes_on(50).await;
        let left = || before.iter().filter(|pid| std::path::Path::new(&format!("/proc/{pid}")).exists()).count();
        eventually("the old one's processes to be gone", async || (left() == 0).then_some(())).await;
    }
    load.stop(2).await;
}

/// Clients that keep a connection and do not call meanwhile find an answer on it, and are told to connect anew; on the admin
/// port too, and however short running calls have.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_answered_once_more_after_a_takeover() {
    let mut server = Server::with([Service::new("identity")]).flag("--drain-timeout", "1").start().await;
    let mut data = Http1::connect(server.data).await;
    let mut admin = Http1::connect(server.admin).await;
    let mut idle = Http1::connect(server.data).await;
    for client in [&mut data, &mut idle] {
        client.infer("identity", &row(&[1.0])).await.response();
    }
    assert_eq!(admin.get("/readyz").await.status, 200);
    let log = server.log_reader();
    let calls = async {
        eventually("the old one to be replaced", async || log().contains("replaced: finishing").then_some(())).await;
        // Longer than calls have to finish, and less than idle connections have.
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        let reply = data.infer("identity", &row(&[1.0])).await;
        reply.response();
        let told = admin.try_send(get("/metrics")).await.expect("the admin port answers once more");
        assert_eq!([reply.header("connection"), told.header("connection")], [Some("close"); 2]);
    };
    let taker = server.begin_takeover();
    calls.await;
    // One that stays idle is closed in the end: no call was cut by that, and the old one ends well.
    server.replaced_by(taker).await;
    eventually("it to be closed", async || (!idle.is_open()).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_that_is_killed_midway_leaves_the_running_gateway_in_its_place() {
    let mut server = Server::start([Service::new("identity"), Service::new("slow_second")]).await;
    let load = Load::start(server.data);
    let record = server.state().join("services/default/identity.json");
    eventually("the service to be stored", async || record.exists().then_some(())).await;
    for turn in 1..=3 {
        let (mut child, _) = server.begin_takeover();
        begins(&server, turn).await;
        // As one of another version might leave the folder.
        std::fs::remove_file(&record).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        eventually("all that is known to be stored again", async || record.exists().then_some(())).await;
        load.goes_on(20).await;
    }
    thaws(&server, 3).await;
    // It acts on its files again.
    server.write(&Service::sum(2));
    let mut client = Http1::connect(server.data).await;
    eventually("a service that came later", async || {
        (client.get("/v2/models/sum/ready").await.status == 200).then_some(())
    })
    .await;
    assert!(server.is_running());
    // And a takeover after all that succeeds.
    server.take_over().await;
    load.goes_on(20).await;
    load.stop(1).await;
}

/// What was applied before and after is there, whoever reads the folder next.
#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_that_fails_leaves_the_state_folder_as_it_was() {
    let mut server = Server::with([]).without_files().start().await;
    for (turn, name) in [(1, "one"), (2, "two")] {
        let yaml = Service::new("identity").named(name).yaml();
        let applied = server.cli_with_input(&["apply", "-f", "-"], &yaml).await;
        assert!(applied.status.success(), "{applied:?}");
        let ready =
            async || (Http1::connect(server.data).await.get(&ready_path(name)).await.status == 200).then_some(());
        eventually("the service to be ready", ready).await;
        // Without its library it loads no model.
        let mut command = takes_over(&server, &[]);
        command.env("ORT_DYLIB_PATH", "/nonexistent");
        let output = tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && told.contains("these are not ready"), "{told}");
        thaws(&server, turn).await;
    }
    let before = [server.object("one").await, server.object("two").await];
    server.kill().await;
    server.restart().await;
    for (name, before) in ["one", "two"].into_iter().zip(before) {
        assert_eq!(server.object(name).await["spec"], before["spec"]);
        Http1::connect(server.data).await.infer(name, &row(&[1.0])).await.response();
    }
}

fn ready_path(model: &str) -> String {
    format!("/v2/models/{model}/ready")
}

/// A gateway that is to take this one's place, started by these words.
fn takes_over(server: &Server, words: &[&str]) -> Command {
    let mut words = words.iter().map(std::ffi::OsString::from).chain([binary().into()]);
    let mut command = Command::new(words.next().unwrap());
    command
        .args(words)
        .args(["serve", "--takeover", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--state"])
        .arg(server.state())
        .env("ORT_DYLIB_PATH", onnxruntime());
    command
}

/// It is ended, for it holds the folder's lock as the running one does.
#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_that_hangs_is_ended() {
    let mut server = Server::with([Service::new("identity")]).flag("--takeover-timeout", "2").start().await;
    let load = Load::start(server.data);
    let (mut child, _) = server.begin_takeover();
    begins(&server, 1).await;
    signal(child.id(), "STOP");
    thaws(&server, 1).await;
    assert!(server.log().contains("--takeover-timeout"), "{}", server.log());
    let ended = eventually("it to be killed", async || child.try_wait().unwrap()).await;
    assert_eq!(ended.signal(), Some(9), "{ended}");
    assert!(server.is_running());
    load.goes_on(20).await;
    load.stop(0).await;
}

/// Whoever came first wins; the other one is told.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_take_over_at_once_one_does() {
    let mut server = Server::start([Service::new("identity")]).await;
    let load = Load::start(server.data);
    let takers = [server.begin_takeover(), server.begin_takeover()];
    let wins = async || takers.iter().position(takes);
    let winner = eventually("one to take over", wins).await;
    let mut takers = Vec::from(takers);
    let winner = takers.remove(winner);
    let (mut loser, told) = takers.remove(0);
    server.replaced_by(winner).await;
    let ended = eventually("the other one to end", async || loser.try_wait().unwrap()).await;
    assert_eq!(ended.code(), Some(1), "{}", told.lock().unwrap());
    load.goes_on(20).await;
    load.stop(1).await;
    assert!(server.is_running());
}

/// Connections wait until the new one is ready, which goes on alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_stopped_while_it_is_replaced_leaves_its_place_to_the_other() {
    let mut server = Server::start([Service::new("identity")]).await;
    let address = server.data;
    let taker = server.begin_takeover();
    eventually("it to have the sockets", async || takes(&taker).then_some(())).await;
    server.signal("TERM");
    let (done, mut is_done) = tokio::sync::oneshot::channel();
    let mut connects = JoinSet::new();
    connects.spawn(async move {
        while is_done.try_recv().is_err() {
            TcpStream::connect(address).await.expect("no connection is refused");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    server.replaced_by(taker).await;
    answers(&server).await;
    done.send(()).unwrap();
    connects.join_next().await.unwrap().unwrap();
    // And it can be replaced in its turn.
    server.take_over().await;
    answers(&server).await;
}

/// When it has said that it is ready the other one leaves: then nothing may end it. Here its disk is full.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_does_not_end_a_gateway_that_has_taken_over() {
    let mut server = Server::start([]).await;
    // Files may have no byte: writing fails as it does where the disk is full.
    let mut command = takes_over(&server, &["sh", "-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\"", "sh"]);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut taker = Taker(command.spawn().unwrap());
    let ended = server.ended().await;
    assert!(ended.success(), "{ended}");
    let mut client = Http1::connect(server.data).await;
    assert_eq!(client.get("/v2/health/live").await.status, 200);
    assert!(taker.0.try_wait().unwrap().is_none());
}

/// A process of the test's own; killed when dropped.
struct Taker(Child);

impl Drop for Taker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_by_one_that_can_not_do_as_much_is_given_up() {
    let mut server = Server::start([Service::new("identity")]).await;
    let mut command = takes_over(&server, &[]);
    let output = tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("not ready: default/identity"), "{told}");
    assert!(server.is_running());
    answers(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_running_gateway_it_just_starts() {
    let mut server = Server::with([Service::new("identity")]).switch("--takeover").start().await;
    answers(&server).await;
    assert!(server.log().contains("no gateway runs with this state folder"), "{}", server.log());
    server.kill().await;
    // The socket of one that was killed leads nowhere.
    server.restart().await;
    answers(&server).await;
}
