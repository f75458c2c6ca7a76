//! The closed loop on top of the client.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::AsyncWriteExt;
use weirgate_loadtest::closed::{Callers, Plan, Until};

use crate::server::{listen, post, request, run};

/// Requests of a body each, `0` to `3`.
fn plan(address: std::net::SocketAddr, callers: usize) -> Plan {
    let requests = (0..4).map(|index| post(index.to_string())).collect();
    Plan { address, requests, callers, shared_connections: None, check: None }
}

#[test]
fn runs_count_their_own_requests_on_connections_that_stay() {
    run(async {
        let (connections, asked) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let seen = (connections.clone(), asked.clone());
        let (address, _server) = listen(move |_, mut stream| {
            let (connections, asked) = seen.clone();
            async move {
                connections.fetch_add(1, Ordering::Relaxed);
                while let Some((_, body)) = request(&mut stream).await {
                    asked.fetch_add(1, Ordering::Relaxed);
                    // The third is refused.
                    let status = if body == b"2" { "429 Later" } else { "200 OK" };
                    let head = format!("HTTP/1.1 {status}\r\ncontent-length: 1\r\n\r\n");
                    stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
                }
            }
        })
        .await;
        // The last one's answer is wrong.
        let check: weirgate_loadtest::closed::Check =
            Arc::new(|index, answer| index != 3 && answer.body == index.to_string());
        let mut callers = Callers::connect(Plan { check: Some(check), ..plan(address, 5) }).await.unwrap();
        for runs in 1..=3 {
            let report = callers.run(Until::Requests(40)).await.unwrap();
            assert_eq!(report.answered(), 20);
            let failures: Vec<(String, u64)> = report.failures.into_iter().collect();
            assert_eq!(failures, [("429".to_owned(), 10), ("wrong answer".to_owned(), 10)]);
            assert_eq!(asked.load(Ordering::Relaxed), runs * 40);
        }
        asked.store(0, Ordering::Relaxed);
        assert_eq!(callers.ask(1).await.unwrap().body, "1");
        assert_eq!((connections.load(Ordering::Relaxed), asked.load(Ordering::Relaxed)), (5, 1));
        callers.close().await;
    });
}

#[test]
fn a_server_that_hangs_up_ends_its_callers() {
    run(async {
        let (address, _server) = listen(|_, mut stream| async move {
            request(&mut stream).await;
        })
        .await;
        let mut callers = Callers::connect(plan(address, 3)).await.unwrap();
        let report = callers.run(Until::Requests(100)).await.unwrap();
        assert_eq!(report.failures.get("closed before the answer"), Some(&3));
        assert!(report.all_well().is_err());
    });
}
