//! What is left behind: nothing.

use tokio::task::JoinSet;
use weirgate_tests::environment::scale;
use weirgate_tests::process::{open_files, resident_bytes};
use weirgate_tests::{Http1, calls, eventually, row};

use crate::scene::{NAME, Scene, upstreams};

const CALLERS: usize = 8;

/// Callers that send one call after the other.
async fn calls(scene: &Scene, count: usize) {
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let address = scene.server.data;
        callers.spawn(async move {
            let mut client = Http1::connect(address).await;
            for id in 0..count / CALLERS {
                let tensors = calls::with_id(id.to_string(), row(&[id as f32]));
                let reply = client.send(calls::json(NAME, &tensors)).await;
                assert_eq!(reply.status, 200, "{}", reply.text());
            }
        });
    }
    callers.join_all().await;
}

/// With servers that come and go meanwhile, so that what is kept of each goes too.
#[tokio::test(flavor = "multi_thread")]
async fn memory_and_files_stay_flat_over_many_calls_and_servers() {
    let rounds = scale(9, 100);
    let (each, pid) = (scale(400, 10_000), |scene: &Scene| scene.server.pid());
    let mut scene = upstreams(3, |service| service).await;
    calls(&scene, scale(1_000, 20_000)).await;
    let files = open_files(pid(&scene));
    let mut resident = Vec::new();
    // A breaker that has opened again and again stays open for long: the next server dies when the last one is back.
    let every = scale(1, 10);
    for round in 0..rounds {
        let dies = (round % every == 0).then_some(round / every % 3);
        if let Some(server) = dies {
            scene.fleet.kill(server);
        }
        calls(&scene, each).await;
        if let Some(server) = dies {
            scene.fleet.revive(server).await;
        }
        resident.push(resident_bytes(pid(&scene)));
    }
    let third = rounds / 3;
    let mean = |samples: &[usize]| samples.iter().sum::<usize>() / samples.len();
    let (first, last) = (mean(&resident[..third]), mean(&resident[rounds - third..]));
    println!("resident: {} KiB in the first third, {} KiB in the last", first >> 10, last >> 10);
    assert!(last < first + first / 10 + (4 << 20), "memory grew from {first} to {last} bytes");
    scene.server.is_idle(NAME).await;
    // Connections to the servers are kept, a few for each.
    eventually("files to be closed", async || (open_files(pid(&scene)) <= files + 3 * CALLERS).then_some(())).await;
}
