//! One side of a mailbox, as long as it is held.

use lanyard_protocol::signaling::{Body, IceServer, PresenceState};
use lanyard_protocol::{MailboxId, MemberNumber, Nameplate};
use tokio::sync::{mpsc, watch};

use super::client::SignalingError;
use super::driver::Command;

/// What comes through a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailboxEvent {
    /// A body from the other side.
    Message {
        /// From which side.
        from: MemberNumber,
        /// What it sent.
        body: Body,
    },
    /// The other side came, left, or lost its socket.
    Presence {
        /// Who.
        member: MemberNumber,
        /// What happened.
        state: PresenceState,
    },
    /// A third side came; the mailbox is closed for all.
    Crowded,
    /// The slot is gone: the server restarted, or it was unreachable for too long. Nothing more comes.
    Gone,
    /// A message was not carried: the other side's queue is full, or the rate is too high.
    NotCarried,
}

/// A held side. Dropping it leaves the mailbox.
#[derive(Debug)]
pub struct Mailbox {
    pub(super) sender: MailboxSender,
    pub(super) member: MemberNumber,
    pub(super) others: Vec<MemberNumber>,
    pub(super) ice_servers: watch::Receiver<Vec<IceServer>>,
    pub(super) events: mpsc::Receiver<MailboxEvent>,
    pub(super) nameplate: Option<Nameplate>,
}

/// Sends through a mailbox that somebody else holds.
#[derive(Debug, Clone)]
pub struct MailboxSender {
    pub(super) id: MailboxId,
    pub(super) commands: mpsc::Sender<Command>,
}

impl MailboxSender {
    /// Carries `body` to the side `to`. Waits while the server is out of reach or the queue of 64 is full.
    ///
    /// # Errors
    /// The client has ended.
    pub async fn send(&self, to: MemberNumber, body: Body) -> Result<(), SignalingError> {
        let command = Command::Send { mailbox: self.id, to, body };
        self.commands.send(command).await.map_err(|_| SignalingError::Ended)
    }
}

impl Mailbox {
    /// Which mailbox.
    #[must_use]
    pub fn id(&self) -> MailboxId {
        self.sender.id
    }

    /// This side's number; 0 is the shower unless it is a nearby call.
    #[must_use]
    pub fn member(&self) -> MemberNumber {
        self.member
    }

    /// Who was there when this side joined.
    #[must_use]
    pub fn others(&self) -> &[MemberNumber] {
        &self.others
    }

    /// STUN and TURN servers with this member's credentials, as they are now.
    #[must_use]
    pub fn ice_servers(&self) -> Vec<IceServer> {
        self.ice_servers.borrow().clone()
    }

    /// A way to send.
    #[must_use]
    pub fn sender(&self) -> MailboxSender {
        self.sender.clone()
    }

    /// This mailbox stands behind a nameplate of ours, which ends with it at the latest.
    pub fn stand_behind(&mut self, nameplate: Nameplate) {
        self.nameplate = Some(nameplate);
    }

    /// Gives the nameplate back, because its code is used; the mailbox is held on.
    pub fn release_nameplate(&mut self) {
        if let Some(nameplate) = self.nameplate.take() {
            // With a full queue the server is out of reach; the nameplate ends after ten minutes by itself.
            let _ = self.sender.commands.try_send(Command::Release { nameplate });
        }
    }

    /// The next event; `None` after [`MailboxEvent::Gone`] or [`MailboxEvent::Crowded`]. May be dropped and called
    /// again without losing an event.
    pub async fn next(&mut self) -> Option<MailboxEvent> {
        self.events.recv().await
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        // Only a member may release it (SG-11).
        self.release_nameplate();
        // With a full queue the server is out of reach, and forgets the slot by itself.
        let _ = self.sender.commands.try_send(Command::Leave { mailbox: self.sender.id });
    }
}
