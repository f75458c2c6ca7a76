//! How each server is started.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use weirgate_tests::Service;
use weirgate_tests::environment::{foreign_python, python, workspace};
use weirgate_tests::wait::within;

/// A port that is free now, for servers that must be told one.
fn free() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn variables<const N: usize>(variables: [(&str, &str); N]) -> Value {
    variables.iter().map(|(name, value)| json!({"name": name, "value": value})).collect()
}

fn script(path: &str) -> String {
    workspace().join("tests/foreign/servers").join(path).to_str().unwrap().to_owned()
}

/// The example's server, with two replicas.
pub fn plain() -> Service {
    let server = workspace().join("examples/python-server/server.py");
    let container = json!({"command": [python(), "-B", server], "env": variables([("MODEL_NAME", "sum")])});
    Service::container("sum", container).replicas(2)
}

/// KServe's model server. Where it shall be spoken to in gRPC, its other port is one that nobody uses.
pub fn kserve(name: &str, grpc: bool) -> Service {
    let model = format!("--model_name={name}");
    let (free, given) = (free().to_string(), "$(PORT)".to_owned());
    let (http, grpc_port) = if grpc { (free, given) } else { (given, free) };
    let args =
        [model, format!("--http_port={http}"), format!("--grpc_port={grpc_port}"), format!("--enable_grpc={grpc}")];
    let container = json!({"command": [python(), "-B", script("kserve_server.py")], "args": args});
    speaking(name, container, grpc)
}

/// The same with a model that does not say what it takes.
pub fn kserve_untold(name: &str, grpc: bool) -> Service {
    let tells = kserve(name, grpc);
    tells.container_argument("--untold")
}

/// MLServer with a runtime of the user's.
pub fn mlserver(name: &str, grpc: bool) -> Service {
    let (free, given) = (free().to_string(), "$(PORT)");
    let (http, grpc_port) = if grpc { (free.as_str(), given) } else { (given, free.as_str()) };
    let env = variables([
        ("MLSERVER_HTTP_PORT", http),
        ("MLSERVER_GRPC_PORT", grpc_port),
        ("MLSERVER_MODEL_NAME", name),
        ("PYTHONDONTWRITEBYTECODE", "1"),
    ]);
    let command = json!([foreign_python(), "-m", "mlserver.cli.main", "start", "."]);
    speaking(name, json!({"command": command, "workingDir": script("mlserver"), "env": env}), grpc)
}

fn speaking(name: &str, mut container: Value, grpc: bool) -> Service {
    if grpc {
        container["ports"] = json!([{"containerPort": free(), "name": "h2c", "protocol": "TCP"}]);
    }
    Service::container(name, container)
}

/// llama.cpp's server, which the test runs; ended when dropped.
pub struct Llama {
    child: Child,
    url: String,
}

impl Llama {
    pub async fn start(python: &Path) -> Llama {
        let mut child = Command::new(python)
            .args(["-B", &script("llama.py")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python runs");
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let first = tokio::task::spawn_blocking(move || {
            stdout.lines().map_while(Result::ok).find(|l| l.starts_with("http://"))
        });
        let url = within("llama.cpp's server to listen", first).await.unwrap().expect("it prints its address");
        Llama { child, url }
    }

    /// It has two slots.
    pub fn service(&self, name: &str) -> Service {
        Service::upstream(name, &self.url).concurrency(2)
    }
}

impl Drop for Llama {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
