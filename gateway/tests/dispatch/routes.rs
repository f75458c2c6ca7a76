//! Which service and revision a request reaches, by its path, host, headers and key.

use std::collections::HashMap;
use std::time::Duration;

use axum::body::Body;
use http::Request;
use weirgate_deploy::plane::DataPlane;
use weirgate_protocol::StickyKey;
use weirgate_replicas::{Failure, SetState};
use weirgate_router::{Refusal, RouteTable};

use crate::model::{eventually, runtime};
use crate::world::{Running, World, body, infer};

/// A stable revision and a canary at 20 %, both loaded.
async fn canary() -> (World, Running, Running) {
    let world = World::new();
    let (stable, canary) = (world.start("adds-1", 1_000, Duration::ZERO), world.start("adds-2", 2_000, Duration::ZERO));
    world.publish(&[(&stable, 80), (&canary, 20)]);
    eventually("both are ready", || stable.lane.loaded().is_ok() && canary.lane.loaded().is_ok()).await;
    (world, stable, canary)
}

#[test]
fn calls_are_split_exactly_and_answers_say_by_whom() {
    runtime().block_on(async {
        let (world, _stable, _canary) = canary().await;
        let mut counts = HashMap::new();
        for value in 0..1_000 {
            let reply = world.infer(value, &[]).await;
            let more = if reply.revision() == "adds-1" { 1_000 } else { 2_000 };
            reply.is_from(if more == 1_000 { "adds-1" } else { "adds-2" }, value + more);
            *counts.entry(reply.revision().to_owned()).or_insert(0) += 1;
        }
        assert_eq!((counts["adds-1"], counts["adds-2"]), (800, 200));
        let text = world.gateway.render_revisions();
        for line in [
            r#"weirgate_revision_requests_total{namespace="test",service="adds",revision="adds-2",outcome="ok"} 200"#,
            r#"weirgate_revision_traffic_percent{namespace="test",service="adds",revision="adds-2"} 20"#,
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is not in {text}");
        }
    });
}

#[test]
fn a_revision_can_be_asked_for() {
    runtime().block_on(async {
        let (world, _stable, _canary) = canary().await;
        let header = "x-weirgate-revision";
        for (asked, name, more) in
            [("stable", "adds-1", 1_000), ("latest", "adds-2", 2_000), ("adds-2", "adds-2", 2_000)]
        {
            for value in 0..10 {
                world.infer(value, &[(header, asked)]).await.is_from(name, value + more);
            }
        }
        let host = [("host", "prev-adds-predictor.test.example.com:8080")];
        world.infer(7, &host).await.is_from("adds-1", 1_007);
        let host = [("host", "latest-adds.test"), (header, "adds-2")];
        world.infer(7, &host).await.is_from("adds-2", 2_007);
        let host = [("host", "latest-adds.test"), (header, "stable")];
        world.infer(7, &host).await.is_error(400, &["stable", "latest"]);
        let unknown = world.infer(7, &[(header, "adds-3")]).await;
        unknown.is_error(404, &["adds-3", "adds-1, adds-2"]);
        assert_eq!(unknown.revision(), "");
    });
}

#[test]
fn services_are_reached_by_path_and_host_and_do_not_mix() {
    runtime().block_on(async {
        let (world, stable, canary) = canary().await;
        let (ours, mut theirs) = (world.service(&[(&stable, 100)]), world.service(&[(&canary, 100)]));
        theirs.namespace = "other".into();
        world.gateway.publish(RouteTable::new(vec![ours, theirs]));
        world.infer(7, &[]).await.is_error(409, &["test/adds", "other/adds"]);
        for (path, name, sum) in [("/test/adds", "adds-1", 1_007), ("/other/prev-adds-predictor", "adds-2", 2_007)] {
            let short = format!("{path}/v2/models/adds/infer");
            world.send(infer(&short, 7, &[])).await.is_from(name, sum);
            // A name that is not written plainly goes the long way.
            let long = format!("{path}/v2/models/%61dds/infer?x=y");
            world.send(infer(&long, 7, &[("host", "adds.other")])).await.is_from(name, sum);
            let ready = world.get(&format!("{path}/v2/health/ready"), &[]).await;
            assert_eq!(ready.status, 200, "{ready:?}");
            let metadata = world.get(&format!("{path}/v2/models/adds"), &[]).await;
            assert!(metadata.status == 200 && metadata.body.contains("UINT64"), "{metadata:?}");
            world.get(&format!("{path}/v2"), &[]).await.is_error(200, &["weirgate"]);
            world.get(&format!("{path}/v2/models/adds/infer"), &[]).await.is_error(405, &["GET"]);
            world.get(&format!("{path}/v3"), &[]).await.is_error(404, &["no route"]);
        }
        world.infer(7, &[("host", "adds.test.example.com")]).await.is_from("adds-1", 1_007);
        world.infer(7, &[("host", "adds-other.example.com")]).await.is_from("adds-2", 2_007);
        let h2 = Request::post("http://adds.other:80/v2/models/adds/infer").body(Body::from(body(7))).unwrap();
        world.send(h2).await.is_from("adds-2", 2_007);
        let wrong = world.send(infer("/test/adds/v2/models/other/infer", 7, &[])).await;
        wrong.is_error(404, &["'other'", "test/adds"]);
        let nowhere = world.send(infer("/test/none/v2/models/adds/infer", 7, &[])).await;
        nowhere.is_error(404, &["'test'", "'none'"]);
        world.get("/test/none/v2", &[]).await.is_error(404, &["'test'", "'none'"]);
        world.get("/v2/models/x/y/z", &[]).await.is_error(404, &["no route"]);
    });
}

#[test]
fn the_host_of_a_deleted_service_is_not_answered_by_another_namespace() {
    runtime().block_on(async {
        let (world, stable, canary) = canary().await;
        let (ours, mut theirs) = (world.service(&[(&stable, 100)]), world.service(&[(&canary, 100)]));
        theirs.namespace = "other".into();
        let gone = [("host", "adds.other.example.com")];
        world.gateway.publish(RouteTable::new(vec![ours.clone(), theirs]));
        world.infer(7, &gone).await.is_from("adds-2", 2_007);
        // However often the routes change after that.
        for _ in 0..3 {
            world.gateway.publish(RouteTable::new(vec![ours.clone()]));
            world.infer(7, &gone).await.is_error(404, &["'other'", "'adds.other.example.com'"]);
            world.get("/v2/models/adds/ready", &gone).await.is_error(404, &["'other'"]);
        }
        world.infer(7, &[]).await.is_from("adds-1", 1_007);
        world.infer(7, &[("host", "weirgate.test.svc.cluster.local")]).await.is_from("adds-1", 1_007);
    });
}

#[test]
fn calls_with_a_key_stay_together() {
    runtime().block_on(async {
        let (world, stable, canary) = canary().await;
        let publish = |percent: u8| {
            let mut service = world.service(&[(&stable, 100 - percent), (&canary, percent)]);
            service.sticky = StickyKey::parse("cookie:user");
            world.gateway.publish(RouteTable::new(vec![service]));
        };
        let mut on_canary = Vec::new();
        for percent in [20, 60] {
            publish(percent);
            let mut users = Vec::new();
            for user in 0..100 {
                let cookie = format!("a=b; user={user}");
                let first = world.infer(1, &[("cookie", &cookie)]).await.revision().to_owned();
                assert_eq!(world.infer(1, &[("cookie", &cookie)]).await.revision(), first);
                if first == "adds-2" {
                    users.push(user);
                }
            }
            assert!(users.len().abs_diff(usize::from(percent)) < 18, "{percent} % have {}", users.len());
            assert!(on_canary.iter().all(|user| users.contains(user)), "a user lost the canary");
            on_canary = users;
        }
    });
}

#[test]
fn a_broken_revision_takes_only_what_asks_for_it() {
    runtime().block_on(async {
        let (world, _stable, canary) = canary().await;
        canary.feed.state_changed(SetState::Failed(Failure::of_loading("it is broken", 0)));
        for value in 0..200 {
            world.infer(value, &[]).await.is_from("adds-1", value + 1_000);
        }
        let refused = world.infer(1, &[("x-weirgate-revision", "latest")]).await;
        refused.is_error(503, &["adds-2", "it is broken"]);
        assert_eq!(refused.revision(), "adds-2");
        let text = world.gateway.render_revisions();
        let errors = r#"requests_total{namespace="test",service="adds",revision="adds-2",outcome="error"} 1"#;
        assert!(text.contains(errors), "{text}");
    });
}

#[test]
fn a_service_that_takes_no_calls_says_why() {
    runtime().block_on(async {
        let (world, stable, _canary) = canary().await;
        let all_ready = async || world.get("/v2/health/ready", &[]).await.status;
        let refusing = |stopped| {
            let mut service = world.service(&[]);
            service.refusal = Some(Refusal { text: "service 'test/adds' does not run".into(), stopped });
            service
        };
        let mut other = world.service(&[(&stable, 100)]);
        (other.name, other.model) = ("other".into(), "other".into());
        // One that can't run is missed; one that was stopped is not.
        for (stopped, ready) in [(false, 503), (true, 200)] {
            world.gateway.publish(RouteTable::new(vec![refusing(stopped), other.clone()]));
            world.infer(1, &[]).await.is_error(503, &["does not run"]);
            world.get("/v2/models/adds/ready", &[]).await.is_error(503, &["does not run"]);
            assert_eq!(world.get("/test/adds/v2/health/ready", &[]).await.status, 503);
            assert!(world.gateway.settled());
            assert_eq!(all_ready().await, ready, "stopped: {stopped}");
        }
    });
}
