//! Where the binary, the models and the tools lie. What is missing is a failure that says how to get it.

use std::path::{Path, PathBuf};

/// The workspace's folder.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_owned()
}

fn path(variable: &str, default: &str) -> PathBuf {
    let path = std::env::var_os(variable).filter(|value| !value.is_empty());
    let path = path.map_or_else(|| workspace().join(default), PathBuf::from);
    assert!(path.exists(), "{} is not there: run `make setup` and `make build`, or set {variable}", path.display());
    path
}

/// The binary under test.
pub fn binary() -> PathBuf {
    path("WEIRGATE_BIN", "target/release/weirgate")
}

/// The folder with `testing/` and `minilm/`.
pub fn models() -> PathBuf {
    path("WEIRGATE_MODELS", "build/models")
}

/// A Python with the clients' packages.
pub fn python() -> PathBuf {
    path("WEIRGATE_PYTHON", "build/venv/bin/python")
}

/// A Python with other people's model servers.
pub fn foreign_python() -> PathBuf {
    path("WEIRGATE_FOREIGN_PYTHON", "build/venv-foreign/bin/python")
}

/// ONNX Runtime's library.
pub fn onnxruntime() -> PathBuf {
    path("ORT_DYLIB_PATH", "build/onnxruntime/libonnxruntime.so")
}

/// A Chromium, with its driver's package installed beside the scripts.
pub fn browser() -> PathBuf {
    let modules = workspace().join("tests/browser/node_modules");
    assert!(modules.exists(), "{} is not there: run `make setup-browser`", modules.display());
    path("WEIRGATE_CHROMIUM", "/usr/bin/chromium")
}

/// `short`, or `full` where WEIRGATE_SCALE=full asks for larger counts and longer runs.
pub fn scale<T>(short: T, full: T) -> T {
    if std::env::var("WEIRGATE_SCALE").is_ok_and(|scale| scale == "full") { full } else { short }
}
