//! The handle: what the rest of the agent asks of a server.

use std::time::Duration;

use lanyard_protocol::signaling::{ErrorCode, ListedDevice, Platform};
use lanyard_protocol::{DeviceId, MailboxId, Nameplate};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use super::driver::{Command, Driver, Server};
use super::{Mailbox, ServerUrl};

/// How long a server may take to answer, being reached included.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Commands that wait for the socket. More wait at their sender.
const COMMANDS: usize = 64;

/// Calls that wait to be answered. More are not taken.
const RINGS: usize = 8;

/// Whether a server can be used now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerStatus {
    /// First attempt, or one after a loss.
    Connecting,
    /// It answers.
    Online {
        /// This socket's id: who is told it may ring.
        device: DeviceId,
        /// The server's clock at the time of `welcome`, milliseconds since 1970.
        time_ms: u64,
        /// When that came.
        at: Instant,
    },
    /// It cannot be reached; the next attempt comes by itself.
    Offline,
    /// The versions do not fit; there is no further attempt.
    Incompatible {
        /// Whether this device is the one to update.
        we_are_too_old: bool,
    },
}

/// A server's clock, carried on by our own monotonic one: a wrong local clock does no harm.
#[derive(Debug, Clone, Copy)]
pub struct ServerClock {
    time_ms: u64,
    at: Instant,
}

impl ServerClock {
    /// What it shows now, milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        let passed = u64::try_from(self.at.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.time_ms.saturating_add(passed)
    }
}

/// Why a server did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignalingError {
    /// The client has ended, or the versions do not fit.
    #[error("the connection to the server has ended")]
    Ended,
    /// No answer within ten seconds.
    #[error("the server does not answer")]
    NoAnswer,
    /// A third side is or was in the mailbox.
    #[error("somebody else used the same link or code at the same time; make a new one")]
    Crowded,
    /// The server said no.
    #[error("{message}")]
    Refused {
        /// For programs.
        code: ErrorCode,
        /// For people: hostile text.
        message: String,
    },
}

/// A connection to one server that repairs itself. Clones share it; it ends with the last of them and the mailboxes.
#[derive(Debug, Clone)]
pub struct SignalingClient {
    commands: mpsc::Sender<Command>,
    status: watch::Receiver<ServerStatus>,
    nearby: watch::Receiver<Option<Vec<ListedDevice>>>,
}

impl SignalingClient {
    /// Begins to connect to the first of `urls` that answers: they are addresses of one server. `header` goes with the
    /// request. Calls from others come out of the second value.
    #[must_use]
    pub fn connect(urls: Vec<ServerUrl>, header: Option<(&'static str, String)>) -> (Self, mpsc::Receiver<MailboxId>) {
        let (commands, command_queue) = mpsc::channel(COMMANDS);
        let (status_sender, status) = watch::channel(ServerStatus::Connecting);
        let (nearby_sender, nearby) = watch::channel(None);
        let (ring_sender, rings) = mpsc::channel(RINGS);
        let driver = Driver::new(
            Server { urls, header },
            command_queue,
            commands.downgrade(),
            status_sender,
            nearby_sender,
            ring_sender,
        );
        tokio::spawn(driver.run());
        (Self { commands, status, nearby }, rings)
    }

    /// Whether the server can be used now, kept current.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<ServerStatus> {
        self.status.clone()
    }

    /// Everyone listed at the server, kept current; `None` until the server said.
    #[must_use]
    pub fn nearby(&self) -> watch::Receiver<Option<Vec<ListedDevice>>> {
        self.nearby.clone()
    }

    /// This socket's id; waits until the server answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn device(&self) -> Result<DeviceId, SignalingError> {
        let mut status = self.status.clone();
        let online =
            status.wait_for(|status| matches!(status, ServerStatus::Online { .. } | ServerStatus::Incompatible { .. }));
        let reached = timeout(ANSWER_TIMEOUT, online).await.map_err(|_| SignalingError::NoAnswer)?;
        match &*reached.map_err(|_| SignalingError::Ended)? {
            ServerStatus::Online { device, .. } => Ok(*device),
            ServerStatus::Connecting | ServerStatus::Offline | ServerStatus::Incompatible { .. } => {
                Err(SignalingError::Ended)
            }
        }
    }

    /// Takes a side of a mailbox.
    ///
    /// # Errors
    /// Crowded, refused, or no answer.
    pub async fn join(&self, mailbox: MailboxId) -> Result<Mailbox, SignalingError> {
        self.ask(|reply| Command::Join { mailbox, reply }).await
    }

    /// Rings a device and returns where to meet it. Join that mailbox.
    ///
    /// # Errors
    /// No such device, refused, or no answer.
    pub async fn dial(&self, device: DeviceId) -> Result<MailboxId, SignalingError> {
        self.ask(|reply| Command::Dial { device, reply }).await
    }

    /// A nameplate for a code, and the mailbox behind it.
    ///
    /// # Errors
    /// Too many were asked for, or no answer.
    pub async fn allocate(&self) -> Result<(Nameplate, MailboxId), SignalingError> {
        self.ask(|reply| Command::Allocate { reply }).await
    }

    /// The mailbox behind a nameplate. Takes some work while somebody guesses codes at the server.
    ///
    /// # Errors
    /// No such nameplate, too many tries, or no answer.
    pub async fn claim(&self, nameplate: Nameplate) -> Result<MailboxId, SignalingError> {
        self.ask(|reply| Command::Claim { nameplate, stamp: None, reply }).await
    }

    /// The hour of the server's clock now, milliseconds since 1970 counted on from `welcome`; waits until it answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn clock(&self) -> Result<ServerClock, SignalingError> {
        let mut status = self.status.clone();
        let online =
            status.wait_for(|status| matches!(status, ServerStatus::Online { .. } | ServerStatus::Incompatible { .. }));
        match &*online.await.map_err(|_| SignalingError::Ended)? {
            ServerStatus::Online { time_ms, at, .. } => Ok(ServerClock { time_ms: *time_ms, at: *at }),
            ServerStatus::Connecting | ServerStatus::Offline | ServerStatus::Incompatible { .. } => {
                Err(SignalingError::Ended)
            }
        }
    }

    /// Lists this device to others at the server for `seconds`; 0 takes it off. Repeated after each loss of the socket.
    ///
    /// # Errors
    /// The client has ended.
    pub async fn announce(&self, name: String, platform: Platform, seconds: u32) -> Result<(), SignalingError> {
        let command = Command::Announce { name, platform, seconds };
        self.commands.send(command).await.map_err(|_| SignalingError::Ended)
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, SignalingError>>) -> Command,
    ) -> Result<T, SignalingError> {
        let (reply, answer) = oneshot::channel();
        let asking = async {
            self.commands.send(command(reply)).await.map_err(|_| SignalingError::Ended)?;
            answer.await.map_err(|_| SignalingError::Ended)?
        };
        timeout(ANSWER_TIMEOUT, asking).await.map_err(|_| SignalingError::NoAnswer)?
    }
}
