//! Keys stay with their revision.

use std::collections::BTreeMap;

use weirgate_tests::caller::Models;
use weirgate_tests::{Caller, Server, Service, To};

use super::exactly;

const KEYS: usize = 400;

/// Which model answers each key; asked twice, over both protocols.
async fn kept(server: &Server, models: &Models, to: impl Fn(usize) -> To) -> BTreeMap<usize, String> {
    let [mut http, mut grpc] = Caller::both(server).await;
    let mut kept = BTreeMap::new();
    for key in 0..KEYS {
        let once = http.ask(&to(key)).await.unwrap();
        let again = grpc.ask(&to(key)).await.unwrap();
        assert_eq!(once, again, "key {key} moved");
        assert_eq!(models[&once.revision], once.model);
        kept.insert(key, once.model);
    }
    kept
}

async fn keys_stay(annotation: &str, to: impl Fn(usize) -> To) {
    let service = |add| Service::sum(add).sticky(annotation);
    let server = Server::start([service(1)]).await;
    server.splits("sum", &[("add_1", 100)]).await;
    let mut before: BTreeMap<usize, String> = (0..KEYS).map(|key| (key, "add_1".to_owned())).collect();
    for percent in [20, 40] {
        server.write(&service(2).canary_percent(percent));
        let models = server.splits("sum", &[("add_1", 100 - percent as u64), ("add_2", percent as u64)]).await;
        let now = kept(&server, &models, &to).await;
        let canary = now.values().filter(|model| *model == "add_2").count();
        let share = KEYS * percent / 100;
        assert!(canary.abs_diff(share) <= KEYS / 10, "{canary} of {KEYS} keys at {percent} %");
        let back = now.iter().find(|(key, model)| *model == "add_1" && before[key] == "add_2");
        assert_eq!(back, None, "raising the share took a key from the canary");
        // Calls without a key are split exactly all the same.
        exactly(&server, &models, &[("add_1", 100 - percent), ("add_2", percent)]).await;
        before = now;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_in_a_header_stay_and_move_only_to_the_canary() {
    keys_stay("header:x-user", |key| To::model("sum").header("x-user", &format!("user-{key}"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_in_a_cookie_stay_and_move_only_to_the_canary() {
    keys_stay("cookie:session", |key| To::model("sum").header("cookie", &format!("theme=dark; session={key}"))).await;
}
