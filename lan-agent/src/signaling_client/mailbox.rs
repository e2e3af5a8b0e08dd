//! One side of a mailbox, as long as it is held.

use std::sync::Arc;

use lanyard_protocol::signaling::{Body, IceServer, PresenceState};
use lanyard_protocol::{LaneTicket, MailboxId, MemberNumber, Nameplate};
use tokio::sync::{Notify, mpsc, watch};

use super::client::{ServerStatus, SignalingError};
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
    /// The server was away and is back, and so is this side of the mailbox.
    Returned {
        /// Who else is there now.
        others: Vec<MemberNumber>,
    },
    /// A message was not carried: the other side's queue is full, or the rate is too high.
    NotCarried,
}

/// Where a lane of this mailbox is opened (LK-31).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneDoor {
    /// `ws://…/v1/relay` or `wss://…/v1/relay`, at the address that answered.
    pub url: String,
    /// Goes with the request.
    pub header: Option<(&'static str, String)>,
    /// Which side this is.
    pub ticket: LaneTicket,
    /// The server runs in this process.
    pub own_server: bool,
}

/// A held side. Dropping it leaves the mailbox.
#[derive(Debug)]
pub struct Mailbox {
    pub(super) sender: MailboxSender,
    pub(super) member: MemberNumber,
    pub(super) others: Vec<MemberNumber>,
    pub(super) ice_servers: watch::Receiver<Vec<IceServer>>,
    pub(super) lane: watch::Receiver<Option<LaneDoor>>,
    pub(super) events: mpsc::Receiver<MailboxEvent>,
    pub(super) nameplate: Option<Nameplate>,
}

/// Sends through a mailbox that somebody else holds.
#[derive(Debug, Clone)]
pub struct MailboxSender {
    pub(super) id: MailboxId,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) status: watch::Receiver<ServerStatus>,
    pub(super) check: Arc<Notify>,
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

    /// Whether the server answered last time.
    #[must_use]
    pub fn is_online(&self) -> bool {
        matches!(*self.status.borrow(), ServerStatus::Online { .. })
    }

    /// Makes sure that the server hears us, and connects anew at once when it does not.
    pub fn check(&self) {
        self.check.notify_one();
    }

    /// From now on this side comes back to the mailbox even when its slot was not kept (LK-30).
    pub fn stay(&self) {
        // With a full queue the server is out of reach; the caller says it again.
        let _ = self.commands.try_send(Command::Stay { mailbox: self.id });
    }

    /// Waits until everything sent so far has left this process; as long as the server is out of reach.
    ///
    /// # Errors
    /// The client ended.
    pub async fn flush(&self) -> Result<(), SignalingError> {
        let (reply, flushed) = tokio::sync::oneshot::channel();
        self.commands.send(Command::Flush { reply }).await.map_err(|_| SignalingError::Ended)?;
        flushed.await.map_err(|_| SignalingError::Ended)
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

    /// Where a lane is opened, if the server carries any.
    #[must_use]
    pub fn lane_door(&self) -> Option<LaneDoor> {
        self.lane.borrow().clone()
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
