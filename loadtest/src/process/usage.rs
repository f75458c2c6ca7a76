//! What a process costs, read from `/proc`.

use std::time::Duration;

use crate::Result;

/// CPU time of the live threads of a process, by the scheduler's own clock. Threads that have ended are not in it, so
/// take differences only where none ends in between.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let mut total = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread that ended meanwhile has no file any more.
        let Ok(text) = std::fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        total += on_cpu(&text).ok_or_else(|| crate::error("schedstat can't be read"))?;
    }
    Ok(Duration::from_nanos(total))
}

/// The first number of `schedstat`: nanoseconds on a core.
fn on_cpu(schedstat: &str) -> Option<u64> {
    schedstat.split_ascii_whitespace().next()?.parse().ok()
}

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// All that is resident (`VmRSS`).
    pub resident: u64,
    /// The most that ever was (`VmHWM`).
    pub peak: u64,
    /// The part of `resident` that is its own data (`RssAnon`).
    pub anonymous: u64,
    /// The part of `resident` that is code and other files (`RssFile`).
    pub files: u64,
}

impl Memory {
    pub fn mib(bytes: u64) -> f64 {
        bytes as f64 / f64::from(1 << 20)
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "resident": self.resident, "peak": self.peak, "anonymous": self.anonymous, "files": self.files,
        })
    }
}

pub fn memory(pid: u32) -> Result<Memory> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    parse(&status).ok_or_else(|| crate::error(format!("/proc/{pid}/status has no memory in it")))
}

fn parse(status: &str) -> Option<Memory> {
    let field = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        value.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib << 10)
    };
    Some(Memory {
        resident: field("VmRSS")?,
        peak: field("VmHWM")?,
        anonymous: field("RssAnon")?,
        files: field("RssFile")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_schedstat_are_read() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nRssAnon:\t     512 kB\nRssFile:\t 500 kB\n";
        let memory = Memory { resident: 1 << 20, peak: 2 << 20, anonymous: 512 << 10, files: 500 << 10 };
        assert_eq!(parse(status), Some(memory));
        assert_eq!(parse("Name:\tx\n"), None);
        assert_eq!(on_cpu("154215674 7790309 383\n"), Some(154_215_674));
    }

    #[test]
    fn this_process_uses_time_and_memory() {
        assert!(cpu_time(std::process::id()).unwrap() > Duration::ZERO);
        assert!(memory(std::process::id()).unwrap().resident > 0);
    }
}
