//! A server of the control API, and those who ask it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command as Process, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use weirgate::admin::{Access, control_router};
use weirgate::server::{Close, Listener, ListenerConfig};
use weirgate_deploy::{Control, StateFolder};

use crate::platform::remember;

pub const API: &str = "/apis/serving.kserve.io/v1beta1";
pub const PATIENCE: Duration = Duration::from_secs(30);
const CLIENT_TIMEOUT: Duration = Duration::from_millis(500);

/// A server of the control API, and its state folder.
pub struct Server {
    pub address: SocketAddr,
    pub folder: PathBuf,
    pub token: String,
    _state: StateFolder,
    _tasks: JoinSet<()>,
    _close: watch::Sender<Close>,
}

impl Server {
    pub async fn start() -> Server {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("weirgate-admin-{}-{next}", std::process::id()));
        let state = StateFolder::open(&folder).unwrap();
        let token = state.token().unwrap();
        let (commands, asked) = mpsc::channel(8);
        let (publish, views) = watch::channel(Arc::default());
        let config = ListenerConfig {
            max_connections: 16.try_into().unwrap(),
            client_timeout: Duration::from_secs(30),
            tls: None,
        };
        let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), config).await.unwrap();
        let address = listener.address().unwrap();
        let secret = token.secret().to_owned();
        let access = Access::new(token, address, vec!["weirgate.test".to_owned()]);
        let router = control_router(Control::new(commands, views), Arc::new(access), CLIENT_TIMEOUT);
        let (close, closes) = watch::channel(Close::Open);
        let mut tasks = JoinSet::new();
        tasks.spawn(remember(asked, publish));
        tasks.spawn(async move {
            listener.serve(router, closes, Duration::ZERO).await;
        });
        Server { address, folder, token: secret, _state: state, _tasks: tasks, _close: close }
    }

    pub fn request(&self, method: &str, path: &str) -> http::request::Builder {
        http::Request::builder().method(method).uri(path).header("host", self.address.to_string())
    }

    pub fn authorized(&self, method: &str, path: &str) -> http::request::Builder {
        self.request(method, path).header("authorization", format!("Bearer {}", self.token))
    }

    pub async fn send(&self, request: http::request::Builder, body: impl Into<Bytes>) -> Reply {
        let request = request.body(Full::new(body.into())).unwrap();
        let exchange = async {
            let stream = TcpStream::connect(self.address).await.unwrap();
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
            let mut driver = JoinSet::new();
            driver.spawn(async move {
                let _ = connection.await;
            });
            let (head, body) = sender.send_request(request).await.unwrap().into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            Reply { status: head.status.as_u16(), headers: head.headers, body: serde_json::from_slice(&body).unwrap() }
        };
        tokio::time::timeout(PATIENCE, exchange).await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(self.request("GET", path), "").await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.send(self.authorized("POST", path), body.to_string()).await
    }

    pub async fn apply(&self, text: &str) -> Reply {
        let document = json!({ "text": text, "origin": "a.yaml", "base": "/models" });
        self.post(&format!("{API}/apply"), json!({ "documents": [document] })).await
    }

    /// Runs a command against this server.
    pub async fn weirgate(&self, arguments: &[&str]) -> Output {
        let mut process = Process::new(env!("CARGO_BIN_EXE_weirgate"));
        process
            .args(arguments)
            .env("WEIRGATE_ADMIN", self.address.to_string())
            .env("WEIRGATE_STATE", &self.folder)
            .stdin(Stdio::null());
        let run = tokio::task::spawn_blocking(move || process.output().unwrap());
        tokio::time::timeout(PATIENCE, run).await.unwrap().unwrap()
    }

    /// Standard output of a command that must end with this code.
    pub async fn prints(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.weirgate(arguments).await;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Standard error of a command that must end with this code and print nothing.
    pub async fn says(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.weirgate(arguments).await;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Value,
}

impl Reply {
    pub fn refused(&self, status: u16, text: &str) {
        let error = self.body["error"].as_str().unwrap_or_default();
        assert!(self.status == status && error.contains(text), "wanted {status} and '{text}': {self:?}");
    }
}

pub fn manifest(namespace: &str, name: &str) -> String {
    format!(
        "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\n\
         metadata: {{name: {name}, namespace: {namespace}}}\n\
         spec: {{predictor: {{model: {{modelFormat: {{name: onnx}}, storageUri: digits}}}}}}\n"
    )
}
