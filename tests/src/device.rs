//! A person's machine on the lab's network: `lanyard` with a home of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::lan::Host;
use crate::program::{Program, built};

/// A home folder on one host; gone when dropped.
pub struct Device<'a> {
    host: &'a Host,
    home: tempfile::TempDir,
}

impl<'a> Device<'a> {
    /// An empty home, with a receive folder.
    ///
    /// # Errors
    /// The temporary folder cannot be made.
    pub fn new(host: &'a Host) -> Result<Self> {
        let home = tempfile::tempdir()?;
        for folder in ["inbox", "run"] {
            std::fs::create_dir(home.path().join(folder))?;
        }
        Ok(Self { host, home })
    }

    /// Where `up` receives.
    #[must_use]
    pub fn inbox(&self) -> PathBuf {
        self.home.path().join("inbox")
    }

    /// The home folder.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// `lanyard ARGS` as this person.
    #[must_use]
    pub fn lanyard(&self, args: &[&str]) -> Command {
        let mut command = self.host.command(&built("lanyard").display().to_string());
        command.args(args).env("HOME", self.home()).env("XDG_RUNTIME_DIR", self.home().join("run"));
        for (variable, folder) in
            [("XDG_CONFIG_HOME", "config"), ("XDG_DATA_HOME", "data"), ("XDG_STATE_HOME", "state")]
        {
            command.env(variable, self.home().join(folder));
        }
        command
    }

    /// `lanyard up` with a receive folder, ready.
    ///
    /// # Errors
    /// It does not print its link.
    pub fn up(&self, name: &str, args: &[&str]) -> Result<Program> {
        let inbox = self.inbox().display().to_string();
        let mut command = self.lanyard(&["up", &inbox, "--name", name, "--no-qr", "--no-color"]);
        command.args(args);
        let program = Program::start(name, command)?;
        program.wait_for("its link", Duration::from_secs(20), |line| line.contains("/#1.").then_some(()))?;
        Ok(program)
    }
}
