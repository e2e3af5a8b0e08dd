//! What moving files took: time, and what all processes of the namespaces used.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::Load;
use super::place::Host;

/// How often processes are looked at; what one uses after its last look is missed.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Clock ticks a second in `/proc/PID/stat`: the same on every Linux that Debian runs on.
const TICKS: f64 = 100.0;

/// What one way took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
    /// Peaks of all processes that took part, added up.
    pub(crate) resident_bytes: u64,
}

impl Outcome {
    /// MB/s.
    pub(crate) fn rate(&self, load: &Load) -> f64 {
        load.total_bytes() as f64 / 1e6 / self.seconds
    }
}

/// Watches namespaces until it is asked what it saw.
pub(crate) struct Watch {
    begun: Instant,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<HashMap<u32, Seen>>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    first_ticks: u64,
    last_ticks: u64,
    resident_bytes: u64,
}

impl Watch {
    pub(crate) fn begin(hosts: &[&Host]) -> Result<Self> {
        let namespaces: Result<Vec<u64>> = hosts
            .iter()
            .map(|host| {
                let path = format!("/run/netns/{}", host.namespace);
                Ok(std::fs::metadata(&path).with_context(|| format!("no {path}"))?.ino())
            })
            .collect();
        let namespaces = namespaces?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let mut seen = HashMap::new();
        // What ran before counts from here on.
        look(&namespaces, &mut seen, false);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                look(&namespaces, &mut seen, true);
                std::thread::sleep(LOOK_EVERY);
            }
            look(&namespaces, &mut seen, true);
            seen
        });
        Ok(Self { begun: Instant::now(), stop, thread })
    }

    pub(crate) fn end(self) -> Result<Outcome> {
        let seconds = self.begun.elapsed().as_secs_f64();
        self.stop.store(true, Ordering::Release);
        let seen = self.thread.join().map_err(|_| anyhow::anyhow!("the watching thread failed"))?;
        let ticks: u64 = seen.values().map(|seen| seen.last_ticks - seen.first_ticks).sum();
        let resident_bytes =
            seen.values().filter(|seen| seen.last_ticks > seen.first_ticks).map(|seen| seen.resident_bytes);
        Ok(Outcome { seconds, cpu_seconds: ticks as f64 / TICKS, resident_bytes: resident_bytes.sum() })
    }
}

fn look(namespaces: &[u64], seen: &mut HashMap<u32, Seen>, counts_from_its_start: bool) {
    let Ok(processes) = std::fs::read_dir("/proc") else { return };
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(namespace) = std::fs::metadata(process.path().join("ns/net")) else { continue };
        if !namespaces.contains(&namespace.ino()) {
            continue;
        }
        let Some(ticks) = ticks(pid) else { continue };
        let first_ticks = if counts_from_its_start { 0 } else { ticks };
        let entry = seen.entry(pid).or_insert(Seen { first_ticks, ..Seen::default() });
        entry.last_ticks = ticks.max(entry.last_ticks);
        entry.resident_bytes = resident(pid).unwrap_or(0).max(entry.resident_bytes);
    }
}

/// User and system time: fields 14 and 15 of `/proc/PID/stat`, after the name in brackets.
fn ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn resident(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_time_and_memory() {
        assert!(ticks(std::process::id()).is_some());
        assert!(resident(std::process::id()).unwrap() > 1 << 20);
    }
}
