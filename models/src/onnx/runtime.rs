//! ONNX Runtime's shared library: found and loaded once, when the first model needs it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;

use crate::model::LoadError;

/// The environment variable that names the library.
pub const DYLIB_ENV: &str = "ORT_DYLIB_PATH";

const LIBRARY: &str = if cfg!(target_os = "macos") { "libonnxruntime.dylib" } else { "libonnxruntime.so" };

static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
/// ONNX Runtime takes one environment per process and refuses a second: only one thread may try at a time.
static LOADING: Mutex<()> = Mutex::new(());

/// The process's ONNX Runtime. A missing or too old library is an error of the services that need it, and is looked for
/// again when the next one loads.
pub fn environment() -> Result<&'static Environment, LoadError> {
    if let Some(environment) = ENVIRONMENT.get() {
        return Ok(environment);
    }
    let _loading = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(environment) = ENVIRONMENT.get() {
        return Ok(environment);
    }
    let path = library_path();
    let shown = path.display();
    let refuse = |error: String| {
        LoadError(format!(
            "onnx runtime can't be loaded from '{shown}': {error}: set {DYLIB_ENV} to libonnxruntime.so of version 1.24 or \
             newer (scripts/fetch-onnxruntime gets one)"
        ))
    };
    let builder = ort::init_from(&path).map_err(|error| refuse(one_line(&error.to_string())))?;
    let environment = builder.with_name("weirgate").with_telemetry(false).with_logger(Arc::new(log)).build();
    let environment = environment.map_err(|error| refuse(one_line(error.message())))?;
    Ok(ENVIRONMENT.get_or_init(|| environment))
}

/// What ONNX Runtime has to say goes into our log. It tells every refused input as an error, and returns the same text
/// to us: a caller's mistake must not fill the log.
fn log(level: LogLevel, category: &str, _: &str, location: &str, message: &str) {
    match level {
        LogLevel::Fatal => tracing::error!(category, location, "onnx runtime: {message}"),
        _ => tracing::debug!(?level, category, location, "onnx runtime: {message}"),
    }
}

/// `ORT_DYLIB_PATH`, or the library beside the binary, or whatever the system's loader finds.
fn library_path() -> PathBuf {
    if let Some(path) = std::env::var_os(DYLIB_ENV).filter(|path| !path.is_empty()) {
        return path.into();
    }
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(LIBRARY)));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| LIBRARY.into())
}

/// ONNX Runtime's texts span lines; ours don't.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
