//! One command that a task runs: said, timed, and repeatable by hand.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

/// One command that a task runs.
pub(crate) struct Step {
    what: String,
    program: String,
    args: Vec<String>,
    dir: PathBuf,
    env: Vec<(String, String)>,
}

impl Step {
    /// A command in the workspace's folder.
    pub(crate) fn new(what: &str, program: &str, args: &[&str]) -> Self {
        Self {
            what: what.to_owned(),
            program: program.to_owned(),
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            dir: crate::root().to_owned(),
            env: Vec::new(),
        }
    }

    pub(crate) fn args(mut self, args: &[impl AsRef<str>]) -> Self {
        self.args.extend(args.iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Runs in a folder of the workspace instead.
    pub(crate) fn within(mut self, folder: &str) -> Self {
        self.dir = crate::root().join(folder);
        self
    }

    pub(crate) fn env(mut self, key: &str, value: &str) -> Self {
        self.env.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Runs it with this process's input and output.
    pub(crate) fn run(&self) -> Result<()> {
        let started = self.announce();
        let status = self.command().status().with_context(|| format!("could not start {}", self.program))?;
        self.conclude(started, status.success())
    }

    /// Runs it, passes its output on as it comes, and returns it as well.
    pub(crate) fn run_and_read(&self) -> Result<String> {
        let started = self.announce();
        let mut child = self
            .command()
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("could not start {}", self.program))?;
        let stdout = child.stdout.take().context("no output to read")?;
        let mut read = String::new();
        for line in BufReader::new(stdout).lines() {
            let line = line.context("output is not text")?;
            say(&line);
            read.push_str(&line);
            read.push('\n');
        }
        let status = child.wait().context("lost the command")?;
        self.conclude(started, status.success())?;
        Ok(read)
    }

    /// Runs it and returns its output without showing it.
    pub(crate) fn read_quietly(&self) -> Result<String> {
        let output = self
            .command()
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("could not start {}", self.program))?;
        if !output.status.success() {
            bail!("{} failed. To repeat it:\n    {}", self.what, self.by_hand());
        }
        String::from_utf8(output.stdout).context("output is not text")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        // What `cargo xtask` says of this package is not meant for others: build scripts that ask for it would be run
        // again, and all that depends on them built again, whenever a person and a task take turns.
        for (key, _) in std::env::vars_os() {
            if key.to_str().is_some_and(is_about_this_package) {
                command.env_remove(key);
            }
        }
        command.args(&self.args).current_dir(&self.dir).envs(self.env.iter().map(|(k, v)| (k, v)));
        command
    }

    fn announce(&self) -> Instant {
        say(&format!("── {}: {}", self.what, self.by_hand()));
        Instant::now()
    }

    fn conclude(&self, started: Instant, success: bool) -> Result<()> {
        let seconds = started.elapsed().as_secs_f32();
        if !success {
            bail!("{} failed after {seconds:.1} s. To repeat it:\n    {}", self.what, self.by_hand());
        }
        say(&format!("── {}: done in {seconds:.1} s", self.what));
        Ok(())
    }

    /// As a person would type it.
    fn by_hand(&self) -> String {
        let folder = self.dir.strip_prefix(crate::root()).unwrap_or(&self.dir);
        let cd = if folder.as_os_str().is_empty() { String::new() } else { format!("cd {} && ", folder.display()) };
        let env: String = self.env.iter().map(|(key, value)| format!("{key}={} ", quoted(value))).collect();
        let args: String = self.args.iter().map(|arg| format!(" {}", quoted(arg))).collect();
        format!("{cd}{env}{}{args}", self.program)
    }
}

fn is_about_this_package(key: &str) -> bool {
    ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_CRATE_", "CARGO_BIN_"].iter().any(|prefix| key.starts_with(prefix))
}

/// A line on standard output. A closed pipe is not worth a panic.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn quoted(arg: &str) -> String {
    let plain = !arg.is_empty() && arg.chars().all(|c| c.is_ascii_alphanumeric() || "-_./=:,@+".contains(c));
    if plain { arg.to_owned() } else { format!("'{}'", arg.replace('\'', r"'\''")) }
}
