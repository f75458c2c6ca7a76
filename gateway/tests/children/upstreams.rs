//! Servers that somebody else runs.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use weirgate_protocol::UpstreamUrl;
use weirgate_replicas::remote::{Address, TransportConfig};
use weirgate_replicas::{FailureKind, RemoteLimits, ReplicaSet, Upstream, UpstreamsConfig};

use crate::world::{SERVER, Set, Told, free_port, python, watching};

/// Somebody's server; killed when dropped.
struct Theirs(Child);

impl Theirs {
    fn start(port: u16) -> Theirs {
        let mut command = Command::new(python());
        command.args(["-c", SERVER]).env("PORT", port.to_string()).stdin(Stdio::null());
        Theirs(command.spawn().unwrap())
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn set(ports: &[u16]) -> Set {
    let servers = ports.iter().map(|port| {
        let url = UpstreamUrl::parse(&format!("http://127.0.0.1:{port}")).unwrap();
        Upstream { name: Arc::from(url.to_string()), transport: TransportConfig::new(Address::Url(url)) }
    });
    let config = UpstreamsConfig { servers: servers.collect(), watch: watching(), limits: RemoteLimits::default() };
    Set::run(ports.len(), |feed| ReplicaSet::upstreams("m".to_owned(), config, feed))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_down_at_the_start_may_come_later_go_and_come_again() {
    let port = free_port();
    let set = set(&[port]);
    let down = |told: &[Told]| matches!(told.last(), Some(Told::Failed(reason)) if reason.contains(&port.to_string()));
    set.until("it is down", down).await;
    let noted = set.noted("it is down", |_| true).await;
    let reason = format!("can't connect to http://127.0.0.1:{port}: connection refused");
    assert_eq!((noted.kind, &*noted.reason), (FailureKind::Upstream, reason.as_str()), "it is said once");
    let theirs = Theirs::start(port);
    set.ready(1).await;
    drop(theirs);
    set.until("it is down again", down).await;
    assert_eq!(set.count(|told| *told == Told::Left(0)), 1);
    let _theirs = Theirs::start(port);
    set.ready(1).await;
    assert_eq!(set.count(|told| matches!(told, Told::Joined(_))), 2);
    let told = set.end().await;
    assert_eq!(told.iter().filter(|told| matches!(told, Told::Left(_))).count(), 2, "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_down_takes_nothing_from_the_others() {
    let (up, down) = (free_port(), free_port());
    let _theirs = Theirs::start(up);
    let set = set(&[up, down]);
    set.until("one is ready, and the other says why it is not", |told| {
        matches!(told.last(), Some(Told::Ready { ready: 1, failure: Some(why), .. }) if why.contains(&down.to_string()))
    })
    .await;
    set.end().await;
}

/// Each says for itself why it is not ready, whoever said so last.
#[tokio::test(flavor = "multi_thread")]
async fn what_one_said_before_it_came_up_does_not_hide_why_another_is_down() {
    for up in 0..2 {
        let ports = [free_port(), free_port()];
        let set = set(&ports);
        set.until("both are down", |told| matches!(told.last(), Some(Told::Failed(_)))).await;
        let _theirs = Theirs::start(ports[up]);
        let down = ports[1 - up].to_string();
        set.until(
            "one is ready, and the other says why it is not",
            |told| matches!(told.last(), Some(Told::Ready { ready: 1, failure: Some(why), .. }) if why.contains(&down)),
        )
        .await;
        set.end().await;
    }
}
