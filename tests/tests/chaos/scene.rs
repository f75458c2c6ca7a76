//! A gateway, the servers behind it, and the load on both.

use std::time::Duration;

use serde_json::json;
use weirgate_tests::behaviour::Behaviour;
use weirgate_tests::chaos::ledger::End;
use weirgate_tests::chaos::{Fleet, Load, Phase, Running};
use weirgate_tests::environment::scale;
use weirgate_tests::{Server, Service, dice, eventually};

pub const NAME: &str = "echo";
pub const UPSTREAM: &str = env!("CARGO_BIN_EXE_upstream");
const RATE: f64 = 100.0;
/// What each call is given, unless a test has its own.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// Calls that one upstream is given at a time.
pub const SLOTS: usize = 4;

pub struct Scene {
    pub server: Server,
    pub fleet: Fleet,
    seed: u64,
}

/// A service whose calls are passed to upstreams that the test runs.
pub async fn upstreams(count: u8, change: impl FnOnce(Service) -> Service) -> Scene {
    let fleet = Fleet::start(UPSTREAM, count).await;
    let service = Service::upstream(NAME, &fleet.urls()).concurrency(SLOTS);
    Scene::start(change(service), fleet).await
}

/// A service whose replicas are children of the gateway.
pub async fn children(count: usize, change: impl FnOnce(Service) -> Service) -> Scene {
    let fleet = Fleet::new(UPSTREAM);
    let service = child(&fleet, &[]).replicas(count);
    let scene = Scene::start(change(service), fleet).await;
    // The service is ready with the first of them.
    eventually("all children to run", async || (scene.fleet.running().len() == count).then_some(())).await;
    scene
}

/// The manifest of a child with these variables besides.
pub fn child(fleet: &Fleet, variables: &[(&str, &str)]) -> Service {
    let given = fleet.variables();
    let all = given.iter().map(|(name, value)| (*name, value.as_str())).chain(variables.iter().copied());
    let env: Vec<_> = all.map(|(name, value)| json!({"name": name, "value": value})).collect();
    let probe = json!({"httpGet": {"path": format!("/v2/models/{NAME}/ready")}, "periodSeconds": 1});
    let container = json!({"command": [fleet.program()], "env": env, "readinessProbe": probe});
    Service::container(NAME, container).concurrency(SLOTS)
}

impl Scene {
    async fn start(service: Service, fleet: Fleet) -> Scene {
        let seed = dice::seed();
        Scene { server: Server::start([service]).await, fleet, seed }
    }

    pub fn load(&self) -> Load {
        Load { seed: self.seed, ..load_on(&self.server) }
    }

    /// Load on servers that take a while for each call, so that a fault meets calls that run.
    pub fn load_that_lingers(&self) -> Load {
        self.fleet.behave(Behaviour::Slow(20));
        self.load()
    }
}

/// Load on a gateway's service, from seed 0.
pub fn load_on(server: &Server) -> Load {
    Load { address: server.data, model: NAME.to_owned(), per_second: RATE, deadline: DEADLINE, fresh: false, seed: 0 }
}

/// How long the normal phase and the recovered one last.
pub fn calm() -> Duration {
    scale(Duration::from_millis(500), Duration::from_secs(20))
}

/// How long a fault lasts.
pub fn fault() -> Duration {
    scale(Duration::from_millis(1_000), Duration::from_secs(60))
}

/// What a fault may leave behind that is still to pass when it is over: breakers half open, probes not yet repeated.
pub fn aftermath() -> Duration {
    scale(Duration::from_millis(1_000), Duration::from_secs(15))
}

/// A fault, from its begin until what it left behind has passed.
pub async fn during(run: &mut Running, begin: impl AsyncFnOnce(), end: impl AsyncFnOnce()) {
    run.lasts(calm()).await;
    run.enter(Phase::Fault);
    begin().await;
    run.lasts(fault()).await;
    end().await;
    run.lasts(aftermath()).await;
    run.enter(Phase::Recovered);
    run.lasts(calm()).await;
}

/// Nothing may fail at all.
pub fn nothing(_: &End) -> bool {
    false
}

/// The gateway says that the server broke off: the call was handed over.
pub fn broken_off(end: &End) -> bool {
    matches!(end, End::Refused(502, _))
}
