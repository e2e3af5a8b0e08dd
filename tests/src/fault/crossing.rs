//! One transfer between two hosts of a lab, watched while its network is disturbed.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{AGAIN_BYTES, Content, OVERHEAD_BYTES, agent_traffic};
use crate::device::Device;
use crate::lan::Host;
use crate::program::Program;
use crate::relay::Relay;

/// Longer than anything takes that is not meant to take long.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often what a program told is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// `lanyard send` on one host to `lanyard up` on another one, accepted.
pub struct Crossing<'a> {
    content: &'a Content,
    attic: Device<'a>,
    _studio: Device<'a>,
    /// The receiver.
    pub up: Program,
    /// The sender.
    pub sending: Program,
    /// When it was accepted.
    pub begun: Instant,
}

impl<'a> Crossing<'a> {
    /// Begins it; `before_sending` is done once the receiver is up.
    ///
    /// # Errors
    /// It is not accepted.
    pub fn begin(
        to: &'a Host,
        from: &'a Host,
        content: &'a Content,
        before_sending: impl FnOnce() -> Result<()>,
    ) -> Result<Self> {
        Self::begin_with(to, from, content, before_sending, |_| {})
    }

    /// The same, with `prepare` done to the commands of both.
    ///
    /// # Errors
    /// It is not accepted.
    pub fn begin_with(
        to: &'a Host,
        from: &'a Host,
        content: &'a Content,
        before_sending: impl FnOnce() -> Result<()>,
        prepare: impl Fn(&mut Command),
    ) -> Result<Self> {
        let (attic, studio) = (Device::new(to)?, Device::new(from)?);
        content.write(studio.home())?;
        let inbox = attic.inbox().display().to_string();
        let mut command = attic.lanyard(&["up", &inbox, "--name", "Attic", "--accept", "accept", "--json", "-v"]);
        prepare(&mut command);
        let up = Program::start("lanyard up", command)?;
        let link = up.wait_for("its link", PATIENCE, |line| text(line, "link", "link"))?;
        let source = studio.home().join(content.name).display().to_string();
        let mut command = studio.lanyard(&["send", "--json", "-v", &source]);
        command.env("LANYARD_CODE", link);
        prepare(&mut command);
        before_sending()?;
        let sending = Program::start("lanyard send", command)?;
        sending.wait_for("acceptance", PATIENCE, |line| told(line, "accepted"))?;
        Ok(Self { content, attic, _studio: studio, up, sending, begun: Instant::now() })
    }

    /// `lanyard send` on one host, and `lanyard receive` with its link on another one, both clients of a relay.
    ///
    /// # Errors
    /// It is not accepted.
    pub fn begin_through(relay: &Relay<'_>, to: &'a Host, from: &'a Host, content: &'a Content) -> Result<Self> {
        let (attic, studio) = (Device::new(to)?, Device::new(from)?);
        content.write(studio.home())?;
        let source = studio.home().join(content.name).display().to_string();
        let mut command = studio.lanyard(&["send", &source, "--relay", &relay.url(), "--yes", "--json", "-v"]);
        command.env("SSL_CERT_FILE", relay.certificate());
        let sending = Program::start("lanyard send", command)?;
        let link = sending.wait_for("its link", PATIENCE, |line| text(line, "link", "link"))?;
        let inbox = attic.inbox().display().to_string();
        let mut command = attic.lanyard(&["receive", "-", "-o", &inbox, "--yes", "--json", "-v"]);
        command.env("SSL_CERT_FILE", relay.certificate());
        let mut up = Program::start("lanyard receive", command)?;
        up.type_line(&link)?;
        up.close_input();
        sending.wait_for("acceptance", PATIENCE, |line| told(line, "accepted"))?;
        Ok(Self { content, attic, _studio: studio, up, sending, begun: Instant::now() })
    }

    /// Bytes that came in on the receiver's network card.
    ///
    /// # Errors
    /// It has none.
    pub fn arrived_bytes(&self) -> Result<u64> {
        let table = std::fs::read_to_string(format!("/proc/{}/net/dev", self.up.pid()))?;
        let card = table.lines().find_map(|line| line.trim_start().strip_prefix("eth0:")).context("no eth0")?;
        Ok(card.split_whitespace().next().context("no count")?.parse()?)
    }

    /// Waits until so much of the content has crossed the network.
    ///
    /// # Errors
    /// It takes too long.
    pub fn wait_for_percent(&self, percent: u64) -> Result<()> {
        let enough = self.content.total_bytes() * percent / 100;
        self.wait_until(&format!("{percent} %"), PATIENCE, || Ok(self.arrived_bytes()? >= enough))
    }

    /// Bytes that are verified and stored, as the sender was told last.
    #[must_use]
    pub fn done_bytes(&self) -> u64 {
        let printed = self.sending.printed();
        let done = |line: &str| json(line, "progress")?["done_bytes"].as_u64();
        printed.lines().rev().find_map(done).unwrap_or(0)
    }

    /// Waits until more is stored than `before`, or everything is, and says how long that took.
    ///
    /// # Errors
    /// It takes longer than `within`.
    pub fn wait_until_it_goes_on(&self, before: u64, within: Duration) -> Result<Duration> {
        let begun = Instant::now();
        let goes_on = || Ok(self.done_bytes() > before || self.sending.printed().contains("\"finished\""));
        self.wait_until("the transfer to go on", within, goes_on)?;
        Ok(begun.elapsed())
    }

    /// Waits until both sides have told `event` after the given lines.
    ///
    /// # Errors
    /// It takes longer than `within`.
    pub fn wait_until_both_tell(&self, event: &str, after: [usize; 2], within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        for (program, after) in [&self.up, &self.sending].into_iter().zip(after) {
            let left = deadline.saturating_duration_since(Instant::now());
            program.wait_for_after(after, event, left, |line| told(line, event))?;
        }
        Ok(())
    }

    /// Whether one of the two has told `event` after the given lines.
    #[must_use]
    pub fn has_told(&self, event: &str, after: [usize; 2]) -> bool {
        let mut programs = [&self.up, &self.sending].into_iter().zip(after);
        programs.any(|(program, after)| {
            program.wait_for_after(after, event, Duration::ZERO, |line| told(line, event)).is_ok()
        })
    }

    /// How many lines both sides have printed.
    #[must_use]
    pub fn line_counts(&self) -> [usize; 2] {
        [self.up.line_count(), self.sending.line_count()]
    }

    /// Waits until the sender has said its last word.
    ///
    /// # Errors
    /// It takes longer than `within`.
    pub fn wait_for_last_word(&self, within: Duration) -> Result<String> {
        let last = |line: &str| line.contains("a conversation ended").then(|| line.to_owned());
        self.sending.wait_for("its last word", within, last)
    }

    /// Waits for the end: everything is there and equal, and hardly anything was sent twice. Says how many bytes were,
    /// and how long it took from the acceptance on.
    ///
    /// # Errors
    /// It is not so.
    pub fn conclude(mut self, within: Duration) -> Result<(u64, Duration)> {
        let status =
            self.sending.wait(within).with_context(|| format!("the receiver printed:\n{}", self.up.printed()))?;
        let took = self.begun.elapsed();
        let printed = self.sending.printed();
        ensure!(status.success(), "lanyard send ended with {status}. It printed:\n{printed}");
        self.content.check_whole(&self.attic.inbox())?;
        let again = agent_traffic(&printed).0.saturating_sub(self.content.total_bytes());
        ensure!(again <= AGAIN_BYTES + OVERHEAD_BYTES, "{again} bytes were sent again");
        Ok((again, took))
    }

    /// What both have printed, for messages of failed tests.
    #[must_use]
    pub fn printed(&self) -> String {
        format!("the receiver printed:\n{}\nthe sender printed:\n{}", self.up.printed(), self.sending.printed())
    }

    fn wait_until(&self, what: &str, within: Duration, is_so: impl Fn() -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + within;
        while !is_so()? {
            if Instant::now() >= deadline {
                bail!("waited {within:?} in vain for {what}; {}", self.printed());
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}

fn json(line: &str, event: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(line).ok()?;
    (value["event"] == event).then_some(value)
}

fn told(line: &str, event: &str) -> Option<()> {
    json(line, event).map(|_| ())
}

fn text(line: &str, event: &str, member: &str) -> Option<String> {
    Some(json(line, event)?[member].as_str()?.to_owned())
}
