//! Many services at once.

use std::time::Instant;

use serde_json::Value;
use weirgate_tests::{Caller, Server, Service, To, eventually};

const SERVICES: usize = 200;

fn service(number: usize) -> Service {
    Service::new("identity").named(&format!("identity-{number}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_services_are_ready_and_a_change_touches_one() {
    let started = Instant::now();
    let server = Server::start((0..SERVICES).map(service)).await;
    let all_ready = async || {
        let path = "/inferenceservices";
        let request = server.control(http::Method::GET, path).body(weirgate_tests::control::json(&Value::Null));
        let reply = server.control_send(request.unwrap()).await;
        let list: Value = serde_json::from_slice(&reply.body).unwrap();
        let items = list["items"].as_array().unwrap();
        let ready = |object: &&Value| {
            let conditions = object["status"]["conditions"].as_array().unwrap();
            conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
        };
        (items.iter().filter(ready).count() == SERVICES).then_some(())
    };
    eventually("all services to be Ready", all_ready).await;
    println!("{SERVICES} services were ready after {:.2} s", started.elapsed().as_secs_f64());
    let loads = || server.log().matches("starting a replica").count();
    assert_eq!(loads(), SERVICES);

    let mut caller = Caller::http(server.data).await;
    let (changed, before) = (Instant::now(), server.log().len());
    server.write(&Service::new("add_1").named("identity-77"));
    server.splits("identity-77", &[("add_1", 100)]).await;
    println!("a change of one of them was taken up after {:.2} s", changed.elapsed().as_secs_f64());
    assert_eq!(loads(), SERVICES + 1, "one change, one load");
    for number in 0..SERVICES {
        let name = format!("identity-{number}");
        let model = if number == 77 { "add_1" } else { "add_0" };
        assert_eq!(caller.ask(&To::model(&name)).await.unwrap().model, model, "{name}");
    }
    let others = server.log()[before..].lines().find(|line| !line.contains("identity-77")).map(str::to_owned);
    assert_eq!(others, None, "the change touched another service");
}
