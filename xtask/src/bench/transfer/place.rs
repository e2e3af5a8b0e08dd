//! Where files are moved: within one namespace, or between two on a bridge.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};
use serde_json::Value;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Loopback,
    Bridge,
}

impl Place {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Loopback => "over loopback",
            Self::Bridge => "over a bridge of namespaces",
        }
    }
}

/// A sending and a receiving host, which may be the same; gone when dropped, with every process in them.
pub(crate) struct Lab {
    child: Child,
    pub(crate) sender: Host,
    pub(crate) receiver: Host,
}

/// One of them.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) namespace: String,
    /// Where the other one reaches it.
    pub(crate) address: String,
}

impl Lab {
    pub(crate) fn new(programs: &Path, place: Place) -> Result<Self> {
        let mut child = Command::new(programs.join("netlab"))
            .args(["lan", "sender", "receiver"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("could not start netlab")?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("netlab has no output")?).read_line(&mut line)?;
        let described: Value = serde_json::from_str(&line).context("netlab made no network")?;
        let host = |name: &str| -> Result<Host> {
            let text = |key: &str| described["hosts"][name][key].as_str().map(ToOwned::to_owned);
            let namespace = text("namespace").context("a host without namespace")?;
            let address = text("ipv4").context("a host without address")?;
            Ok(Host { namespace, address })
        };
        let (sender, receiver) = (host("sender")?, host("receiver")?);
        let receiver = match place {
            Place::Loopback => Host { namespace: sender.namespace.clone(), address: "127.0.0.1".to_owned() },
            Place::Bridge => receiver,
        };
        Ok(Self { child, sender, receiver })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // The end of its input is what it waits for.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

impl Host {
    /// A command that will run there.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).arg(program);
        command
    }
}
