//! A gateway with revisions that come and go, asked as its data port is.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use clap::Parser;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use tokio::sync::watch;
use tokio::task::JoinSet;
use weirgate::config::ServeConfig;
use weirgate::dispatch::Lane;
use weirgate::gateway::Gateway;
use weirgate::http::DataRoutes;
use weirgate::server::edge::{Arrived, Routes};
use weirgate_deploy::plane::{DataPlane, LaneOf};
use weirgate_protocol::Retry;
use weirgate_replicas::{Feed, ReplicaSet, ReplicaSetConfig, Wanted};
use weirgate_router::{Revision, RouteTable, Service, Turns};

use crate::model::{Record, loader};

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    config: ServeConfig,
}

pub struct World {
    pub gateway: Arc<Gateway>,
    routes: DataRoutes,
    turns: Turns,
}

/// A revision of service `test/adds`. Its replica adds `more`, so that answers tell who gave them.
pub struct Running {
    pub name: String,
    pub more: u64,
    pub lane: Arc<Lane>,
    pub feed: Arc<dyn Feed>,
    scale: watch::Sender<Wanted>,
    replicas: JoinSet<()>,
}

#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl World {
    pub fn new() -> World {
        let config = Flags::parse_from(["test", "-f", "none.yaml"]).config;
        let gateway = Gateway::new(config);
        World { routes: DataRoutes::new(gateway.clone(), None), gateway, turns: Turns::default() }
    }

    /// A revision without replicas: its calls are held.
    pub fn open(&self, name: &str, more: u64) -> Running {
        let of = LaneOf { namespace: "test", service: "adds", revision: name, passes: false, remote: false };
        let (lane, feed) = self.gateway.open_lane(&of);
        Running {
            name: name.to_owned(),
            more,
            lane,
            feed,
            scale: watch::Sender::new(Wanted::replicas(1)),
            replicas: JoinSet::new(),
        }
    }

    /// A revision with a replica that takes `pace` for each batch.
    pub fn start(&self, name: &str, more: u64, pace: Duration) -> Running {
        let mut running = self.open(name, more);
        running.load(pace);
        running
    }

    pub fn service(&self, revisions: &[(&Running, u8)]) -> Service<Arc<Lane>> {
        let revision = |(running, percent): &(&Running, u8)| Revision {
            name: running.name.as_str().into(),
            variant: None,
            percent: *percent,
            lane: running.lane.clone(),
        };
        Service {
            namespace: "test".into(),
            name: "adds".into(),
            model: "adds".into(),
            timeout: Duration::from_secs(60),
            sticky: None,
            retry: Retry::default(),
            stream_idle_timeout: None,
            revisions: revisions.iter().map(revision).collect(),
            base: 0,
            stable: revisions.first().map(|(stable, _)| stable.name.as_str().into()),
            latest: Some(revisions.len().saturating_sub(1)),
            turns: self.turns.clone(),
            refusal: None,
        }
    }

    /// Routes calls to these, the first of which is the base.
    pub fn publish(&self, revisions: &[(&Running, u8)]) {
        self.gateway.publish(RouteTable::new(vec![self.service(revisions)]));
    }

    pub async fn send(&self, request: Request<Body>) -> Reply {
        let arrived = Arrived::of(request.extensions(), request.headers());
        let response = self.routes.clone().answer(arrived, request).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Reply { status: parts.status, headers: parts.headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    pub async fn infer(&self, value: u64, headers: &[(&str, &str)]) -> Reply {
        self.send(infer("/v2/models/adds/infer", value, headers)).await
    }

    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }
}

pub fn body(value: u64) -> String {
    format!(r#"{{"inputs":[{{"name":"x","shape":[1,1],"datatype":"UINT64","data":[{value}]}}]}}"#)
}

pub fn infer(path: &str, value: u64, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body(value))).unwrap()
}

impl Running {
    pub fn load(&mut self, pace: Duration) {
        let config = ReplicaSetConfig {
            name: self.name.clone(),
            service: format!("test/{}", self.name),
            max_batch_size: None,
            max_latency: None,
            container_concurrency: None,
            loader: loader(self.more, pace, &Record::default()),
        };
        self.replicas.spawn(ReplicaSet::new(config, self.feed.clone()).run(self.scale.subscribe()));
    }

    /// Ends the replicas.
    pub async fn stop(mut self) {
        self.scale.send_replace(Wanted::default());
        while let Some(ended) = self.replicas.join_next().await {
            ended.unwrap();
        }
    }
}

impl Reply {
    /// The revision that the answer is from.
    pub fn revision(&self) -> &str {
        self.headers.get("x-weirgate-revision").map_or("", |name| name.to_str().unwrap())
    }

    #[track_caller]
    pub fn is_from(&self, name: &str, sum: u64) {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        assert_eq!(self.revision(), name, "{self:?}");
        assert!(self.body.contains(&format!("\"data\":[{sum}]")), "{self:?} is not {sum}");
    }

    #[track_caller]
    pub fn is_error(&self, status: u16, words: &[&str]) {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert!(words.iter().all(|word| self.body.contains(word)), "{self:?} lacks one of {words:?}");
    }
}
