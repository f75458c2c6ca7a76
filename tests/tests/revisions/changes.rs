//! Manifests that change all the while, under load: no call is lost, and none is answered by a revision that should not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;
use weirgate_tests::caller::Models;
use weirgate_tests::environment::scale;
use weirgate_tests::process::threads;
use weirgate_tests::{Answered, Caller, Server, Service, To, eventually};

const EVERY: Duration = Duration::from_millis(300);
/// Between the calls of one client.
const PACE: Duration = Duration::from_millis(2);
/// One service is a watched file's, the other is applied.
const SERVICES: [&str; 2] = ["filed", "applied"];

/// What a manifest says now; a step changes one thing of it.
struct Wish {
    add: usize,
    percent: Option<usize>,
    replicas: usize,
    timeout: usize,
    batch: usize,
}

impl Wish {
    fn step(&mut self, step: usize) {
        match step % 8 {
            0 => (self.add, self.percent) = (1 + self.add % 3, Some(20)),
            1 => self.percent = Some(50),
            2 => self.replicas = 2,
            3 => self.percent = Some(0),
            4 => self.timeout += 1,
            5 => self.percent = None,
            6 => self.batch = 1 + self.batch % 5,
            _ => (self.add, self.replicas) = (1 + self.add % 3, 1),
        }
    }

    fn service(&self, name: &str) -> Service {
        let service = Service::sum(self.add).named(name).replicas(self.replicas).timeout(self.timeout);
        let service = service.max_batch(self.batch);
        match self.percent {
            Some(percent) => service.canary_percent(percent),
            None => service,
        }
    }
}

struct Call {
    service: &'static str,
    began: Instant,
    ended: Instant,
    answered: Answered,
}

/// The revisions that took calls of a service at one time.
struct Look {
    at: Instant,
    service: &'static str,
    taking: BTreeSet<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_is_lost_or_wrong_while_manifests_change() {
    let steps = scale(20, 200);
    let mut wishes: [Wish; 2] =
        std::array::from_fn(|index| Wish { add: 1 + index, percent: None, replicas: 1, timeout: 30, batch: 4 });
    let server = Server::start([wishes[0].service(SERVICES[0])]).await;
    let apply = async |wish: &Wish| {
        let yaml = wish.service(SERVICES[1]).yaml();
        let output = server.cli_with_input(&["apply", "-f", "-"], &yaml).await;
        assert!(output.status.success(), "{output:?}");
    };
    apply(&wishes[1]).await;
    for (service, model) in SERVICES.iter().zip(["add_1", "add_2"]) {
        server.splits(service, &[(model, 100)]).await;
    }

    let (stop, stopped) = watch::channel(false);
    let mut callers = JoinSet::new();
    for caller in 0..4 {
        callers.spawn(call(server.data, caller % 2 == 0, stopped.clone()));
    }
    let change = async {
        let mut ticks = tokio::time::interval(EVERY);
        for step in 0..steps {
            ticks.tick().await;
            let (which, wish) = (step % 2, &mut wishes[step % 2]);
            wish.step(step / 2);
            if which == 0 {
                server.write(&wish.service(SERVICES[0]));
            } else {
                apply(wish).await;
            }
        }
        // The last of them are taken up under load too.
        for (service, wish) in SERVICES.iter().zip(&wishes) {
            taken_up(&server, service, wish).await;
        }
        stop.send_replace(true);
    };
    let ((), (looks, models)) = tokio::join!(change, look(&server, stopped));
    let calls: Vec<Call> = callers.join_all().await.into_iter().flatten().collect();
    for call in &calls {
        check(call, &looks, &models);
    }
    for service in SERVICES {
        // Two revisions, two replicas each, and up to three threads of a replica.
        let engines = async || (threads(server.pid(), &format!("{service}-")) <= 12).then_some(());
        eventually("the engines of old revisions to end", engines).await;
    }
    let revisions: BTreeSet<_> = calls.iter().map(|call| &call.answered.revision).collect();
    println!("{} calls, {steps} changes, {} revisions answered", calls.len(), revisions.len());
    assert!(calls.len() > 20 * steps, "{} calls are too few to tell anything", calls.len());
    assert!(revisions.len() > steps / 8, "only {} revisions answered in {steps} changes", revisions.len());
}

/// Calls both services in turn until it is told to stop.
async fn call(address: std::net::SocketAddr, grpc: bool, stopped: watch::Receiver<bool>) -> Vec<Call> {
    let mut caller = if grpc { Caller::grpc(address).await } else { Caller::http(address).await };
    let mut calls = Vec::new();
    for service in SERVICES.iter().cycle() {
        if *stopped.borrow() {
            break;
        }
        let began = Instant::now();
        let answered = caller.ask(&To::model(service)).await;
        let answered = answered.unwrap_or_else(|error| panic!("a call of {service} was lost: {error}"));
        calls.push(Call { service, began, ended: Instant::now(), answered });
        tokio::time::sleep(PACE).await;
    }
    calls
}

/// Looks at both services until it is told to stop, and once more.
async fn look(server: &Server, stopped: watch::Receiver<bool>) -> (Vec<Look>, Models) {
    let (mut looks, mut models) = (Vec::new(), BTreeMap::new());
    let mut last = false;
    while !last {
        last = *stopped.borrow();
        for service in SERVICES {
            let revisions = server.revisions(service).await;
            let taking = revisions.iter().filter(|revision| revision.percent > 0);
            let taking = taking.map(|revision| revision.name.clone()).collect();
            looks.push(Look { at: Instant::now(), service, taking });
            models.extend(revisions.into_iter().map(|revision| (revision.name, revision.model)));
        }
        tokio::time::sleep(10 * PACE).await;
    }
    (looks, models)
}

/// The answer is that of the revision in the header, and this revision took calls at a time between two looks before the
/// call and two looks after it.
fn check(call: &Call, looks: &[Look], models: &Models) {
    let Call { service, began, ended, answered: Answered { model, revision } } = call;
    assert_eq!(models.get(revision), Some(model), "{service}: the header says {revision}");
    let looks: Vec<_> = looks.iter().filter(|look| look.service == *service).collect();
    let before = looks.partition_point(|look| look.at < *began).saturating_sub(2);
    let after = looks.partition_point(|look| look.at <= *ended).saturating_add(2).min(looks.len());
    let took = looks[before..after].iter().any(|look| look.taking.contains(revision));
    assert!(took, "{service}: {revision} answered and did not take calls at that time");
}

/// Waits until the service is as wished.
async fn taken_up(server: &Server, service: &str, wish: &Wish) {
    eventually(&format!("the last change of {service}"), async || {
        let object = server.object(service).await;
        let predictor = &object["spec"]["predictor"];
        let same = predictor["timeout"] == wish.timeout
            && predictor["batcher"]["maxBatchSize"] == wish.batch
            && predictor["canaryTrafficPercent"].as_u64() == wish.percent.map(|percent| percent as u64)
            && predictor["model"]["storageUri"].as_str()?.ends_with(&format!("add_{}", wish.add));
        let ready = server.condition(service, "Ready").await["status"] == "True";
        (same && ready).then_some(())
    })
    .await;
}
