//! Results as files that say on what machine, commit and date they came about.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::Result;

/// The folder that results are written to; without it they are only printed.
pub const OUT_ENV: &str = "WEIRGATE_BENCH_OUT";

/// The repository this was built from.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// The server under test: `WEIRGATE_BIN`, or where cargo puts it.
pub fn binary() -> PathBuf {
    std::env::var_os("WEIRGATE_BIN").map_or_else(|| root().join("target/release/weirgate"), PathBuf::from)
}

/// The folder of made models: `WEIRGATE_MODELS`, or where `make setup` puts them.
pub fn models() -> PathBuf {
    std::env::var_os("WEIRGATE_MODELS").map_or_else(|| root().join("build/models"), PathBuf::from)
}

/// ONNX Runtime's library: `ORT_DYLIB_PATH`, or where `make setup` puts it.
pub fn onnxruntime() -> PathBuf {
    std::env::var_os("ORT_DYLIB_PATH").map_or_else(|| root().join("build/onnxruntime/libonnxruntime.so"), PathBuf::from)
}

/// A number from the environment.
pub fn number(name: &str, default: f64) -> f64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The commit, with a mark where the tree differs from it.
pub fn commit() -> String {
    let short = output("git", &["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    let changed =
        output("git", &["status", "--porcelain", "--untracked-files=no"]).is_some_and(|text| !text.is_empty());
    if changed { format!("{short}-changed") } else { short }
}

/// What the numbers were measured on.
pub fn machine() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    json!({
        "cpu": model.map_or("unknown", |(_, model)| model.trim()),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "load_average": read("/proc/loadavg").split_ascii_whitespace().next().and_then(|load| load.parse::<f64>().ok()),
    })
}

/// Writes `results` to `NAME-COMMIT.json` in the folder that [`OUT_ENV`] names, if it is set. A relative folder is one of
/// the repository.
pub fn write(name: &str, machine: &Value, results: &Value) -> Result<()> {
    let Some(folder) = std::env::var_os(OUT_ENV).filter(|folder| !folder.is_empty()) else { return Ok(()) };
    let folder = root().join(folder);
    let commit = commit();
    let record = json!({
        "benchmark": name,
        "commit": commit,
        "date": output("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]),
        "machine": machine,
        "results": results,
    });
    std::fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{name}-{commit}.json"));
    std::fs::write(&path, format!("{record:#}\n"))?;
    println!("\nwritten to {}", path.display());
    Ok(())
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).current_dir(root()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
