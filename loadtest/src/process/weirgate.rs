//! `weirgate serve` as a child process.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Log, Server};
use crate::{Result, record};

/// How long models may take to load.
const LOAD: Duration = Duration::from_secs(60);
const ADMIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How `weirgate serve` is started.
#[derive(Clone, Debug)]
pub struct Weirgate {
    folder: PathBuf,
    manifest: String,
    arguments: Vec<String>,
}

impl Weirgate {
    /// `name` tells the manifests and logs of several servers apart, which are kept under `target/loadtest/`.
    pub fn new(name: &str) -> Weirgate {
        let folder = record::root().join("target/loadtest").join(name);
        Weirgate { folder, manifest: String::new(), arguments: Vec::new() }
    }

    /// Serves the ONNX model at `model`, a file or folder, as a service of this name.
    pub fn service(mut self, name: &str, model: &Path) -> Weirgate {
        let model = model.display();
        self.manifest.push_str(&format!(
            "---\napiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata:\n  name: {name}\nspec:\n  \
             predictor:\n    model:\n      modelFormat:\n        name: onnx\n      storageUri: file://{model}\n"
        ));
        self
    }

    /// Adds a manifest as it is.
    pub fn manifest(mut self, text: &str) -> Weirgate {
        self.manifest.push_str("---\n");
        self.manifest.push_str(text);
        self
    }

    /// Further arguments of `weirgate serve`.
    pub fn arguments(mut self, arguments: &[&str]) -> Weirgate {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// Starts it, and does not wait for its models.
    pub fn start(&self, core: Option<usize>) -> Result<Server> {
        std::fs::create_dir_all(&self.folder)?;
        let manifest = self.folder.join("services.yaml");
        std::fs::write(&manifest, &self.manifest)?;
        let binary = record::binary();
        if !binary.is_file() {
            let text = format!("{} is missing: cargo build --release -p weirgate", binary.display());
            return Err(crate::error(text));
        }
        let mut command = Command::new(binary);
        command.arg("serve").arg("-f").arg(&manifest);
        command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]).args(&self.arguments);
        command.arg("--state").arg(self.folder.join("state"));
        command.env("ORT_DYLIB_PATH", record::onnxruntime());
        let log = self.folder.join("log");
        Server::start(core, command, &Log::File(log.clone()))
            .map_err(|error| crate::error(format!("{error} (log: {})", log.display())))
    }

    /// Starts it, and waits until every model is loaded or has failed.
    pub fn start_settled(&self, core: Option<usize>) -> Result<Server> {
        let server = self.start(core)?;
        let admin = server.admin.ok_or_else(|| crate::error("the server printed no admin address"))?;
        let started = Instant::now();
        while !get(admin, "/readyz")?.starts_with("HTTP/1.1 200") {
            if started.elapsed() > LOAD {
                return Err(crate::error("the models take too long to load"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }
}

/// The whole answer to a GET, head and all.
pub fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ADMIN_TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The sum over all label sets of one series in a `/metrics` text.
pub fn series(metrics: &str, name: &str) -> f64 {
    let value = |line: &str| {
        let rest = line.strip_prefix(name)?;
        let rest = if rest.starts_with('{') { rest.rsplit_once('}')?.1 } else { rest };
        rest.strip_prefix(' ')?.trim().parse::<f64>().ok()
    };
    metrics.lines().filter_map(value).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_summed() {
        let text = "# HELP a x\na{x=\"1\"} 2\na{x=\"} \"} 3.5\na_sum 7\nb 1\n";
        assert_eq!(series(text, "a"), 5.5);
        assert_eq!(series(text, "a_sum"), 7.0);
        assert_eq!(series(text, "c"), 0.0);
    }
}
