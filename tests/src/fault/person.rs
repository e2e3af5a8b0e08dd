//! Two people's programs on this machine, each with a home of its own, reached over loopback only unless they have a
//! host of their own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::lan::Host;
use crate::program::{Program, built};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A home folder; gone when dropped.
pub struct Person {
    home: tempfile::TempDir,
    /// Given to each program.
    environment: Vec<(String, String)>,
    /// Receives here instead of in its home.
    inbox: Option<PathBuf>,
    /// The namespace where its programs run, if not this one.
    namespace: Option<String>,
}

/// A running `lanyard up`.
pub struct Up {
    /// The process.
    pub program: Program,
}

/// A running `lanyard send`.
pub struct Sending {
    /// The process.
    pub program: Program,
}

impl Person {
    /// An empty home with a receive folder.
    ///
    /// # Errors
    /// The temporary folder cannot be made.
    pub fn new() -> Result<Self> {
        let home = tempfile::tempdir()?;
        std::fs::create_dir(home.path().join("inbox"))?;
        Ok(Self { home, environment: Vec::new(), inbox: None, namespace: None })
    }

    /// Adds a variable to the environment of each program from here on.
    #[must_use]
    pub fn with(mut self, variable: &str, value: &str) -> Self {
        self.environment.push((variable.to_owned(), value.to_owned()));
        self
    }

    /// Receives into another folder.
    #[must_use]
    pub fn receiving_into(mut self, inbox: &Path) -> Self {
        self.inbox = Some(inbox.to_owned());
        self
    }

    /// Runs each program on this host, on all of its interfaces.
    #[must_use]
    pub fn at(mut self, host: &Host) -> Self {
        self.namespace = Some(host.namespace().to_owned());
        self
    }

    /// Removes what [`Self::with`] added.
    pub fn without_additions(&mut self) {
        self.environment.clear();
    }

    /// Where `up` receives.
    #[must_use]
    pub fn inbox(&self) -> PathBuf {
        self.inbox.clone().unwrap_or_else(|| self.home.path().join("inbox"))
    }

    /// The home folder, which is also the working directory.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// `lanyard ARGS` as this person.
    #[must_use]
    pub fn lanyard(&self, args: &[&str]) -> Command {
        let program = built("lanyard");
        let mut command = match &self.namespace {
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(program).args(args);
                command
            }
            None => {
                let mut command = Command::new(program);
                command.args(args).args(["--interface", "127.0.0.1"]);
                command
            }
        };
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", self.home());
        command.envs(self.environment.iter().map(|(variable, value)| (variable, value)));
        command.current_dir(self.home()).args(["--port", "0", "-v"]);
        command
    }

    /// `lanyard up --json`, ready.
    ///
    /// # Errors
    /// It does not show its link.
    pub fn up(&self, args: &[&str]) -> Result<Up> {
        let inbox = self.inbox().display().to_string();
        let mut all = vec!["up", &inbox, "--json", "--name", "Attic"];
        all.extend(args);
        let up = Up { program: Program::start("lanyard up", self.lanyard(&all))? };
        up.link()?;
        Ok(up)
    }

    /// `lanyard send WHAT` to a link.
    ///
    /// # Errors
    /// It does not start.
    pub fn send(&self, link: &str, what: &str) -> Result<Sending> {
        let mut command = self.lanyard(&["send", "--json", what]);
        command.env("LANYARD_CODE", link);
        Ok(Sending { program: Program::start("lanyard send", command)? })
    }
}

impl Up {
    /// The link that it shows now. One that was used is replaced, so the last one counts.
    ///
    /// # Errors
    /// None came.
    pub fn link(&self) -> Result<String> {
        self.program.wait_for("its link", PATIENCE, |line| event(line, "link")).context("no link")?;
        let printed = self.program.printed();
        let last = printed.lines().rev().find_map(|line| event(line, "link")).context("no link")?;
        Ok(last["link"].as_str().context("a link is text")?.to_owned())
    }

    /// Every link to the relay that it has shown, in order: each one that was used or lost is followed by another.
    #[must_use]
    pub fn links_at_relay(&self) -> Vec<String> {
        let links = self.program.printed();
        let links = links.lines().filter_map(|line| event(line, "link")).filter(|link| link["relay"] == true);
        links.filter_map(|link| link["link"].as_str().map(str::to_owned)).collect()
    }

    /// Waits for a link other than this one.
    ///
    /// # Errors
    /// None came.
    pub fn link_after(&self, used: &str) -> Result<String> {
        let wanted = |line: &str| event(line, "link").is_some_and(|event| event["link"] != used).then_some(());
        self.program.wait_for("a new link", PATIENCE, |line| wanted(line))?;
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let link = self.link()?;
            if link != used {
                return Ok(link);
            }
            ensure!(std::time::Instant::now() < deadline, "no new link");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Sending {
    /// Waits until the offer is accepted, from where on bytes move.
    ///
    /// # Errors
    /// It is not.
    pub fn wait_until_accepted(&self) -> Result<()> {
        self.program.wait_for("that the offer is accepted", PATIENCE, |line| event(line, "accepted").map(|_| ()))
    }

    /// Waits until so many bytes are safe at the receiver.
    ///
    /// # Errors
    /// They never are.
    pub fn wait_for_bytes(&self, done_bytes: u64) -> Result<()> {
        let enough = |line: &str| {
            let done = event(line, "progress")?["done_bytes"].as_u64()?;
            (done >= done_bytes).then_some(())
        };
        self.program.wait_for(&format!("{done_bytes} bytes of progress"), PATIENCE, |line| enough(line))
    }

    /// Whether it said that everything is sent and checked.
    #[must_use]
    pub fn has_finished(&self) -> bool {
        self.program
            .printed()
            .lines()
            .any(|line| event(line, "finished").is_some_and(|event| event["outcome"] == "done"))
    }

    /// Waits for its end, which must be that everything is sent and checked.
    ///
    /// # Errors
    /// It ends in another way.
    pub fn wait_until_done(&mut self) -> Result<()> {
        let status = self.program.wait(PATIENCE)?;
        ensure!(status.success(), "lanyard send ended with {status}. It printed:\n{}", self.program.printed());
        Ok(())
    }
}

/// The JSON event of this kind on a line, if it is one.
fn event(line: &str, kind: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(line).ok()?;
    (value["event"] == kind).then_some(value)
}

/// Bytes of data messages that a program's ended conversations counted: sent, received.
#[must_use]
pub fn agent_traffic(printed: &str) -> (u64, u64) {
    let number = |line: &str, name: &str| {
        let rest = line.split_once(&format!("{name}="))?.1;
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse::<u64>().ok()
    };
    let mut total = (0, 0);
    for line in printed.lines().filter(|line| line.contains("a conversation ended")) {
        total.0 += number(line, "sent_bytes").unwrap_or(0);
        total.1 += number(line, "received_bytes").unwrap_or(0);
    }
    total
}
