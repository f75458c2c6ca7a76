//! The control API and the command line of a running server.

use std::process::{Command, Output};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::Value;

use crate::caller::Models;
use crate::environment::binary;
use crate::http::{Body, Http1, Reply};
use crate::process::run_with_input;
use crate::server::Server;
use crate::wait::{eventually, within};

/// Where the control API's paths begin.
pub const API: &str = "/apis/serving.kserve.io/v1beta1";

/// A revision as the control API shows it.
#[derive(Clone, Debug)]
pub struct Revision {
    pub name: String,
    /// The folder of its test model.
    pub model: String,
    pub percent: u64,
    pub state: String,
    pub roles: Vec<String>,
    pub ready_replicas: u64,
}

impl Server {
    /// The head of a call to the control API, by the host that it allows.
    pub fn control(&self, method: Method, path: &str) -> http::request::Builder {
        Request::builder().method(method).uri(format!("{API}{path}")).header("host", self.admin.to_string())
    }

    /// The token for changes.
    pub fn token(&self) -> String {
        std::fs::read_to_string(self.state().join("token")).unwrap().trim().to_owned()
    }

    pub async fn control_send(&self, request: Request<Body>) -> Reply {
        Http1::connect(self.admin).await.send(request).await
    }

    /// A service of the namespace `default` as the control API shows it in full; `None` where there is none.
    pub async fn view(&self, service: &str) -> Option<Value> {
        let path = format!("/namespaces/default/inferenceservices/{service}?view=full");
        let reply = self.control_send(self.control(Method::GET, &path).body(Full::default()).unwrap()).await;
        match reply.status {
            200 => Some(serde_json::from_slice(&reply.body).unwrap()),
            404 => None,
            _ => panic!("{reply:?}"),
        }
    }

    /// The InferenceService with its status.
    pub async fn object(&self, service: &str) -> Value {
        self.view(service).await.unwrap_or_else(|| panic!("there is no {service}"))["object"].take()
    }

    /// One condition of the status.
    pub async fn condition(&self, service: &str, kind: &str) -> Value {
        let mut object = self.object(service).await;
        let conditions = object["status"]["conditions"].as_array_mut().unwrap();
        let found = conditions.iter_mut().find(|condition| condition["type"] == kind);
        found.unwrap_or_else(|| panic!("{service} has no condition {kind}")).take()
    }

    /// Every revision that is known of a service.
    pub async fn revisions(&self, service: &str) -> Vec<Revision> {
        let Some(view) = self.view(service).await else { return Vec::new() };
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let revision = |value: &Value| Revision {
            name: text(&value["name"]),
            model: text(&value["source"]).rsplit('/').next().unwrap().to_owned(),
            percent: value["percent"].as_u64().unwrap(),
            state: text(&value["state"]),
            roles: value["roles"].as_array().unwrap().iter().map(text).collect(),
            ready_replicas: value["readyReplicas"].as_u64().unwrap(),
        };
        view["revisions"].as_array().unwrap().iter().map(revision).collect()
    }

    /// Which revision serves which test model.
    pub async fn models(&self, service: &str) -> Models {
        self.revisions(service).await.into_iter().map(|revision| (revision.name, revision.model)).collect()
    }

    /// Waits until these models, and no other, run: ready or failed, with these shares of the calls. Returns which revision
    /// is which.
    pub async fn splits(&self, service: &str, expected: &[(&str, u64)]) -> Models {
        let mut expected: Vec<_> = expected.iter().map(|(model, percent)| ((*model).to_owned(), *percent)).collect();
        expected.sort();
        let mut seen = Vec::new();
        let settled = async || {
            seen = self.revisions(service).await;
            let runs = seen.iter().filter(|revision| revision.state != "Stopped");
            let mut runs: Vec<_> = runs.clone().map(|revision| (revision.model.clone(), revision.percent)).collect();
            runs.sort();
            let settled = seen.iter().all(|revision| ["Ready", "Failed", "Stopped"].contains(&&*revision.state));
            (settled && runs == expected).then_some(())
        };
        let what = format!("{service} to be split {expected:?}");
        eventually(&what, settled).await;
        seen.into_iter().map(|revision| (revision.name, revision.model)).collect()
    }

    /// Waits for an event with this reason, and returns its message.
    pub async fn event(&self, service: &str, reason: &str) -> String {
        eventually(&format!("the event {reason} of {service}"), async || {
            let view = self.view(service).await?;
            let found = view["events"].as_array()?.iter().rfind(|event| event["reason"] == reason)?.clone();
            Some(found["message"].as_str()?.to_owned())
        })
        .await
    }

    /// How often replicas of this service have begun to load their model.
    pub fn loads(&self, service: &str) -> usize {
        let of = format!("service=default/{service} ");
        self.log().lines().filter(|line| line.contains("starting a replica") && line.contains(&of)).count()
    }

    /// Runs a command against this server.
    pub async fn cli(&self, arguments: &[&str]) -> Output {
        self.cli_with_input(arguments, "").await
    }

    pub async fn cli_with_input(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = Command::new(binary());
        command.args(arguments).arg("--admin").arg(format!("http://{}", self.admin)).arg("--state").arg(self.state());
        let input = input.to_owned();
        let run = tokio::task::spawn_blocking(move || run_with_input(&mut command, &input));
        within("a command to end", run).await.unwrap()
    }

    /// Runs a command that must do what it is asked, and returns what it prints.
    pub async fn done(&self, arguments: &[&str]) -> String {
        let output = self.cli(arguments).await;
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that must fail with exit code 1, and returns what it says.
    pub async fn fails(&self, arguments: &[&str]) -> String {
        let output = self.cli(arguments).await;
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

/// A body of JSON.
pub fn json(value: &Value) -> Body {
    Full::new(Bytes::from(value.to_string()))
}
