//! Revisions: how calls are split among them, how they are reached, and how one follows another. Every count is held by
//! what the answers hold, not only by their headers: `add_1` to `add_3` are the models.

#![allow(clippy::unwrap_used)]

mod broken;
mod canary;
mod changes;
mod files;
mod readiness;
mod replacement;
mod routing;
mod sticky;
mod variants;

use weirgate_tests::caller::Models;
use weirgate_tests::{Caller, Server, Service, To};

/// A server whose service `sum` has rolled out `add_1`.
async fn rolled_out() -> Server {
    let server = Server::start([Service::sum(1)]).await;
    server.splits("sum", &[("add_1", 100)]).await;
    server
}

/// Makes 1,000 calls with one client of each protocol: any 100 that follow each other are split exactly like this.
async fn exactly(server: &Server, models: &Models, expected: &[(&str, usize)]) {
    for mut caller in Caller::both(server).await {
        let sequence = caller.sequence(&To::model("sum"), models, 1_000).await;
        for (at, window) in sequence.windows(100).enumerate() {
            for (model, share) in expected {
                let count = window.iter().filter(|answered| answered == model).count();
                assert_eq!(count, *share, "{model} in calls {at} to {}", at + 99);
            }
        }
    }
}
