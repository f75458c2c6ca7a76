//! A file server for models: aiohttp, with the routes of `tests/clients/file_server.py`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::environment::{python, workspace};
use crate::process::Folder;
use crate::wait::within;

/// Serves a folder of its own; ended when dropped.
pub struct FileServer {
    child: Child,
    scheme: &'static str,
    port: u64,
    folder: Folder,
    asked: Arc<Mutex<Vec<Value>>>,
}

impl FileServer {
    pub async fn start() -> FileServer {
        Self::run("http", Folder::new(), &[]).await
    }

    /// By TLS, with a certificate and its key.
    pub async fn with_tls(certificate: &str, key: &str) -> FileServer {
        let folder = Folder::new();
        let (certificate, key) = (folder.file("cert.pem", certificate), folder.file("key.pem", key));
        let flags = ["--cert", certificate.to_str().unwrap(), "--key", key.to_str().unwrap()];
        Self::run("https", folder, &flags).await
    }

    async fn run(scheme: &'static str, folder: Folder, flags: &[&str]) -> FileServer {
        let mut child = Command::new(python())
            .arg("-B")
            .arg(workspace().join("tests/clients/file_server.py"))
            .arg(folder.path())
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python runs");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let first = tokio::task::spawn_blocking(move || (lines.next(), lines));
        let (first, lines) = within("the file server's port", first).await.unwrap();
        let first: Value = serde_json::from_str(&first.expect("the file server starts: run `make setup`")).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let keep = {
            let asked = asked.clone();
            move || {
                for line in lines {
                    let line = serde_json::from_str(&line).unwrap();
                    asked.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                }
            }
        };
        std::thread::Builder::new().name("files".to_owned()).spawn(keep).unwrap();
        FileServer { child, scheme, port: first["port"].as_u64().unwrap(), folder, asked }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}://localhost:{}{path}", self.scheme, self.port)
    }

    /// With a user and a password.
    pub fn url_of(&self, user: &str, path: &str) -> String {
        format!("{}://{user}@localhost:{}{path}", self.scheme, self.port)
    }

    /// Every request so far: `path`, `status` and the headers `Range`, `If-Range` and `If-None-Match`.
    pub fn asked(&self) -> Vec<Value> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends it: nobody answers any more.
    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for FileServer {
    fn drop(&mut self) {
        self.stop();
    }
}
