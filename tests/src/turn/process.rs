//! What a process has used, from `/proc`.

use std::fs;

use anyhow::{Context as _, Result};

/// Ticks a second of the times in `/proc` (`getconf CLK_TCK`, the same on every Linux of today).
const TICKS_PER_SECOND: f64 = 100.0;

/// Seconds of processor time of a process so far, all its threads, user and system.
///
/// # Errors
/// There is no such process.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name may hold spaces and brackets, so what follows its last bracket counts.
    let fields = stat.rsplit_once(')').context("an unknown form of /proc/PID/stat")?.1;
    let ticks = |index: usize| fields.split_whitespace().nth(index).and_then(|text| text.parse::<f64>().ok());
    let (user, system) = ticks(11).zip(ticks(12)).context("an unknown form of /proc/PID/stat")?;
    Ok((user + system) / TICKS_PER_SECOND)
}

/// KiB of memory of a process that are in RAM.
///
/// # Errors
/// There is no such process.
pub fn resident_kib(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    line.trim().trim_end_matches(" kB").trim().parse().context("an unknown form of VmRSS")
}
