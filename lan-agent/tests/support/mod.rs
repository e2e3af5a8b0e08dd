//! Runs the real program, each process with a home of its own.

#![allow(dead_code, missing_docs, reason = "each test file uses its part of this")]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Longer than anything takes on a busy machine; tests wait for events, never for this.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// One person's device.
pub(crate) struct Device {
    pub(crate) home: tempfile::TempDir,
}

impl Device {
    pub(crate) fn new() -> Self {
        Self { home: tempfile::tempdir().expect("a temporary folder") }
    }

    /// A home in memory, for many small files: making them durable waits for everything that others write to the disk.
    pub(crate) fn in_memory() -> Self {
        Self { home: tempfile::tempdir_in("/dev/shm").expect("a temporary folder in memory") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(&path).expect("a folder");
        path
    }

    /// `lanyard` with this home, on loopback only, on any free port.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lanyard"));
        command.env_clear().env("HOME", self.home.path()).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(std::env::var_os("RUST_LOG").map(|filter| ("RUST_LOG", filter)));
        command.current_dir(self.home.path()).args(arguments).args(["--interface", "127.0.0.1", "--port", "0"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        Running::start(self.command(arguments))
    }

    /// The same on a terminal of its own: what it shows there comes out on stdout.
    pub(crate) fn start_on_terminal(&self, arguments: &[&str]) -> Running {
        let program = self.command(arguments);
        let words = std::iter::once(program.get_program()).chain(program.get_args());
        let quoted: Vec<String> =
            words.map(|word| format!("'{}'", word.to_string_lossy().replace('\'', r"'\''"))).collect();
        let mut command = Command::new("script");
        command.args(["-qefc", &format!("exec {}", quoted.join(" ")), "/dev/null"]);
        command.env_clear().env("HOME", self.home.path()).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(std::env::var_os("RUST_LOG").map(|filter| ("RUST_LOG", filter)));
        command.env("TERM", "xterm").env("SHELL", "/bin/sh").current_dir(self.home.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running::start(command)
    }

    /// `lanyard up` into `in/`, and the link it shows.
    pub(crate) fn up(&self, arguments: &[&str]) -> (Running, String) {
        self.folder("in");
        let mut all = vec!["up", "in"];
        all.extend(arguments);
        let mut running = self.start(&all);
        let link = running.line_with("#1.");
        (running, link)
    }

    /// Everything under a folder: paths in order, folders with a slash, files with their content.
    pub(crate) fn tree(&self, name: &str) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        walk(&self.path(name), "", &mut found);
        found.sort();
        found
    }
}

fn walk(folder: &Path, prefix: &str, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).expect("a readable folder") {
        let entry = entry.expect("an entry");
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type().expect("a type").is_dir() {
            found.push((format!("{path}/"), Vec::new()));
            walk(&entry.path(), &format!("{path}/"), found);
        } else {
            found.push((path, std::fs::read(entry.path()).expect("a readable file")));
        }
    }
}

/// A running `lanyard`; killed when dropped.
pub(crate) struct Running {
    pub(crate) child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    pub(crate) printed: Vec<String>,
    pub(crate) complained: Vec<String>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.spawn().expect("the program starts");
        let stdout = lines(child.stdout.take().expect("piped"));
        let stderr = lines(child.stderr.take().expect("piped"));
        Self { child, stdout, stderr, printed: Vec::new(), complained: Vec::new() }
    }

    pub(crate) fn type_line(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        writeln!(stdin, "{line}").expect("the program reads");
    }

    /// The next line on stdout that contains `text`.
    pub(crate) fn line_with(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        while let Ok(line) = self.stdout.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            self.printed.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
        self.complained.extend(self.stderr.try_iter());
        panic!("no line with {text:?}; stdout: {:#?}, stderr: {:#?}", self.printed, self.complained);
    }

    /// The next line on stderr that contains `text`.
    pub(crate) fn complaint_with(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        while let Ok(line) = self.stderr.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            self.complained.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
        panic!("no complaint with {text:?}; stdout: {:#?}, stderr: {:#?}", self.printed, self.complained);
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("our child") {
                self.printed.extend(self.stdout.iter());
                self.complained.extend(self.stderr.iter());
                return status;
            }
            assert!(Instant::now() < deadline, "still running; stderr: {:#?}", self.rest_of_stderr());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for the end and compares the exit status.
    pub(crate) fn exits_with(&mut self, code: i32) {
        let status = self.wait();
        assert_eq!(status.code(), Some(code), "stdout: {:#?}, stderr: {:#?}", self.printed, self.complained);
    }

    fn rest_of_stderr(&mut self) -> &[String] {
        self.complained.extend(self.stderr.try_iter());
        &self.complained
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            self.printed.extend(self.stdout.try_iter());
            self.complained.extend(self.stderr.try_iter());
            eprintln!("the program's stdout: {:#?}, stderr: {:#?}", last(&self.printed), last(&self.complained));
        }
    }
}

/// Enough of what was printed to see how it ended.
fn last(lines: &[String]) -> &[String] {
    &lines[lines.len().saturating_sub(200)..]
}

fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
