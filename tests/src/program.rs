//! A program under test: its output is read as it comes, and it ends with the test.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Lines kept for messages of failed tests.
const KEPT_LINES: usize = 20_000;

/// Where cargo put a program of this workspace.
///
/// # Panics
/// It is not built: `cargo xtask test` builds the programs before it runs the tests.
#[must_use]
pub fn built(name: &str) -> PathBuf {
    let mut dir = std::env::current_exe().expect("a test knows its own path");
    // target/debug/deps/test-123 → target/debug
    dir.pop();
    if dir.ends_with("deps") {
        dir.pop();
    }
    let path = dir.join(name);
    assert!(path.exists(), "{} is not built: run `cargo build --workspace` first", path.display());
    path
}

/// A running program.
pub struct Program {
    name: String,
    child: Child,
    output: Arc<Output>,
}

#[derive(Default)]
struct Output {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Default)]
struct Lines {
    kept: VecDeque<String>,
    dropped: usize,
    open_pipes: u8,
}

impl Program {
    /// Starts it with piped input and output.
    ///
    /// # Errors
    /// It could not be started.
    pub fn start(name: &str, mut command: Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("could not start {name}"))?;
        let output =
            Arc::new(Output { lines: Mutex::new(Lines { open_pipes: 2, ..Lines::default() }), ..Output::default() });
        read_lines(child.stdout.take().context("no stdout")?, Arc::clone(&output));
        read_lines(child.stderr.take().context("no stderr")?, Arc::clone(&output));
        Ok(Self { name: name.to_owned(), child, output })
    }

    /// Waits until a line (of either output, from the start) satisfies `wanted`, and returns what it makes of it.
    ///
    /// # Errors
    /// The time is over or the program ended first; the message holds what it printed.
    pub fn wait_for<T>(&self, what: &str, within: Duration, wanted: impl Fn(&str) -> Option<T>) -> Result<T> {
        self.wait_for_after(0, what, within, wanted)
    }

    /// How many lines it has printed.
    #[must_use]
    pub fn line_count(&self) -> usize {
        let lines = self.output.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.dropped + lines.kept.len()
    }

    /// As [`Self::wait_for`], from the line of this number on.
    ///
    /// # Errors
    /// As there.
    pub fn wait_for_after<T>(
        &self,
        mut seen: usize,
        what: &str,
        within: Duration,
        wanted: impl Fn(&str) -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + within;
        let mut lines = self.output.lines.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let unseen = seen.max(lines.dropped) - lines.dropped;
            if let Some(found) = lines.kept.iter().skip(unseen).find_map(|line| wanted(line)) {
                return Ok(found);
            }
            seen = lines.dropped + lines.kept.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || lines.open_pipes == 0 {
                let printed: Vec<_> = lines.kept.iter().map(String::as_str).collect();
                bail!("{} did not print {what} within {within:?}. It printed:\n{}", self.name, printed.join("\n"));
            }
            let waited = self.output.changed.wait_timeout(lines, left);
            lines = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Everything it printed so far.
    #[must_use]
    pub fn printed(&self) -> String {
        let lines = self.output.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.kept.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    /// Whether it closed its output, as a program does that has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.output.lines.lock().unwrap_or_else(PoisonError::into_inner).open_pipes == 0
    }

    /// Types a line.
    ///
    /// # Errors
    /// It reads no more.
    pub fn type_line(&mut self, line: &str) -> Result<()> {
        let stdin = self.child.stdin.as_mut().context("its input is closed")?;
        writeln!(stdin, "{line}").context("it reads no more")
    }

    /// Ends its input.
    pub fn close_input(&mut self) {
        self.child.stdin = None;
    }

    /// Sends a signal by name (`TERM`, `INT`, `KILL`, `STOP`, `CONT`).
    ///
    /// # Errors
    /// `kill` failed.
    pub fn signal(&self, signal: &str) -> Result<()> {
        let status = Command::new("kill").arg(format!("-{signal}")).arg(self.child.id().to_string()).status()?;
        if !status.success() {
            bail!("could not send {signal} to {}", self.name);
        }
        Ok(())
    }

    /// Its process id. `ip netns exec` replaces itself, so this is the program's own.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that it had so far, in bytes.
    ///
    /// # Errors
    /// It has ended.
    pub fn peak_resident_bytes(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1024)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It did not end in time.
    pub fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                bail!("{} did not end within {within:?}. It printed:\n{}", self.name, self.printed());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_lines(pipe: impl Read + Send + 'static, output: Arc<Output>) {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n') {
            let Ok(line) = line else { break };
            let mut lines = output.lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.kept.push_back(String::from_utf8_lossy(&line).into_owned());
            if lines.kept.len() > KEPT_LINES {
                lines.kept.pop_front();
                lines.dropped += 1;
            }
            output.changed.notify_all();
        }
        let mut lines = output.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.open_pipes -= 1;
        output.changed.notify_all();
    });
}
