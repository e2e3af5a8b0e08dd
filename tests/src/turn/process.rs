//! What a process has used, from `/proc`.

use std::fs;

use anyhow::{Context as _, Result};

/// Seconds of processor time of a process so far, user and system, of all threads that still run.
///
/// # Errors
/// There is no such process.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    // Nanoseconds, where `/proc/PID/stat` has hundredths of a second.
    let mut nanoseconds = 0.0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end while this looks.
        let Ok(stat) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        let first = stat.split_whitespace().next().and_then(|text| text.parse::<f64>().ok());
        nanoseconds += first.context("an unknown form of schedstat")?;
    }
    Ok(nanoseconds / 1e9)
}

/// KiB of memory of a process that are in RAM.
///
/// # Errors
/// There is no such process.
pub fn resident_kib(pid: u32) -> Result<u64> {
    status_kib(pid, "VmRSS:")
}

/// KiB of these that belong to no file: heap and stacks.
///
/// # Errors
/// There is no such process.
pub fn anonymous_kib(pid: u32) -> Result<u64> {
    status_kib(pid, "RssAnon:")
}

fn status_kib(pid: u32, key: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let value = status.lines().find_map(|line| line.strip_prefix(key)).with_context(|| format!("no {key}"))?;
    value.trim().trim_end_matches(" kB").trim().parse().with_context(|| format!("an unknown form of {key}"))
}
