//! Whatever calls a batch is made of, each caller gets its own rows.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use weirgate_replicas::Described;

use crate::jobs::{answers, job, numbers};
use crate::model::{NOTHING, REFUSED, Speaks, serve, spec};
use crate::server::Server;

#[test]
fn each_caller_of_any_batch_gets_its_rows_in_any_protocol() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let calls = prop::collection::vec(prop::collection::vec([-20..20_i32, -20..20_i32], 1..5), 1..6);
    let protocols = [
        (Speaks { v2: true, binary: true, ..NOTHING }, "http"),
        (Speaks { v2: true, ..NOTHING }, "h2c"),
        (Speaks { grpc: true, ..NOTHING }, "grpc"),
        (Speaks { v1: true, ..NOTHING }, "http"),
    ];
    for (speaks, scheme) in protocols {
        let server = runtime.block_on(Server::start(move |request| serve(speaks, &request)));
        let remote = server.remote(scheme);
        let Speaks { v1, v2, binary, grpc } = speaks;
        remote.describe(Described { v1, v2, binary, grpc, ..Described::default() });
        TestRunner::new(Config::with_cases(48))
            .run(&calls, |calls| {
                let (jobs, callers) = calls.iter().map(|rows| job(&spec(), rows, &["double"])).unzip();
                let got = runtime.block_on(async { answers(remote.execute(jobs).await, callers).await });
                prop_assert_eq!(got.len(), calls.len());
                for (rows, got) in calls.iter().zip(got) {
                    let wrong = rows.iter().flatten().any(|number| *number == REFUSED);
                    match got {
                        Ok(outputs) => {
                            let doubled: Vec<i32> = rows.iter().flatten().map(|number| number * 2).collect();
                            prop_assert!(!wrong && outputs.len() == 1);
                            prop_assert_eq!(numbers(&outputs[0]), doubled);
                        }
                        Err(error) => prop_assert!(wrong, "{}", error),
                    }
                }
                Ok(())
            })
            .unwrap();
    }
}
