//! Models from URLs: the real binary, a real file server, real models.

#![allow(clippy::unwrap_used)]

mod faults;
mod secrets;
mod sources;

use std::path::PathBuf;

use weirgate_tests::environment::models;
use weirgate_tests::files::FileServer;
use weirgate_tests::{Caller, Server, To, eventually};

/// Puts a test model into the file server's folder.
fn put(files: &FileServer, model: &str, name: &str) {
    std::fs::copy(model_file(model), files.folder().join(name)).unwrap();
}

fn model_file(model: &str) -> PathBuf {
    models().join("testing").join(model).join("model.onnx")
}

/// Which model the service `sum` answers with.
async fn answers(server: &Server) -> Result<String, String> {
    let mut caller = Caller::http(server.data).await;
    Ok(caller.ask(&To::model("sum")).await?.model)
}

/// Waits until half of the model has come, and the file server says no more.
async fn half_has_come(server: &Server, model: &str) -> u64 {
    let half = std::fs::metadata(model_file(model)).unwrap().len() / 2;
    eventually("half of the model to have come", async || {
        let entries = std::fs::read_dir(server.state().join("models")).ok()?;
        let parts = entries.filter_map(|entry| std::fs::metadata(entry.ok()?.path().join("part")).ok());
        (parts.map(|part| part.len()).sum::<u64>() == half).then_some(())
    })
    .await;
    half
}

/// The statuses that the file server has answered with.
fn statuses(files: &FileServer) -> Vec<u64> {
    files.asked().iter().map(|asked| asked["status"].as_u64().unwrap()).collect()
}
